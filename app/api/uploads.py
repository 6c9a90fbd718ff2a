"""What was uploaded with a job: stored first, recorded in the job's own transaction; and files that are named by id."""

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime

import structlog

from app.api.callers import Caller
from app.api.deps import House
from app.api.intake import Intake, Upload
from app.db import files
from app.db.creations import Creation
from app.db.engine import Connection
from app.domain.actor import Actor
from app.domain.errors import InvalidRequest, StorageFailed, Unavailable
from app.domain.job import File
from app.media.store import Store

log = structlog.get_logger(__name__)


async def store_all(uploads: list[Upload], *, store: Store) -> None:
    """Store the bytes of all, or of none."""
    try:
        for upload in uploads:
            data, content_type = upload.media.data, upload.media.content_type
            if isinstance(data, bytes):
                await store.put_bytes(upload.storage_key, data, content_type=content_type)
            else:
                await store.put_file(upload.storage_key, data, content_type=content_type)
    except StorageFailed:
        await discard([upload.storage_key for upload in uploads], store=store)
        raise


async def discard(storage_keys: list[str], *, store: Store) -> bool:
    """Delete stored bytes; what can't be deleted now is noted. Tell whether all are gone."""
    gone = True
    for key in storage_keys:
        try:
            await store.delete(key)
        except StorageFailed as error:
            gone = False
            log.error("object_not_deleted", key=key, reason=str(error))
    return gone


Prints = Mapping[str, str]
"""The SHA-256 of the bytes of files, by their ids."""


Record = Callable[[Connection], str | Creation]


async def committed(record: Record, *, upload: Upload, house: House, by: Actor | None) -> str | Creation:
    """Run the transaction that records an upload in the name of `by`, and see it through although its caller leaves.

    Unless the file was made its stored bytes are deleted again.
    """
    task = asyncio.ensure_future(_commit(record, upload=upload, house=house, by=by))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def _commit(record: Record, *, upload: Upload, house: House, by: Actor | None) -> str | Creation:
    try:
        made = await house.db.write(record, by=by)
    except Unavailable:
        # The database may have committed and died before it said so: the bytes go only if there surely is no row.
        try:
            if not await house.db.read(lambda conn: files.exists(conn, upload.id)):
                await discard([upload.storage_key], store=house.store)
        except Unavailable:
            log.error("file_outcome_unknown", file_id=upload.id, key=upload.storage_key)
        raise
    except Exception:
        await discard([upload.storage_key], store=house.store)
        raise
    if isinstance(made, Creation):
        await discard([upload.storage_key], store=house.store)
    return made


def record(conn: Connection, intake: Intake, *, caller: Caller, now: datetime) -> Prints:
    """Write the rows of what was stored and keep the files named by id; raise InvalidRequest for one of no use."""
    until = now + intake.house.file_retention
    for upload in intake.uploads:
        files.insert(conn, upload.row(caller, now=now, expires_at=until))
    found = kept(conn, list(intake.named), caller=caller, until=until)
    _require_usable(found, intake=intake)
    return _prints(found, intake=intake)


def require_known(conn: Connection, intake: Intake, *, caller: Caller) -> Prints:
    """Raise InvalidRequest for a file named by id that is of no use. Nothing is kept longer for it."""
    key, named = caller.key, list(intake.named)
    found = files.get_many(conn, named, project_id=key.project_id, subject=key.subject) if named else {}
    _require_usable(found, intake=intake)
    return _prints(found, intake=intake)


def _prints(found: Mapping[str, File], *, intake: Intake) -> Prints:
    return prints_of(found) | {upload.id: upload.media.sha256 for upload in intake.uploads}


def prints_of(found: Mapping[str, File]) -> dict[str, str]:
    """Return the SHA-256 of each file."""
    return {id_: file.sha256 for id_, file in found.items()}


def _require_usable(found: Mapping[str, File], *, intake: Intake) -> None:
    """Raise InvalidRequest for a file that is not the caller's, or of another kind than its place takes."""
    for id_, places in intake.named.items():
        file = found.get(id_)
        for param, kind in places:
            if file is None:
                message = f"There is no file {id_[:80]!r} here: it has expired, or belongs to another project."
                raise InvalidRequest(message, code="file_not_found", param=param)
            if kind is not None and file.content_type.partition("/")[0] != kind:
                message = f"{param!r} takes {kind}; the file {id_!r} is of the type {file.content_type}."
                raise InvalidRequest(message, code="wrong_media", param=param)


def kept(conn: Connection, ids: list[str], *, caller: Caller, until: datetime) -> dict[str, File]:
    """Keep the caller's files at least `until`; return those that are there."""
    if not ids:
        return {}
    found = files.get_many(conn, ids, project_id=caller.key.project_id, subject=caller.key.subject, lock=True)
    files.keep_until(conn, list(found), until=until)
    return found
