"""Many events, several workers, a receiver that fails by schedule and dies: nothing is lost, and each keeps its id."""

import asyncio
import hashlib
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook as Verifier

from app.db.engine import Database
from app.db.tables import deliveries, events
from app.domain.webhooks import SENT
from tests.conftest import Clock
from tests.receiver import Received, Receiver, receiving, status
from tests.workers.test_deliver import Post, signature

EVENTS = int(os.environ.get("WEBHOOK_EVENTS", "100"))
"""WEBHOOK_EVENTS=10000 runs the full measure."""
FAILURES = [status(500), status(503, Retry_After="30"), status(302), status(429), b"", b"HTTP/1.1 2"]
DEAD_ROUNDS = (1, 2, 4)


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Moody:
    """Of each event, the first tries may fail, as its id decides; never more than five, so that all can get through."""

    def __init__(self) -> None:
        self.tries = Counter[str]()
        self.taken = Counter[str]()

    async def answer(self, received: Received) -> bytes:
        digest = hashlib.sha256(received.id.encode()).digest()
        self.tries[received.id] += 1
        if self.tries[received.id] <= digest[0] % 4:
            return FAILURES[digest[self.tries[received.id]] % len(FAILURES)]
        self.taken[received.id] += 1
        return status(200)


@asynccontextmanager
async def alive(port: int, moody: Moody, seen: list[Received]) -> AsyncIterator[Receiver]:
    async with receiving(port) as receiver:
        receiver.answer, receiver.received = moody.answer, seen
        yield receiver


async def test_many__none_is_lost_and_each_keeps_its_id(database: Database, clock: Clock) -> None:
    moody, seen = Moody(), list[Received]()
    async with alive(0, moody, seen) as first:
        port = first.port
        post = Post(database, clock, first)
        _, secret = post.endpoint()
    for number in range(EVENTS):
        post.job(metadata={"number": str(number)})
    with database.transaction() as conn:
        owed = set(conn.execute(sa.select(events.c.id).where(events.c.type.in_(SENT))).scalars())
    assert len(owed) == EVENTS
    workers = [post.another_worker() for _ in range(3)]

    async def send() -> None:
        await asyncio.gather(*(post.send(worker) for worker in workers))

    for round_ in range(16):
        if round_ in DEAD_ROUNDS:
            await send()  # nobody answers at that port
        else:
            async with alive(port, moody, seen):
                await send()
        clock.move(hours=2, minutes=15)
    with database.transaction() as conn:
        states = Counter(conn.execute(sa.select(deliveries.c.state)).scalars())
    assert states == {"delivered": EVENTS}
    assert moody.taken == dict.fromkeys(owed, 1)
    assert {received.id for received in seen} == owed
    assert {received.id for received in seen if received.event["id"] != received.id} == set()
    assert max(moody.tries.values()) > 3
    for received in seen:
        assert received.headers["webhook-signature"] == signature(received, secret)
    for received in seen[:5]:  # sent at the real time, as the library wants it
        Verifier(secret).verify(received.body, received.headers)
