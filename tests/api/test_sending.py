"""Over real sockets: videos in a folder are sent by the kernel, past our memory."""

import asyncio
import os
import tracemalloc
from asyncio import StreamReader
from pathlib import Path
from random import Random

import pytest
from fastapi import FastAPI

from app.api.callers import Caller
from app.api.deps import House
from app.db.engine import Database
from app.domain.job import Job
from app.domain.states import JobState
from tests.api.test_slow_clients import connected, head, serving
from tests.factories import make_job, video_of

LARGE = Random(1).randbytes(8 << 20)
"""More than any buffer between takes."""


@pytest.fixture
def database_kind() -> str:
    return "sqlite"


@pytest.fixture
async def job(caller: tuple[Caller, str], database: Database, house: House) -> Job:
    made = make_job(database, caller[0], state=JobState.SUCCEEDED)
    await house.store.put_bytes(video_of(made)["key"], LARGE, content_type="video/mp4")
    return made


def ask_for(job: Job, secret: str, *more: str) -> bytes:
    return head("GET", f"/v1/jobs/{job.id}/content", secret, *more)


def open_videos() -> int:
    return sum(path.resolve().suffix == ".mp4" for path in Path("/proc/self/fd").iterdir())


async def answered(reader: StreamReader) -> tuple[bytes, bytes]:
    """Return the status line and the body."""
    told = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(told.partition(b"content-length: ")[2].split(b"\r\n")[0])
    return told.split(b"\r\n")[0], await reader.readexactly(length)


async def test_file__is_sent_whole_and_in_part_over_one_connection(
    app: FastAPI, caller: tuple[Caller, str], job: Job
) -> None:
    async with serving(app) as (_, address), connected(address) as [(reader, writer)]:
        for wanted, status, body in (
            ("Range: bytes=1000000-1999999", b"206", LARGE[1_000_000:2_000_000]),
            ("X-Any: thing", b"200", LARGE),
            ("Range: bytes=-1", b"206", LARGE[-1:]),
        ):
            writer.write(ask_for(job, caller[1], wanted))
            line, came = await answered(reader)
            assert status in line
            assert came == body


async def test_file__never_enters_our_memory(app: FastAPI, caller: tuple[Caller, str], job: Job) -> None:
    async with serving(app) as (_, address), connected(address) as [(reader, writer)]:
        writer.write(ask_for(job, caller[1], "Range: bytes=0-0"))
        await answered(reader)  # what is loaded but once
        tracemalloc.start()
        try:
            writer.write(ask_for(job, caller[1], "Connection: close"))
            came = 0
            while piece := await reader.read(4096):
                came += len(piece)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert came > len(LARGE)
    assert most < 1 << 19


async def test_file__is_closed_when_its_reader_leaves(app: FastAPI, caller: tuple[Caller, str], job: Job) -> None:
    async with serving(app) as (server, address):
        async with connected(address) as [(reader, writer)]:
            writer.write(ask_for(job, caller[1]))
            await reader.readuntil(b"\r\n\r\n")
            assert open_videos() == 1
        while server.server_state.tasks:
            await asyncio.sleep(0)
        assert open_videos() == 0


async def test_file__is_closed_where_it_is_not_sent(app: FastAPI, caller: tuple[Caller, str], job: Job) -> None:
    async with serving(app) as (_, address), connected(address) as [(reader, writer)]:
        for more, status in (("Range: bytes=99999999-", b" 416 "), ("If-None-Match: *", b" 304 ")):
            writer.write(ask_for(job, caller[1], more))
            assert status in await reader.readuntil(b"\r\n")
            assert open_videos() == 0
            await reader.readuntil(b"}}" if status == b" 416 " else b"\r\n\r\n")


async def test_file__that_shrinks_meanwhile_ends_the_connection(
    app: FastAPI, caller: tuple[Caller, str], job: Job, house: House
) -> None:
    """Whoever reads must see that something is missing."""
    async with serving(app) as (_, address), connected(address) as [(reader, writer)]:
        writer.write(ask_for(job, caller[1]))
        await reader.readuntil(b"\r\n\r\n")
        os.truncate(f"{house.store.place}/{video_of(job)['key']}", 1 << 20)
        assert len(await reader.read()) < len(LARGE)
