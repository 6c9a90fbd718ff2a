"""`reuse`: the video of a finished job again, copied for a new one, instead of buying the same once more."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog

from app.api import fingerprints, uploads
from app.api.callers import Caller
from app.api.deps import House
from app.api.intake import Intake
from app.api.orders import Order
from app.catalogue import media
from app.catalogue.catalogue import Model
from app.db import likeness
from app.db.engine import Connection
from app.db.likeness import Alike
from app.domain.errors import InvalidRequest, StorageFailed
from app.domain.job import Job
from app.media.store import ObjectMissing, Store

log = structlog.get_logger(__name__)
SEED = "seed"
_OBJECTS = {"key": "mp4", "poster_key": "jpg"}


class Gone(Exception):
    """The job whose video was copied has been deleted since, or has expired."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A finished job's video under keys of its own, for a new job."""

    original: Job
    video: dict[str, Any]

    @property
    def keys(self) -> list[str]:
        return _keys(self.video)


def _keys(video: dict[str, Any]) -> list[str]:
    return [video[name] for name in _OBJECTS if video.get(name)]


def require_seed(order: Order) -> None:
    """Raise InvalidRequest for a wish to reuse that nothing could fulfil: without a seed every video is another."""
    if not order.request.reuse or _is_seeded(order.model, order.input):
        return
    if SEED not in order.model.properties:
        raise InvalidRequest(
            f"{order.model.id} has no parameter {SEED!r} here: asked twice, it makes two different videos. "
            "Leave 'reuse' out.",
            code="seed_required",
            param="reuse",
        )
    raise InvalidRequest(
        f"'reuse' needs a {SEED!r} of your choice, 0 or more, in the input: without one each video is another.",
        code="seed_required",
        param=f"input.{SEED}",
    )


def _is_seeded(model: Model, given: dict[str, Any]) -> bool:
    """Tell whether the caller chose a seed. A negative one leaves the choice to the upstream."""
    seed = given.get(SEED) if SEED in model.properties else None
    return isinstance(seed, int | float) and not isinstance(seed, bool) and seed >= 0


def likeness_of(model: Model, given: dict[str, Any], prints: Mapping[str, str]) -> str | None:
    """Return the hash of all that decides about a job's video; None without a seed of the caller's.

    Files count by their bytes, whatever their ids; a link counts as the text it is.
    """
    if not _is_seeded(model, given):
        return None
    told = model.effective(given)
    for place in model.media_in(given):
        if place.value in prints:
            told = media.replaced(told, place.path, f"sha256:{prints[place.value]}")
    return fingerprints.of_wish(model.id, told)


async def copied(order: Order, intake: Intake, *, job_id: str, caller: Caller) -> Copy | None:
    """Copy the video of the newest finished job like this one, if that is wished and there is one.

    Raises StorageFailed, and nothing is left behind, if the storage is away.
    """
    house = intake.house
    if not order.request.reuse:
        return None

    def find(conn: Connection) -> Job | None:
        prints = uploads.require_known(conn, intake, caller=caller)
        wished = likeness_of(order.model, intake.input, prints)
        return likeness.newest(conn, _alike(wished, house=house, caller=caller, now=house.db.now(conn)))

    original = await house.db.read(find)
    return None if original is None else await _copy(original, job_id=job_id, store=house.store)


def require_kept(conn: Connection, copy: Copy, *, house: House, caller: Caller, now: datetime) -> None:
    """Raise Gone unless the original is there still; until the transaction ends it stays."""
    alike = _alike(copy.original.likeness, house=house, caller=caller, now=now)
    if likeness.still(conn, copy.original.id, alike) is None:
        raise Gone


def _alike(wished: str | None, *, house: House, caller: Caller, now: datetime) -> Alike:
    return Alike(
        project_id=caller.key.project_id,
        subject=caller.key.subject,
        likeness=wished or "",
        finished_after=None if house.retention is None else now - house.retention,
    )


async def _copy(original: Job, *, job_id: str, store: Store) -> Copy | None:
    """Copy the objects; None if one is missing, which no second look would mend."""
    theirs = original.video or {}
    ours = {name: f"videos/{job_id}-0.{suffix}" for name, suffix in _OBJECTS.items() if theirs.get(name)}
    try:
        for name, key in ours.items():
            await store.copy(theirs[name], to=key)
    except ObjectMissing as error:
        log.error("object_missing", job_id=original.id, reason=str(error))
        await uploads.discard(list(ours.values()), store=store)
        return None
    except StorageFailed:
        await uploads.discard(list(ours.values()), store=store)
        raise
    return Copy(original, theirs | ours)
