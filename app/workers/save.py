"""Keep finished videos: copy each from its expiring URL into our storage, checked, before anybody sees it."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog

from app import metrics, tracing
from app.db import claims, outcomes
from app.db.engine import Connection, Database
from app.db.signals import SAVE
from app.domain.errors import (
    AddressRefused,
    DownloadFailed,
    FetchFailed,
    GenerationUnknown,
    MediaError,
    NotAVideo,
    Refused,
    StorageFailed,
)
from app.domain.job import Job
from app.domain.retry import LONGEST_SAVE_PAUSE_SECONDS, TOO_LARGE_PAUSE_SECONDS, backoff
from app.media.store import Store
from app.media.video import VideoFacts, inspect
from app.outbound.download import Downloaded, DownloadTooLarge
from app.upstream.client import UpstreamClient
from app.workers.leases import Leasing
from app.workers.loop import Crew, UpstreamDuty

log = structlog.get_logger()
Download = Callable[[str, Path], Awaitable[Downloaded]]
AT_ONCE = 4
TRIES_OF_BAD_RESULT = 5
STOP_SECONDS = 3.0
REFUSED_PAUSE_SECONDS = LONGEST_SAVE_PAUSE_SECONDS
"""Until somebody adds the host to REELAY_TRUSTED_HOSTS, or the upstream offers the video from another."""
UNAVAILABLE_MESSAGE = (
    "The upstream finished, but what it offers is no playable video any more. It was billed: ask its support."
)


class Saver(UpstreamDuty):
    """Copies videos. Our own storage failing only delays; a bad or expired result is asked for anew."""

    name = "save"
    interval_seconds = 2.0
    topic = SAVE

    def __init__(
        self,
        db: Database,
        upstream: UpstreamClient,
        store: Store,
        download: Download,
        *,
        leasing: Leasing,
        spool: Path,
    ) -> None:
        super().__init__(db, upstream)
        self._store = store
        self._download = download
        self._leasing = leasing
        self._spool = spool
        self.crew = Crew()

    async def run_once(self) -> bool:
        """Lease as many finished generations as there are free hands, and start saving them."""
        free = AT_ONCE - len(self.crew)
        if free <= 0:
            return False
        due = await self._db.write(lambda conn: self._claim(conn, free))
        for job in due:
            work = tracing.within(self._save(job), "save", job=job, attempt=job.saves)
            self.crew.start(work, name="save", job_id=job.id)
        return False

    async def drain(self) -> None:
        """Finish what is nearly saved; a long download is given back at once, to begin anew elsewhere."""
        await self.crew.cut_short(after_seconds=STOP_SECONDS)

    def _claim(self, conn: Connection, limit: int) -> list[Job]:
        now = self._db.now(conn)
        return claims.due_saves(conn, now=now, lease=self._leasing.new(now), limit=limit)

    async def _save(self, job: Job) -> None:
        async with self._leasing.kept(job.id, job.lease_token or ""):
            try:
                await self._copy(job)
            except asyncio.CancelledError:
                await self._db.write(lambda conn: claims.put_off(conn, job, due_at=self._db.now(conn), reason=None))
                raise
            except AddressRefused as error:
                # The operator decides what may be called; the video is paid for, and stays to be had.
                await self._put_off(job, reason="result_address_refused", error=error, pause=REFUSED_PAUSE_SECONDS)
            except StorageFailed as error:
                await self._put_off(job, reason="storage_unavailable", error=error)
            except DownloadTooLarge as error:
                await self._put_off(job, reason="result_too_large", error=error, pause=TOO_LARGE_PAUSE_SECONDS)
            except (DownloadFailed, NotAVideo) as error:
                await self._after_bad_result(job, error)
        self._db.signals.wake([SAVE])

    async def _copy(self, job: Job) -> None:
        """Download, check, store, and only then show."""
        with _spool_folder(self._spool) as folder:
            path = Path(folder) / "video.mp4"
            downloaded = await self._download(job.result_url or "", path)
            facts = await self._inspect(job, path)
            video = await self._keep(job, path, downloaded, facts)
        moved = await self._db.write(lambda conn: outcomes.saved(conn, job, video=video, now=self._db.now(conn)))
        if moved is not None:
            tracing.note(outcome="saved", state=moved.state)
            metrics.SAVED_BYTES.inc(downloaded.size_bytes)
            log.info("video_saved", job_id=job.id, size_bytes=downloaded.size_bytes)
        else:
            tracing.note(outcome="overtaken")
            log.warning("save_overtaken", job_id=job.id)
            for key in filter(None, (video["key"], video["poster_key"])):
                await self._store.delete(key)

    async def _inspect(self, job: Job, path: Path) -> VideoFacts | None:
        """Probe the file; one that overwhelms the decoder is kept without facts, since it was paid for."""
        try:
            return await inspect(path)
        except NotAVideo:
            raise
        except MediaError as error:
            log.warning("video_not_probed", job_id=job.id, error=str(error))
            return None

    async def _keep(self, job: Job, path: Path, downloaded: Downloaded, facts: VideoFacts | None) -> dict[str, Any]:
        # The number of the try is in the key: a worker that lost its lease never overwrites another's work.
        key = f"videos/{job.id}-{job.saves}.mp4"
        await self._store.put_file(key, path, content_type="video/mp4")
        poster_key = None
        if facts is not None and facts.poster is not None:
            poster_key = f"videos/{job.id}-{job.saves}.jpg"
            await self._store.put_bytes(poster_key, facts.poster, content_type="image/jpeg")
        return {
            "key": key,
            "poster_key": poster_key,
            "content_type": "video/mp4",
            "size_bytes": downloaded.size_bytes,
            "sha256": downloaded.sha256,
            "duration_seconds": None if facts is None else round(facts.duration_seconds, 3),
            "width": None if facts is None else facts.width,
            "height": None if facts is None else facts.height,
            "fps": None if facts is None else round(facts.fps, 3),
        }

    async def _after_bad_result(self, job: Job, error: DownloadFailed | NotAVideo) -> None:
        """Ask the upstream for a fresh URL; give up only when it keeps offering what is no video."""
        passing = isinstance(error, DownloadFailed) and not error.gone
        try:
            generation = await self._upstream.fetch(path=job.upstream_path, generation_id=job.generation_id or "")
        except GenerationUnknown:
            generation = None
        except (FetchFailed, Refused):
            await self._put_off(job, reason="upstream_unreachable", error=error)
            return
        if not passing and job.bad_results + 1 >= TRIES_OF_BAD_RESULT:
            await self._give_up(job, error)
            return
        url = generation.video_url if generation is not None else None
        await self._db.write(lambda conn: outcomes.refresh_result(conn, job, url=url, bad=not passing))
        reason = "result_not_readable_yet" if passing else "result_asked_anew"
        await self._put_off(job, reason=reason, error=error)

    async def _give_up(self, job: Job, error: Exception) -> None:
        tracing.note(outcome="given_up")
        log.error("result_unavailable", job_id=job.id, error=str(error))
        await self._db.write(
            lambda conn: outcomes.ended_without_video(
                conn,
                job,
                code="result_unavailable",
                message=UNAVAILABLE_MESSAGE,
                cost={},
                now=self._db.now(conn),
            )
        )

    async def _put_off(self, job: Job, *, reason: str, error: Exception, pause: float | None = None) -> None:
        tracing.note(outcome="put_off", reason=reason)
        log.warning("save_put_off", job_id=job.id, reason=reason, error=str(error))
        after = timedelta(seconds=pause or backoff(job.saves - 1, most=300))

        def give_back(conn: Connection) -> None:
            claims.put_off(conn, job, due_at=self._db.now(conn) + after, reason=reason)

        await self._db.write(give_back)


def clear_spool(spool: Path, *, older_than_seconds: float) -> None:
    """Remove what workers that were killed left behind; what is younger may be another's work."""
    for leftover in spool.glob("tmp*"):
        if time.time() - leftover.stat().st_mtime > older_than_seconds:
            shutil.rmtree(leftover, ignore_errors=True)


def _spool_folder(spool: Path) -> tempfile.TemporaryDirectory[str]:
    try:
        spool.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=spool)
    except OSError as error:
        raise StorageFailed(f"No temporary file can be made: {error.strerror}. Free some disk space.") from error
