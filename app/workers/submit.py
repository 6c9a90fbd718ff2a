"""Buy generations: claim what the upstream has room for, post each once, keep the answer, move the job."""

import asyncio
import base64
from datetime import timedelta
from functools import partial
from typing import Any

import structlog

from app import metrics, tracing
from app.db import claims, files, settling, submissions
from app.db.engine import Connection, Database
from app.db.signals import SUBMIT
from app.domain.errors import MediaError, NotSent, Refusal, Refused, Unavailable, UpstreamFailure
from app.domain.job import Job, Submission
from app.domain.retry import backoff
from app.media.store import ObjectMissing, Store
from app.upstream.client import UpstreamClient
from app.upstream.wire import Submitted
from app.workers.leases import Leasing
from app.workers.loop import Crew, UpstreamDuty
from app.workers.marks import Marks
from app.workers.requote import Requoter
from app.workers.restored import RestoreWatch

log = structlog.get_logger()
LOOK_SECONDS = 3.0
RECORD_PAUSE_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)


class Submitter(UpstreamDuty):
    """Turns queued jobs into generations, never more at once than the upstream allows."""

    name = "submit"
    interval_seconds = 2.0
    topic = SUBMIT

    def __init__(
        self,
        db: Database,
        upstream: UpstreamClient,
        store: Store,
        *,
        leasing: Leasing,
        marks: Marks,
        restore_watch: RestoreWatch,
        worker: str,
        deployment: str,
        max_in_flight: int,
        requoter: Requoter | None = None,
    ) -> None:
        super().__init__(db, upstream)
        self._store = store
        self._leasing = leasing
        self._marks = marks
        self._restore_watch = restore_watch
        self._worker = worker
        self._deployment = deployment
        self._max_in_flight = max_in_flight
        self._requoter = requoter
        self.crew = Crew()
        self._stopping = False
        self._assembling: set[asyncio.Task[dict[str, Any]]] = set()

    async def run_once(self) -> bool:
        """Admit queued jobs and start a submission for each."""
        if not await self._restore_watch.has_looked():
            return False
        admitted = await self._db.write(self._admit)
        for job, submission in admitted:
            work = tracing.within(self._submit(job, submission), "submit", job=job, attempt=submission.n)
            self.crew.start(work, name="submit", job_id=job.id)
        return bool(admitted)

    async def drain(self) -> None:
        """Send nothing more, and wait for what was sent."""
        self._stopping = True
        for task in self._assembling:
            task.cancel()
        await self.crew.drain()

    def _admit(self, conn: Connection) -> list[tuple[Job, Submission]]:
        now = self._db.now(conn)
        return claims.admit(
            conn,
            now=now,
            max_in_flight=self._max_in_flight,
            lease=self._leasing.new(now),
            worker=self._worker,
            deployment=self._deployment,
            key_print=self._upstream.key_print,
        )

    async def _submit(self, job: Job, submission: Submission) -> None:
        token = job.lease_token or ""
        async with self._leasing.kept(job.id, token):
            try:
                body = await self._made_ready(job, submission)
            except asyncio.CancelledError:
                await self._give_back(job, reason=None)
                return
            except MediaError as error:
                log.warning("storage_not_usable", job_id=job.id, error=str(error))
                await self._give_back(job, reason="storage_unavailable")
                return
            except Refused as failure:
                await self._keep(submission, failure)
            else:
                await self._send(job, submission, body)
            settle = partial(settling.settle, job_id=job.id, lease_token=token)
            moved = await self._db.write(lambda conn: settle(conn, now=self._db.now(conn)))
            if moved is not None:
                tracing.note(state=moved.state)
            if moved is not None and moved.started_at is not None:
                metrics.SUBMIT_SECONDS.observe(max(0.0, (moved.started_at - moved.created_at).total_seconds()))

    async def _made_ready(self, job: Job, submission: Submission) -> dict[str, Any]:
        """Return the body to post, its number marked outside of the database; canceled once this worker stops."""
        if self._stopping:
            raise asyncio.CancelledError
        assembling = asyncio.create_task(self._assemble_marked(job, submission))
        self._assembling.add(assembling)
        try:
            return await assembling
        finally:
            self._assembling.discard(assembling)

    async def _assemble_marked(self, job: Job, submission: Submission) -> dict[str, Any]:
        body = await self._assemble(job)
        if self._requoter is not None:
            await self._requoter.require_affordable(job)
        await self._marks.cover(submission.id)
        return body

    async def _send(self, job: Job, submission: Submission, body: dict[str, Any]) -> None:
        """Mark, post, keep the answer. Nothing is posted unless the mark is known to be committed."""
        try:
            marked = await self._db.write(lambda conn: self._mark_sending(conn, job, submission))
        except Unavailable as error:
            # It may have been committed all the same; the row must not look as if something had been sent.
            await self._keep(submission, NotSent(error.message))
            return
        if marked:
            await self._keep(submission, await self._post(job, submission, body))

    async def _assemble(self, job: Job) -> dict[str, Any]:
        """Return the input with our files sent along inline; we never hand out a link to what a caller gave us."""
        inline = {}
        for id_, file in (await self._db.read(lambda conn: files.of_job(conn, job.id))).items():
            if file is None:
                raise _gone(id_)
            try:
                encoded = base64.b64encode(await self._store.read(file.storage_key)).decode()
            except ObjectMissing:
                raise _gone(id_) from None
            inline[id_] = f"data:{file.content_type};base64,{encoded}"
        body: dict[str, Any] = _replaced(job.input, inline)
        return body

    def _mark_sending(self, conn: Connection, job: Job, submission: Submission) -> bool:
        now = self._db.now(conn)
        return submissions.mark_sending(conn, job, submission, now=now, lease_expires_at=self._leasing.end(now))

    async def _post(self, job: Job, submission: Submission, body: dict[str, Any]) -> Submitted | UpstreamFailure:
        try:
            answer = await self._upstream.submit(
                path=job.upstream_path, model=job.model, input=body, request_id=submission.request_id
            )
            log.info("generation_bought", job_id=job.id, model=job.model, generation_id=answer.generation_id)
            return answer
        except UpstreamFailure as failure:
            log.warning("submission_failed", job_id=job.id, kind=type(failure).__name__, error=failure.message)
            if isinstance(failure, Refused) and failure.refusal is Refusal.FORBIDDEN:
                return await self._looked_into(failure, estimated_micros=job.estimated_micros or 1)
            return failure

    async def _looked_into(self, failure: Refused, *, estimated_micros: int) -> Refused:
        """Tell by the balance, which is free to read, whether a 403 means the account or only this model."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                balance = await self._upstream.balance()
        except Refused as refused:
            refusal = refused.refusal
        except (UpstreamFailure, TimeoutError):
            refusal = Refusal.FORBIDDEN
        else:
            committed = await self._db.read(settling.committed_micros)
            short = balance.micros is not None and balance.micros - committed < estimated_micros
            refusal = Refusal.OUT_OF_CREDITS if short else Refusal.MODEL_FORBIDDEN
        return Refused(failure.message, refusal=refusal, http_status=failure.http_status or 403)

    async def _keep(self, submission: Submission, answer: Submitted | UpstreamFailure) -> None:
        """Write the answer to its own row, however long the database takes: a paid answer is never dropped."""
        tracing.note(outcome="accepted" if isinstance(answer, Submitted) else type(answer).__name__.lower())
        tried = 0
        while True:
            try:
                await self._db.write(lambda conn: self._record(conn, submission, answer))
                return
            except Exception as error:  # noqa: BLE001  # whatever the database says, the answer may be paid for
                pause = RECORD_PAUSE_SECONDS[min(tried, len(RECORD_PAUSE_SECONDS) - 1)]
                tried += 1
                log.error("answer_not_recorded_yet", job_id=submission.job_id, error=str(error), tried=tried)
                await asyncio.sleep(pause)

    def _record(self, conn: Connection, submission: Submission, answer: Submitted | UpstreamFailure) -> None:
        now = self._db.now(conn)
        if isinstance(answer, UpstreamFailure):
            submissions.record_failure(conn, submission.id, answer, now=now)
            return
        submissions.record_accepted(
            conn,
            submission.id,
            now=now,
            generation_id=answer.generation_id,
            inference_id=answer.inference_id,
            credits=answer.credits,
        )

    async def _give_back(self, job: Job, *, reason: str | None) -> None:
        """Give an unsent job back: at once when this worker only stops, else ever later."""
        tracing.note(outcome="given_back", reason=reason)
        pause = timedelta(seconds=0 if reason is None else backoff(job.attempts - 1, first=5))

        def withdraw(conn: Connection) -> None:
            now = self._db.now(conn)
            settling.withdraw(conn, job, now=now, due_at=now + pause, reason=reason)

        await self._db.write(withdraw)


def _gone(file_id: str) -> Refused:
    message = f"The upload {file_id} is gone. Upload it again and create a new job."
    return Refused(message, refusal=Refusal.INVALID_INPUT, http_status=0)


def _replaced(value: Any, inline: dict[str, str]) -> Any:
    if isinstance(value, str):
        return inline.get(value, value)
    if isinstance(value, dict):
        return {name: _replaced(inner, inline) for name, inner in value.items()}
    if isinstance(value, list):
        return [_replaced(inner, inline) for inner in value]
    return value
