"""The doctor's checks of what runs: each touches the real thing, free of charge, and puts back what it moved."""

import asyncio
import fcntl
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

from app.cli.ailments import is_public
from app.cli.finding import Finding, doubtful, failed, fine
from app.db import gate, inspection, overview, schema, webhooks
from app.db.engine import Connection, Database
from app.domain.errors import MediaError, ReelayError, SettingsError, StorageFailed
from app.domain.sealing import Sealer
from app.domain.webhooks import Disabled
from app.media import images, video
from app.media.store import Store
from app.settings import Settings, open_database

PICTURE = Path(__file__).resolve().parents[1] / "web" / "sample.jpg"
SAVES_AT_ONCE = 4
MOST_NAMED = 10
LEAST_FREE_BYTES = 256 << 20
SHARED_FILE_SYSTEMS = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "fuse.glusterfs", "ceph", "afs")
MOUNTS = Path("/proc/self/mounts")


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Database]:
    db = await asyncio.to_thread(open_database, settings)
    try:
        yield db
    finally:
        await asyncio.to_thread(db.close)


def _unborn(settings: Settings) -> Path | None:
    """Return the SQLite file that the first start will make; None if there is a database, or should be one."""
    scheme, _, path = settings.sqlalchemy_url.partition(":///")
    file = Path(path.partition("?")[0])
    return file if scheme == "sqlite" and not file.exists() else None


def _place(settings: Settings) -> str:
    parts = urlsplit(settings.sqlalchemy_url)
    if parts.scheme == "sqlite":
        return f"SQLite in {settings.sqlalchemy_url.partition(':///')[2]}"
    return f"Postgres at {parts.netloc.rpartition('@')[2]}{parts.path}"


async def database(settings: Settings) -> list[Finding]:
    """Is it reachable, safe where it lies, up to date, and made for the kind of jobs that this environment makes?"""
    if (unborn := _unborn(settings)) is not None:
        return [fine("database", f"{_place(settings)}: made at the first start."), *_shared_file_system(unborn)]
    try:
        async with _opened(settings) as db:
            return [
                fine("database", f"{_place(settings)} answers."),
                *(_sqlite(db, await db.read(inspection.journal)) if db.is_sqlite else ()),
                *await db.read(lambda conn: _schema(conn, settings, now=db.now(conn))),
            ]
    except SettingsError as error:
        return [failed("database", str(error), "Mend the setting or the folder that it names.")]
    except ReelayError as error:
        mend = "Start the database, or mend REELAY_DATABASE_URL."
        return [failed("database", f"{_place(settings)}: {error.message}", mend)]


def _sqlite(db: Database, journal: str) -> list[Finding]:
    path = db.sqlite_path
    found = _shared_file_system(path)
    if journal != "wal":
        sentence = f"{path} can't keep a write-ahead log here (it is {journal!r})."
        found.append(failed("database", sentence, "Move REELAY_DATA_DIR to a local disk, or use Postgres."))
    try:
        with tempfile.TemporaryFile(dir=path.parent) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        sentence = f"Files in {path.parent} can't be made or locked ({error.strerror})."
        found.append(failed("database", sentence, "Check its owner and mode, or move REELAY_DATA_DIR to a local disk."))
    return found


def _shared_file_system(path: Path) -> list[Finding]:
    kind = _file_system(path)
    if not kind.startswith(SHARED_FILE_SYSTEMS):
        return []
    sentence = f"{path} lies on {kind}: SQLite's locks can't be relied on there."
    return [failed("database", sentence, "Move REELAY_DATA_DIR to a local disk, or use Postgres.")]


def _file_system(path: Path) -> str:
    """Return the kind of file system that holds `path`; nothing where the system does not tell."""
    try:
        mounts = [line.split()[1:3] for line in MOUNTS.read_text("utf-8").splitlines()]
    except OSError:
        return ""
    place = path.absolute()
    found = [(len(point), kind) for point, kind in mounts if place.is_relative_to(point)]
    return max(found, default=(0, ""))[1]


def _schema(conn: Connection, settings: Settings, *, now: datetime) -> list[Finding]:
    has, newest = schema.current(conn), schema.head()
    if not schema.is_ready(conn):
        sentence = f"Its schema is at {has or 'nothing'}; this build needs {newest}."
        if conn.dialect.name == "sqlite":
            return [doubtful("database", sentence, "It comes up to date at the next start; or run `reelay migrate`.")]
        return [failed("database", sentence, "reelay migrate")]
    if has != newest:
        return [doubtful("database", f"Its schema, {has}, is newer than this build.", "Update this checkout.")]
    made_for, has_key = inspection.mode(conn), settings.upstream_api_key is not None
    kind = f"made for {made_for} jobs" if made_for else "not used yet"
    found = [fine("database", f"Its schema is up to date; it is {kind}.")]
    if made_for == "sandbox" and has_key:
        mend = "Unset the key and use --sandbox, or set REELAY_DATA_DIR or REELAY_DATABASE_URL to another place."
        found.append(failed("database", "With an upstream key Reelay starts for real and refuses it.", mend))
    elif made_for == "sandbox" and is_public(settings):
        sentence = f"It holds simulated videos, and REELAY_PUBLIC_URL is {settings.public_url}: nothing there is real."
        found.append(doubtful("database", sentence, "Serve from another database for real, or unset that setting."))
    return [*found, *_held(conn), *_silent(conn, now)]


def _held(conn: Connection) -> list[Finding]:
    """Return what keeps jobs from being submitted, in the words in which the jobs say it."""
    state, found = gate.read(conn), []
    mend = "docs/operations.md says what each reason asks for, under 'Why a job waits'."
    if state.paused_at is not None:
        why = "" if state.pause_reason is None else f": {state.pause_reason}"
        sentence = f"Since {_time(state.paused_at)} nothing is submitted, by {state.paused_by}{why}"
        found.append(doubtful("upstream", f"{sentence.rstrip('.')}.", "reelay upstream resume"))
    if state.held_since is not None:
        found.append(doubtful("upstream", f"Since {_time(state.held_since)} jobs wait: {state.hold_reason}.", mend))
    for hold in gate.held_models(conn).values():
        sentence = f"Since {_time(hold.held_since)} jobs of {hold.model} wait: {hold.reason}."
        found.append(doubtful("upstream", sentence, mend))
    return found


def _silent(conn: Connection, now: datetime) -> list[Finding]:
    """Return the workers that neither speak nor said that they stop."""
    mend = "End it if it still runs there, and start another: what it was doing is taken up by any worker."
    return [
        doubtful("workers", f"{worker.id} was last heard at {_time(worker.seen_at)}: it hangs, or was killed.", mend)
        for worker in overview.workers_seen(conn)
        if now - worker.seen_at > overview.SILENT_AFTER
    ][:MOST_NAMED]


def _time(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


async def storage(settings: Settings) -> list[Finding]:
    """Can it be written, read and emptied, and do all workers mean the same one?"""
    try:
        store = await asyncio.to_thread(Store.open, settings.media_url)
        await store.check()
        if settings.content_redirect:
            await store.link_origin()
    except StorageFailed as error:
        return [failed("storage", str(error), "Mend REELAY_STORAGE_URL, its credentials, or the folder.")]
    found = [fine("storage", f"{store.place} was written, read and emptied.")]
    if settings.stores_in_folder:
        found += await _foreign_hosts(settings)
    return found


async def _foreign_hosts(settings: Settings) -> list[Finding]:
    if _unborn(settings) is not None:
        return []
    try:
        async with _opened(settings) as db:
            hosts = await db.read(lambda conn: inspection.worker_hosts(conn, db) if schema.is_ready(conn) else set())
    except (SettingsError, ReelayError):
        return []  # the database's own check says so
    others = sorted(hosts - {socket.gethostname()})
    if not others:
        return []
    sentence = f"The storage is a folder, and workers run on other hosts too: {', '.join(others[:5])}."
    mend = "Set REELAY_STORAGE_URL to object storage, unless the folder is one that all of them share."
    return [doubtful("storage", sentence, mend)]


async def endpoints(settings: Settings) -> list[Finding]:
    """Are there webhooks that gave up, or whose secrets the present settings don't open?"""
    if _unborn(settings) is not None:
        return [fine("webhooks", "There are none yet.")]
    try:
        sealer = Sealer(settings.secret_for_signing(), settings.previous_secret_for_signing())
        async with _opened(settings) as db:
            return await db.read(lambda conn: _endpoints(conn, sealer) if schema.is_ready(conn) else [])
    except (SettingsError, ReelayError):
        return []  # the checks of settings and database say so


def _endpoints(conn: Connection, sealer: Sealer) -> list[Finding]:
    found = []
    for hook in webhooks.ailing(conn, reasons=(Disabled.GONE, Disabled.FAILING))[:MOST_NAMED]:
        why = "it answered 410" if hook.disabled_reason == Disabled.GONE else "nothing got through for five days"
        sentence = f"{hook.id} of project {hook.project_id} is disabled: {why}."
        mend = f'Mend its receiver, then PATCH /v1/webhooks/{hook.id} with {{"enabled": true}}; or DELETE it.'
        found.append(doubtful("webhooks", sentence, mend))
    if lost := webhooks.unreadable(conn, sealer):
        sentence = f"{lost} secrets of webhooks don't open with REELAY_SIGNING_SECRET: nothing is sent there."
        mend = "Set REELAY_SIGNING_SECRET_PREVIOUS to the secret before; if that is lost, rotate the webhooks' secrets."
        found.append(failed("webhooks", sentence, mend))
    return found or [fine("webhooks", "None is failing for good, and their secrets can be read.")]


async def decoding(settings: Settings) -> list[Finding]:
    """Decode a picture and a video in the child process, as uploads and results are."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            picture = await images.normalise(PICTURE.read_bytes(), max_pixels=50_000_000, max_side=256)
            path = Path(folder) / "video.mp4"
            await asyncio.to_thread(_film, path)
            facts = await video.inspect(path)
        except MediaError as error:
            mend = "Install what is locked anew: rm -rf .venv && make serve. In a container, allow it 2 GiB of memory."
            return [failed("decoding", f"The decoding process failed: {error}", mend)]
    if facts.poster is None:
        mend = "Videos are kept without posters. In a container, allow it 2 GiB of memory."
        return [doubtful("decoding", "No poster could be made of a sample video.", mend)]
    shown = f"a picture ({picture.width}x{picture.height}) and a video ({facts.width}x{facts.height}, {facts.codec})"
    return [fine("decoding", f"The decoding process read {shown}.")]


def _film(path: Path) -> None:
    """Make a small real video; what makes it is loaded only here."""
    import av  # noqa: PLC0415

    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=24, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for shade in range(6):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([40 + 20 * shade]) * plane.buffer_size)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


async def disk(settings: Settings) -> list[Finding]:
    """Is there room where videos are checked before they are stored, and where SQLite writes?"""
    wanted_folder = settings.data_dir.absolute()
    folder = next(there for there in (wanted_folder, *wanted_folder.parents) if there.exists())
    free = shutil.disk_usage(folder).free
    wanted = SAVES_AT_ONCE * settings.max_video_bytes
    shown = f"{free / 1e9:.1f} GB are free at {folder}"
    mend = "Free some space, or set REELAY_DATA_DIR to a larger disk."
    if free < LEAST_FREE_BYTES:
        return [failed("disk", f"Only {shown}.", mend)]
    if free < wanted:
        least = f"{SAVES_AT_ONCE} videos of REELAY_MAX_VIDEO_BYTES may be under way at once: {wanted / 1e9:.1f} GB"
        return [doubtful("disk", f"Only {shown}. {least}.", mend)]
    return [fine("disk", f"{shown}.")]
