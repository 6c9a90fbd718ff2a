"""Many answers in one write, and none of them harmed by another."""

import asyncio
from collections.abc import Sequence

import pytest

from app.workers.together import LARGEST_BATCH, Together


async def test_add__writes_together_what_came_in_meanwhile() -> None:
    batches: list[Sequence[int]] = []

    async def write(items: Sequence[int]) -> None:
        batches.append(items)
        await asyncio.sleep(0)

    together = Together(write)
    await asyncio.gather(*(together.add(number) for number in range(LARGEST_BATCH + 1)))
    await together.add(-1)
    assert batches == [list(range(LARGEST_BATCH)), [LARGEST_BATCH], [-1]]


async def test_add__only_the_one_that_cannot_be_written_fails() -> None:
    written: list[int] = []

    async def write(items: Sequence[int]) -> None:
        if 2 in items:
            raise RuntimeError("not this one")
        written.extend(items)

    together = Together(write)
    outcomes = await asyncio.gather(*(together.add(number) for number in range(5)), return_exceptions=True)
    assert written == [0, 1, 3, 4]
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [RuntimeError]


async def test_add__goes_on_where_one_who_waited_was_canceled() -> None:
    gate, written = asyncio.Event(), list[int]()

    async def write(items: Sequence[int]) -> None:
        await gate.wait()
        written.extend(items)

    together = Together(write)
    waiting = [asyncio.create_task(together.add(number)) for number in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    await asyncio.gather(*waiting[1:])
    assert written == [0, 1, 2]
