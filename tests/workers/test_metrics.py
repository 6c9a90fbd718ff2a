"""What the workers measure on a job's way: how soon it was bought, how soon its end was noticed, each call."""

import pytest

from app.domain.errors import GenerationUnknown
from app.metrics import REGISTRY
from tests.workers.conftest import Room


@pytest.fixture
def database_kind() -> str:
    """What is measured does not depend on the database."""
    return "sqlite"


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"reelay_{name}", labels) or 0.0


def measured() -> dict[str, float]:
    return {
        "submits": value("submit_seconds_count"),
        "submit seconds": value("submit_seconds_sum"),
        "notices": value("notice_seconds_count"),
        "notice seconds": value("notice_seconds_sum"),
        "bought": value("upstream_calls_total", kind="submit", outcome="ok"),
        "polls": value("upstream_calls_total", kind="poll", outcome="ok"),
        "timed polls": value("upstream_call_seconds_count", kind="poll"),
        "has saved": float(value("saved_bytes_total") > 0),
    }


async def test_journey__is_measured(room: Room) -> None:
    before = measured()
    await room.create()
    room.clock.pass_seconds(3)
    await room.submit()
    room.clock.pass_seconds(10)
    await room.beat("poller", "saver")
    seen = {name: after - before[name] for name, after in measured().items()}
    # Submitted three seconds after it was made; booked at once, asked after ten seconds later, and it was finished.
    assert seen == {
        "submits": 1, "submit seconds": 3, "notices": 1, "notice seconds": 10,
        "bought": 1, "polls": 1, "timed polls": 1, "has saved": 1 - before["has saved"],
    }  # fmt: skip


async def test_calls__that_fail_are_counted_by_how(room: Room) -> None:
    before = value("upstream_calls_total", kind="poll", outcome="unknown")
    with pytest.raises(GenerationUnknown):
        await room.upstream.fetch(path="/v2/video/generations", generation_id="nobody's")
    assert value("upstream_calls_total", kind="poll", outcome="unknown") == before + 1
