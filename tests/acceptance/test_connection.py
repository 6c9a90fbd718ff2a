"""What arrives before there is a request: heads of any size, at any speed."""

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from app.api.connection import MOST_WAITING
from tests.acceptance.processes import Deployment


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    folder: Path = tmp_path_factory.mktemp("connection")
    house = Deployment(folder, upstream_url="http://127.0.0.1:9", database_url=None)
    try:
        _, base = house.serve()
        yield "127.0.0.1", int(base.rpartition(":")[2])
    finally:
        house.close()


def talk(address: tuple[str, int], *pieces: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send pieces until the other side hangs up; return status, headers and body."""
    with socket.create_connection(address, timeout=20) as connection:
        try:
            for piece in pieces:
                connection.sendall(piece)
        except OSError:
            pass  # it stopped listening, which is the point
        answer = b""
        try:
            while chunk := connection.recv(65536):
                answer += chunk
        except ConnectionResetError:
            pass
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]) if lines[0] else 0, headers, body


def test_head__of_many_headers_is_refused(address: tuple[str, int]) -> None:
    status, headers, body = talk(address, b"GET /healthz HTTP/1.1\r\nHost: x\r\n", b"a:b\r\n" * 101, b"\r\n")
    assert status == 431
    assert json.loads(body)["error"]["request_id"] == headers["x-request-id"]


def test_head__that_never_ends_is_cut_off(address: tuple[str, int]) -> None:
    pieces = [b"a" * 65536] * 64
    status, _, _ = talk(address, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ", *pieces)
    assert status in (431, 0)


def test_rubbish__is_answered_in_the_envelope(address: tuple[str, int]) -> None:
    status, headers, body = talk(address, b"\x16\x03\x01 rubbish\r\n\r\n")
    assert (status, json.loads(body)["error"]["code"]) == (400, "invalid_http")
    assert headers["x-request-id"].startswith("req_")


def test_refusal_before_the_body__closes_the_connection(address: tuple[str, int]) -> None:
    head = b"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n"
    status, headers, _ = talk(address, head)
    assert (status, headers["connection"]) == (401, "close")


def test_ordinary_requests__share_a_connection(address: tuple[str, int]) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(request * 3 + last)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.count(b"HTTP/1.1 200") == 4


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(b"0\r\nX-Long: ", id="trailer"),
        pytest.param(b"1;x=", id="extension of a chunk"),
    ],
)
def test_what_comes_around_a_body__is_bounded_as_well(address: tuple[str, int], before: bytes) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(head + before)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            for _ in range(1024):
                connection.sendall(b"a" * 65536)


def test_requests__sent_faster_than_answered_are_bounded(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
        answer = b""
        with suppress(ConnectionResetError):
            while chunk := connection.recv(65536):
                answer += chunk
    assert answer.count(b"HTTP/1.1 200") <= MOST_WAITING
