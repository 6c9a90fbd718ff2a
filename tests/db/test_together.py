"""Many answers in one write, and none of them harmed by another."""

import asyncio
from collections.abc import Sequence

import pytest

from app.db.together import LARGEST_BATCH, Together


async def test_add__writes_together_what_came_in_meanwhile() -> None:
    batches: list[Sequence[int]] = []

    async def write(items: Sequence[int]) -> list[int]:
        batches.append(items)
        await asyncio.sleep(0)
        return [2 * item for item in items]

    together = Together[int, int]()
    told = await asyncio.gather(*(together.add(number, write) for number in range(LARGEST_BATCH + 1)))
    assert told == [2 * number for number in range(LARGEST_BATCH + 1)]
    await together.add(-1, write)
    assert batches == [list(range(LARGEST_BATCH)), [LARGEST_BATCH], [-1]]


async def test_add__only_the_one_that_cannot_be_written_fails() -> None:
    written: list[int] = []

    async def write(items: Sequence[int]) -> list[int]:
        if 2 in items:
            raise RuntimeError("not this one")
        written.extend(items)
        return list(items)

    together = Together[int, int]()
    outcomes = await asyncio.gather(*(together.add(number, write) for number in range(5)), return_exceptions=True)
    assert written == [0, 1, 3, 4]
    assert outcomes[:2] + outcomes[3:] == [0, 1, 3, 4]
    assert isinstance(outcomes[2], RuntimeError)


async def test_add__tries_nothing_again_after_a_final_failure() -> None:
    """For whoever cannot know whether the batch was written."""
    batches: list[Sequence[int]] = []

    async def write(items: Sequence[int]) -> list[int]:
        batches.append(items)
        raise TimeoutError

    together = Together[int, int](final=(TimeoutError,))
    outcomes = await asyncio.gather(*(together.add(number, write) for number in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [TimeoutError] * 3
    assert batches == [[0, 1, 2]]


async def test_add__goes_on_where_one_who_waited_was_canceled() -> None:
    gate, written = asyncio.Event(), list[int]()

    async def write(items: Sequence[int]) -> list[int]:
        await gate.wait()
        written.extend(items)
        return list(items)

    together = Together[int, int]()
    waiting = [asyncio.create_task(together.add(number, write)) for number in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting[0]
    await asyncio.gather(*waiting[1:])
    assert written == [0, 1, 2]
