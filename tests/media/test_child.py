import asyncio
import errno
import hashlib
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from app.domain.errors import MediaError, NotAnImage, StorageFailed
from app.media import child
from app.media.child import Decoded, DecoderCrashed, Limits, decode

LIMITS = Limits(cpu_seconds=5, wall_seconds=20, memory_bytes=512 << 20, output_bytes=4 << 20)


async def run(
    name: str,
    *,
    source: bytes | Path = b"",
    limits: Limits = LIMITS,
    arguments: Mapping[str, object] | None = None,
    refusal: type[MediaError] = NotAnImage,
) -> Decoded:
    roots = [str(Path(__file__).parent)]
    return await decode(
        f"hostile:{name}", source=source, limits=limits, refusal=refusal, arguments=arguments, roots=roots
    )


async def test_decode__hands_over_bytes_arguments_and_a_blob() -> None:
    data = bytes(range(256)) * 8000
    decoded = await run("echo", source=data, arguments={"word": "größer"})
    assert decoded.facts == {"word": "größer", "sha256": hashlib.sha256(data).hexdigest(), "seekable": False}
    assert decoded.blob == data[::-1]


async def test_decode__hands_over_a_file_as_seekable_input(tmp_path: Path) -> None:
    path = tmp_path / "input"
    path.write_bytes(b"abc")
    decoded = await run("echo", source=path)
    assert decoded.blob == b"cba"
    assert decoded.facts["seekable"] is True


async def test_decode__works_on_uvloop() -> None:
    def in_another_loop() -> Decoded:
        return uvloop.run(run("echo", source=b"abc"))

    assert (await asyncio.to_thread(in_another_loop)).blob == b"cba"


async def test_decode__finds_the_packages_without_any_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    # The interpreter beneath the virtual environment knows none of its packages: only the roots we pass lead to them.
    monkeypatch.setattr(sys, "executable", sys._base_executable)
    decoded = await run("echo", source=b"abc")
    assert decoded.blob == b"cba"
    with pytest.raises(NotAnImage):
        await decode(
            "app.media.decode_image:normalise",
            source=b"nothing",
            limits=LIMITS,
            refusal=NotAnImage,
            arguments={"max_pixels": 1, "max_side": None},
        )


async def test_decode__child_has_no_environment_and_hard_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELAY_UPSTREAM_API_KEY", "sk-secret")
    facts = (await run("look_around")).facts
    environment = facts["environment"]
    assert isinstance(environment, dict)
    # Python itself may set LC_CTYPE where the locale is "C" (PEP 538).
    assert environment.keys() <= {"LC_CTYPE"}
    assert facts["isolated"] is True
    assert facts["cwd"] == "/"
    assert facts["limits"] == {
        "RLIMIT_CORE": [0, 0],
        "RLIMIT_CPU": [5, 6],
        "RLIMIT_AS": [512 << 20, 512 << 20],
        "RLIMIT_FSIZE": [0, 0],
        "RLIMIT_NOFILE": [0, 0],
        "RLIMIT_NPROC": [0, 0],
    }


async def test_decode__child_can_open_neither_file_nor_socket_nor_process() -> None:
    facts = (await run("try_doors")).facts
    assert facts == {"file": errno.EMFILE, "socket": errno.EMFILE, "pipe": errno.EMFILE, "process": errno.EAGAIN}


async def test_decode__raises_the_refusal_asked_for() -> None:
    class Picky(MediaError):
        pass

    with pytest.raises(Picky, match=r"^Not this one\.$"):
        await run("refuse", refusal=Picky)


async def test_decode__memory_is_limited() -> None:
    with pytest.raises(DecoderCrashed, match="MemoryError"):
        await run("hoard", limits=replace(LIMITS, memory_bytes=128 << 20))


async def test_decode__processor_time_is_limited() -> None:
    with pytest.raises(DecoderCrashed, match="processor time"):
        await run("spin", limits=replace(LIMITS, cpu_seconds=1))


async def test_decode__wall_time_is_limited() -> None:
    started = time.monotonic()
    with pytest.raises(DecoderCrashed, match=r"longer than 0\.5 s"):
        await run("sleep", limits=replace(LIMITS, wall_seconds=0.5))
    assert time.monotonic() - started < 5


async def test_decode__output_is_limited() -> None:
    with pytest.raises(DecoderCrashed, match="more than 100000 bytes"):
        await run("shout", limits=replace(LIMITS, output_bytes=100_000))


async def test_decode__noise_on_stderr_does_not_block() -> None:
    assert (await run("grumble")).facts == {"done": True}


async def test_decode__tells_the_last_words_of_a_failure() -> None:
    with pytest.raises(DecoderCrashed, match=r"^The decoder ended with status 1: RuntimeError: enough of this\.$"):
        await run("grumble_and_fail")


async def test_decode__tells_the_signal_of_a_crash() -> None:
    with pytest.raises(DecoderCrashed, match="signal 11"):
        await run("die")


@pytest.mark.parametrize(
    "answer", ["", "\0\0\0\x02[]", "\0\0\0\x09{}", "\xff\xff\xff\xffx", "\0\0\0\x04{\xff\xff}"], ids=repr
)
async def test_decode__nonsense_is_a_crash(answer: str) -> None:
    if answer == "\0\0\0\x09{}":  # a length beyond the end still holds readable JSON: nothing to object to
        assert (await run("garble", arguments={"text": answer})).facts == {}
        return
    with pytest.raises(DecoderCrashed, match="cannot be read"):
        await run("garble", arguments={"text": answer})


async def test_decode__child_may_ignore_its_input() -> None:
    assert (await run("ignore_input", source=bytes(8 << 20))).facts == {"done": True}


async def test_decode__unreadable_source_is_a_storage_failure(tmp_path: Path) -> None:
    with pytest.raises(StorageFailed, match="No such file"):
        await run("echo", source=tmp_path / "missing")


async def test_decode__cancelling_ends_the_child() -> None:
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await run("sleep")
    assert time.monotonic() - started < 5


async def test_decode__runs_two_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    running, most = 0, 0
    real = child._run

    async def counted(*arguments: object, **keywords: object) -> bytes:
        nonlocal running, most
        running += 1
        most = max(most, running)
        try:
            return await real(*arguments, **keywords)
        finally:
            running -= 1

    monkeypatch.setattr(child, "_run", counted)
    await asyncio.gather(*(run("echo", source=b"x") for _ in range(5)))
    assert most == child.CONCURRENCY == 2
