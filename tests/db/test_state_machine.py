"""Callers, operators, workers, the clock and the upstream in any order: what must hold after every step.

One transaction holds a whole run; each step is a savepoint, undone if a verb refuses. What workers do here is what
they do in `app/workers`, verb by verb, with every pause between two verbs a place where they may die or stall.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any, TypeVar

import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from app.api.remembered_jobs import KEPT
from app.db import access, claims, endings, gate, jobs, learning, log_reader, outcomes, resolving, settling, submissions
from app.db.claims import Lease
from app.db.engine import Database
from app.db.jobs import Owner, as_job
from app.db.signals import job_topic, take_announced
from app.db.submissions import as_submission
from app.db.tables import events, strays
from app.db.tables import jobs as jobs_table
from app.db.tables import log_reader as log_reader_table
from app.db.tables import submissions as submissions_table
from app.domain.errors import Conflict, NotSent, Refusal, Refused, Unconfirmed, UpstreamFailure
from app.domain.ids import new_id
from app.domain.job import Job, Submission
from app.domain.job import SubmissionState as Sub
from app.domain.pacing import Pace
from app.domain.signing import Signer
from app.domain.states import RETRYABLE, TERMINAL, TRANSITIONS, JobState, event_type
from app.domain.views import Viewer, render_job
from tests.db.conftest import T0
from tests.db.modelled_upstream import DEPLOYMENT, Sale, Upstream

S = JobState
T = TypeVar("T")
EXAMPLES = int(os.environ.get("STATE_MACHINE_EXAMPLES", "0"))
"""STATE_MACHINE_EXAMPLES=2000 searches longer, other runs each time, and shrinks what fails, which takes minutes."""
LIMIT = 4
LIMIT_OF_SECOND = 2
LEASE = timedelta(seconds=60)
WINDOW = timedelta(minutes=10)
HORIZON = timedelta(hours=24)
LOOK_BACK = timedelta(days=80)
PICK = st.integers(0, 30)
ANSWERS = st.sampled_from(["bought", "bought", "cut_off", "cut_off", "repeats", "gone", "refused", "not_sent"])
FATES = st.sampled_from(["done", "done", "empty", "failed"])
VIEWER = Viewer("https://reelay.test", Signer(b"a secret for tests"), "key_1", timedelta(days=30))
FLAGS = st.tuples(st.booleans(), st.booleans())
OCCUPYING = {"submitting", "generating", "unconfirmed", "abandoned"}
AFTER_CANCEL = {
    S.QUEUED: S.CANCELED,
    S.SUBMITTING: S.SUBMITTING,
    S.UNCONFIRMED: S.ABANDONED,
    S.GENERATING: S.ABANDONED,
    S.ABANDONED: S.ABANDONED,
    S.CANCELED: S.CANCELED,
}
"""Where a cancel leads; from anywhere else it is refused."""


@dataclass
class Hand:
    """A worker with a job in hand: how far it came, and what it heard."""

    job: Job
    submission: Submission
    answer: Sale | UpstreamFailure | None = None
    names: str = ""
    """The generation that a paid answer names."""
    says_cost: bool = False
    was_sent: bool = False
    is_recorded: bool = False


@dataclass(frozen=True)
class Seen:
    """What the rows said after a step."""

    jobs: dict[str, Job]
    attempts: dict[str, list[Submission]]
    timelines: dict[str, list[tuple[str, str]]]
    strays: dict[str, tuple[str | None, int]]


def shown(job: Job) -> tuple[Any, ...]:
    """What an answer about the job is made from."""
    return render_job(job, now=T0, viewer=VIEWER), job.event_count, job.deleted_at


class Machine(RuleBasedStateMachine):
    """The house's rows under everything that may happen to them."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.conn = database.engine.execution_options(writing=True).connect()
        self.now, self.latest = T0, T0
        self.upstream = Upstream()
        self.hands: list[Hand] = []
        self.polls: list[Job] = []
        self.saves: list[Job] = []
        self.excused: set[str] = set()
        """Jobs that somebody ordered to be bought again, though something may have been bought."""
        self.projects = [access.create_project(self.conn, name, now=T0).id for name in ("first", "second")]
        self.conn.execute(
            sa.text("UPDATE projects SET max_in_flight = :n WHERE id = :id"),
            {"n": LIMIT_OF_SECOND, "id": self.projects[1]},
        )
        self.before = self._read()
        self.tokens = 0

    @contextmanager
    def step(self) -> Iterator[None]:
        """Undo what a refused verb wrote, as the end of its transaction would."""
        with suppress(Conflict), self.conn.begin_nested():
            yield

    def picked(self, among: list[T], pick: int) -> T:
        return among[pick % len(among)]

    def job(self, pick: int) -> Job:
        return self.picked(list(self.before.jobs.values()), pick)

    def new_lease(self) -> Lease:
        self.tokens += 1
        return Lease(f"t{self.tokens}", self.now + LEASE)

    # Callers

    @initialize(resubmit=st.booleans())
    def begin(self, resubmit: bool) -> None:
        for second in (False, False, True):
            self.create(second, True, resubmit, None)

    @rule(second=st.booleans(), priced=st.booleans(), resubmit=st.booleans(), start_within=st.sampled_from([None, 300]))
    def create(self, second: bool, priced: bool, resubmit: bool, start_within: int | None) -> None:
        job = Job(
            id=new_id("job"),
            project_id=self.projects[second],
            model="veo2",
            input={"prompt": "A boat"},
            upstream_path="/v2/video/generations",
            estimated_micros=2_500_000 if priced else None,
            on_unconfirmed="resubmit" if resubmit else "hold",
            start_by=None if start_within is None else self.now + timedelta(seconds=start_within),
            due_at=self.now,
            created_at=self.now,
        )
        jobs.insert(self.conn, job)

    @precondition(lambda self: self.before.jobs)
    @rule(pick=PICK)
    def cancel(self, pick: int) -> None:
        self._cancel(self.job(pick))

    @precondition(lambda self: self.hands)
    @rule(pick=PICK)
    def cancel_what_is_in_hand(self, pick: int) -> None:
        self._cancel(self.before.jobs[self.picked(self.hands, pick).job.id])

    def _cancel(self, job: Job) -> None:
        state: JobState | None = None
        with self.step():
            state = jobs.cancel(self.conn, job.id, owner=Owner(project_id=job.project_id), now=self.now).state
        assert state == AFTER_CANCEL.get(job.state)

    @precondition(lambda self: any(job.state in RETRYABLE for job in self.before.jobs.values()))
    @rule(pick=PICK, accept=st.booleans())
    def retry(self, pick: int, accept: bool) -> None:
        job = self.picked([job for job in self.before.jobs.values() if job.state in RETRYABLE], pick)
        owner = Owner(project_id=job.project_id)
        with self.step():
            if endings.live_retry(self.conn, job.id) is None:
                endings.retryable(self.conn, job.id, owner=owner, accept_new_charge=accept)
                paid = [sale for sale in self.upstream.charged_for(job.id) if job.generation_id == sale.id]
                assert accept or not paid, "a billed job was bought again without a word from its caller"
                again = Job(
                    id=new_id("job"),
                    project_id=job.project_id,
                    model=job.model,
                    input=job.input,
                    upstream_path=job.upstream_path,
                    estimated_micros=job.estimated_micros,
                    due_at=self.now,
                    created_at=self.now,
                    retried_from=job.id,
                )
                jobs.insert(self.conn, again)

    @precondition(lambda self: any(job.state is S.SUCCEEDED for job in self.before.jobs.values()))
    @rule(pick=PICK)
    def reuse(self, pick: int) -> None:
        original = self.picked([job for job in self.before.jobs.values() if job.state is S.SUCCEEDED], pick)
        id_ = new_id("job")
        again = Job(
            id=id_,
            project_id=original.project_id,
            model=original.model,
            input=original.input,
            upstream_path=original.upstream_path,
            estimated_micros=original.estimated_micros,
            due_at=self.now,
            created_at=self.now,
        )
        jobs.insert_reused(self.conn, again, original=original, video={"key": f"videos/{id_}-0.mp4"})

    # Operators

    @precondition(lambda self: self.doubtful())
    @rule(pick=PICK)
    def resolve_not_created(self, pick: int) -> None:
        job = self.picked(self.doubtful(), pick)
        self.excused.add(job.id)  # people err
        with self.step():
            resolving.not_created(self.conn, job.id, by="test", now=self.now)

    @precondition(lambda self: self.doubtful())
    @rule(pick=PICK)
    def resolve_give_up(self, pick: int) -> None:
        with self.step():
            resolving.give_up(self.conn, self.picked(self.doubtful(), pick).id, by="test", now=self.now)

    @precondition(lambda self: self.doubtful() and self.upstream.sales)
    @rule(pick=PICK, which=PICK)
    def resolve_attach(self, pick: int, which: int) -> None:
        job, sale = self.picked(self.doubtful(), pick), self.picked(self.upstream.sales, which)
        with self.step():
            resolving.claim_generation(self.conn, job.id, generation_id=sale.id, by="test", now=self.now)

    @rule()
    def resume(self) -> None:
        with self.step():
            gate.open_again(self.conn)
            gate.release_model(self.conn)
            gate.set_pace(self.conn, Pace())

    def doubtful(self) -> list[Job]:
        return [job for job in self.before.jobs.values() if job.is_doubtful]

    # Time

    @rule(seconds=st.sampled_from([1, 11, 61, 61, 700, 7200, 90_000, -7200]))
    def wait(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self.latest = max(self.latest, self.now)

    # Submitters

    @rule(
        answer=ANSWERS,
        refusal=st.sampled_from(list(Refusal)),
        fate=FATES,
        flags=FLAGS,
        dies=st.sampled_from(["never", "never", "admitted", "sent", "recorded"]),
        resumed=st.booleans(),
        canceled=st.booleans(),
    )
    def submit(
        self,
        answer: str,
        refusal: Refusal,
        fate: str,
        flags: tuple[bool, bool],
        dies: str,
        resumed: bool,
        canceled: bool,
    ) -> None:
        """The usual beat, after which nobody holds anything; a worker that dies on the way is swept up after."""
        if resumed:
            self.resume()
        others, self.hands = self.hands, []
        self.admit()
        self.hold_together()
        if canceled and self.hands:
            self._cancel(self.before.jobs[self.hands[0].job.id])
        while self.hands and dies != "admitted":
            self.hold_together()
            self.post(0, answer, refusal, fate, flags)
            was_sent = any(hand.was_sent for hand in self.hands)
            if was_sent and dies != "sent":
                self.record(0)
            if was_sent and dies == "never":
                self.settle(0)
            self.hands = [hand for hand in self.hands if not hand.was_sent]
        self.hands = others
        if dies != "never":
            self.wait(61)
            self.sweep()

    @rule()
    def admit(self) -> None:
        with self.step():
            lease = self.new_lease()
            admitted = claims.admit(
                self.conn, now=self.now, max_in_flight=LIMIT, lease=lease, worker="w", deployment=DEPLOYMENT
            )
            taken = claims.places_taken(self.conn)
            assert not admitted or taken <= LIMIT
            of_second = [job for job, _ in admitted if job.project_id == self.projects[1]]
            assert not of_second or self._occupied(self.projects[1]) <= LIMIT_OF_SECOND
        self.hands += [Hand(job, submission) for job, submission in admitted]

    @precondition(lambda self: any(not hand.was_sent for hand in self.hands))
    @rule(
        pick=PICK,
        answer=ANSWERS,
        refusal=st.sampled_from(list(Refusal)),
        fate=FATES,
        flags=FLAGS,
    )
    def post(self, pick: int, answer: str, refusal: Refusal, fate: str, flags: tuple[bool, bool]) -> None:
        hand = self.picked([hand for hand in self.hands if not hand.was_sent], pick)
        with self.step():
            hand.was_sent = submissions.mark_sending(
                self.conn, hand.job, hand.submission, now=self.now, lease_expires_at=self.now + LEASE
            )
        if not hand.was_sent:
            self.hands.remove(hand)
            self._settle(hand)
            return
        job_id, request_id = hand.job.id, hand.submission.request_id
        assert self.before.jobs[job_id].cancel_requested_at is None, "posted after a cancel was promised"
        assert job_id in self.excused or not self.upstream.charged_for(job_id), "bought twice"
        self.upstream.hear(request_id, now=self.now)
        self._answer(hand, answer, refusal=refusal, fate=fate, flags=flags)

    def _answer(self, hand: Hand, answer: str, *, refusal: Refusal, fate: str, flags: tuple[bool, bool]) -> None:
        mute, hand.says_cost = flags
        request_id = hand.submission.request_id
        if answer in ("bought", "cut_off", "repeats"):
            sale = self.upstream.sell(request_id, now=self.now, fate=fate, is_mute=mute)
            hand.answer, hand.names = sale, sale.id
            carried = [job.generation_id for job in self.before.jobs.values() if job.generation_id]
            if answer == "repeats" and carried:
                hand.names = carried[0]
            elif answer == "cut_off":
                hand.answer = Unconfirmed("cut off")
            return
        if mute:
            self.upstream.logged_failures.add(request_id)
        match answer:
            case "gone":
                hand.answer = Unconfirmed("no answer", http_status=502)
            case "refused":
                hand.answer = Refused("no", refusal=refusal, http_status=400)
            case _:
                self.upstream.logged_failures.discard(request_id)
                hand.answer = NotSent("no connection")

    @precondition(lambda self: any(hand.was_sent and not hand.is_recorded for hand in self.hands))
    @rule(pick=PICK)
    def record(self, pick: int) -> None:
        hand = self.picked([hand for hand in self.hands if hand.was_sent and not hand.is_recorded], pick)
        with self.step():
            if isinstance(hand.answer, Sale):
                cost = hand.answer.credits if hand.says_cost and hand.names == hand.answer.id else None
                submissions.record_accepted(
                    self.conn,
                    hand.submission.id,
                    now=self.now,
                    generation_id=hand.names,
                    inference_id=hand.names,
                    credits=cost,
                )
            else:
                assert hand.answer is not None
                submissions.record_failure(self.conn, hand.submission.id, hand.answer, now=self.now)
        hand.is_recorded = True

    @precondition(lambda self: any(hand.is_recorded for hand in self.hands))
    @rule(pick=PICK)
    def settle(self, pick: int) -> None:
        hand = self.picked([hand for hand in self.hands if hand.is_recorded], pick)
        self.hands.remove(hand)
        self._settle(hand)

    def _settle(self, hand: Hand) -> None:
        """Whoever holds the job now is not moved by one that held it before, unless by a paid answer."""
        held = jobs.lock(self.conn, hand.job.id)
        moved: Job | None = None
        with self.step():
            moved = settling.settle(self.conn, hand.job.id, now=self.now, lease_token=hand.job.lease_token)
        if held.state is S.SUBMITTING and held.lease_token != hand.job.lease_token and moved is not None:
            assert submissions.latest(self.conn, held).state is Sub.ACCEPTED

    @precondition(lambda self: any(not hand.was_sent for hand in self.hands))
    @rule(pick=PICK)
    def withdraw(self, pick: int) -> None:
        hand = self.picked([hand for hand in self.hands if not hand.was_sent], pick)
        self.hands.remove(hand)
        with self.step():
            settling.withdraw(self.conn, hand.job, now=self.now, due_at=self.now, reason="storage_unavailable")

    @precondition(lambda self: self.hands)
    @rule()
    def stall(self) -> None:
        """Everybody stands still past their leases, and others take over."""
        self.wait(61)
        self.sweep()
        self.resume()
        self.admit()

    @precondition(lambda self: self.hands)
    @rule(pick=PICK)
    def die(self, pick: int) -> None:
        self.hands.remove(self.picked(self.hands, pick))

    # Pollers and savers

    @rule()
    def claim_polls(self) -> None:
        with self.step():
            due = claims.due_polls(self.conn, now=self.now, limit=10)
            claims.book_polls(self.conn, {job.id: self.now + timedelta(seconds=10) for job in due}, now=self.now)
        self.polls += due

    @rule()
    def poll(self) -> None:
        """The usual beat: whatever is due has ended."""
        others, self.polls = self.polls, []
        self.claim_polls()
        while self.polls:
            self.hear_poll(0, "ended")
        self.polls = others

    @precondition(lambda self: self.polls)
    @rule(pick=PICK, word=st.sampled_from(["ended", "ended", "pending", "unknown"]))
    def hear_poll(self, pick: int, word: str) -> None:
        job = self.picked(self.polls, pick)
        self.polls.remove(job)
        with self.step():
            self._hear_poll(job, word)

    def _hear_poll(self, job: Job, word: str) -> None:
        sale, conn, now = self.upstream.known(job.generation_id), self.conn, self.now
        sale.has_ended = sale.has_ended or word == "ended"
        if not sale.has_ended or word == "unknown":
            if now - (job.started_at or now) > HORIZON:
                outcomes.lost(conn, job, now=now)
        elif sale.fate == "failed":
            outcomes.generation_failed(conn, job, code="upstream_failed", message="no", credits_used=None, now=now)
        elif sale.fate == "empty":
            patience = timedelta(seconds=60)
            moved = outcomes.completed_empty(conn, job, credits_used=sale.credits, patience=patience, now=now)
            self._charged_as_told(moved, sale)
        else:
            moved = outcomes.completed(conn, job, url="https://cdn.example/v.mp4", credits_used=sale.credits, now=now)
            self._charged_as_told(moved, sale)

    def _charged_as_told(self, moved: Job | None, sale: Sale) -> None:
        if moved is not None and not sale.is_mute:
            assert (moved.charged_micros, moved.charge_basis, moved.settled) == (sale.micros, "reported", True)

    @rule()
    def claim_saves(self) -> None:
        with self.step():
            self.saves += claims.due_saves(self.conn, now=self.now, lease=self.new_lease(), limit=3)

    @precondition(lambda self: self.saves)
    @rule(pick=PICK, end=st.sampled_from(["saved", "saved", "put_off", "gave_up", "died"]))
    def end_save(self, pick: int, end: str) -> None:
        job = self.picked(self.saves, pick)
        self.saves.remove(job)
        with self.step():
            match end:
                case "saved":
                    outcomes.saved(self.conn, job, video={"key": f"videos/{job.id}-{job.saves}.mp4"}, now=self.now)
                case "put_off":
                    claims.put_off(self.conn, job, due_at=self.now + timedelta(seconds=5), reason="storage_unavailable")
                case "gave_up":
                    outcomes.ended_without_video(
                        self.conn, job, code="result_unavailable", message="no", cost={}, now=self.now
                    )

    # Sweep, probe, reconcile

    @rule()
    def sweep(self) -> None:
        with self.step():
            for job in claims.expired_submits(self.conn, now=self.now):
                settling.settle(self.conn, job.id, now=self.now, lease_token=job.lease_token)
            for job in claims.answered_late(self.conn):
                settling.settle(self.conn, job.id, now=self.now, lease_token=None)
            for job in claims.overdue_starts(self.conn, now=self.now):
                late: dict[str, Any] = {"error_code": "not_started_in_time", "error_message": "late", "billed": False}
                jobs.advance(self.conn, job, to=S.FAILED, now=self.now, settled=True, **late)

    @rule(is_well=st.booleans())
    def probe(self, is_well: bool) -> None:
        with self.step():
            if gate.claim_probe(self.conn, now=self.now, pause=timedelta(seconds=30)) is None:
                return
            if is_well:
                gate.let_one_try(self.conn, now=self.now)
            else:
                until = self.now + timedelta(seconds=30)
                gate.put_off_probe(self.conn, until=until, reason="upstream_unreachable")

    @rule(lag=st.sampled_from([0, 0, 600]))
    def reconcile(self, lag: int) -> None:
        with self.step():
            read = log_reader.claim_read(
                self.conn, reader="w", now=self.now, look_back=LOOK_BACK, interval=timedelta(seconds=30)
            )
            if read is None:
                return
            for rows in self.upstream.log(start=read.start, until=min(read.end, self.now - timedelta(seconds=lag))):
                learning.learn(self.conn, rows, deployment=DEPLOYMENT, now=self.now)
            for job, _ in log_reader.attachments(self.conn):
                self._judge(job)
            learning.conclude(
                self.conn,
                read,
                key_print="k",
                now=self.now,
                window=WINDOW,
                longest_gap=timedelta(seconds=90),
                horizon=HORIZON,
            )
            log_reader.end_read(self.conn, reader="w")

    def _judge(self, job: Job) -> None:
        assert job.attachment is not None
        sale = self.upstream.known(job.attachment["generation_id"])
        try:
            if sale.job_id != job.id or not sale.is_charged:
                raise Conflict("bought for another", code="generation_taken")
            resolving.attach(self.conn, job.id, now=self.now)
        except Conflict as conflict:
            resolving.refuse_claim(self.conn, job.id, reason=conflict.message, now=self.now)

    # What must hold after every step

    def _read(self) -> Seen:
        found = {row.id: as_job(row) for row in self.conn.execute(sa.select(jobs_table).order_by(jobs_table.c.id))}
        attempts: dict[str, list[Submission]] = {id_: [] for id_ in found}
        by_n = sa.select(submissions_table).order_by(submissions_table.c.job_id, submissions_table.c.n)
        for row in self.conn.execute(by_n):
            attempts[row.job_id].append(as_submission(row))
        timelines: dict[str, list[tuple[str, str]]] = {id_: [] for id_ in found}
        for row in self.conn.execute(sa.select(events).order_by(events.c.job_id, events.c.n)):
            timelines[row.job_id].append((row.type, row.state))
        booked = {row.inference_id: (row.job_id, row.micros) for row in self.conn.execute(sa.select(strays))}
        return Seen(found, attempts, timelines, booked)

    @invariant()
    def hold_together(self) -> None:
        seen = self._read()
        told = take_announced(self.conn)
        for job in seen.jobs.values():
            self._announced(self.before.jobs.get(job.id), job, told)
            self._moves(self.before.jobs.get(job.id), job, seen.timelines[job.id])
            self._attempts(job, seen.attempts[job.id])
            self._money(job, seen)
        self._slots(seen)
        self.before = seen

    def _announced(self, was: Job | None, job: Job, told: set[str]) -> None:
        """What is remembered of a job is forgotten when anything changes in how it is shown."""
        if was is not None and was.state in KEPT and job != was and shown(job) != shown(was):
            assert job_topic(job.id) in told, f"nobody was told that {was} became {job}"

    def _moves(self, was: Job | None, job: Job, timeline: list[tuple[str, str]]) -> None:
        """Every move is one of the table's, has its event and its version; what is final stays as it is."""
        assert job.event_count == len(timeline)
        old = timeline[: 1 if was is None else was.event_count]
        states = [S(state) for _, state in timeline[len(old) - 1 :]]
        moves = [(frm, to) for frm, to in pairwise(states) if frm is not to]
        assert all(to in TRANSITIONS[frm] for frm, to in moves), moves
        assert states[-1] is job.state
        assert job.version == (1 if was is None else was.version) + len(moves)
        told = {(event_type(frm, to), str(to)) for frm, to in moves}
        assert told <= set(timeline[len(old) :])
        if was is not None and was.state in TERMINAL:
            assert (job.state, job.video, job.error_code, job.finished_at) == (
                was.state,
                was.video,
                was.error_code,
                was.finished_at,
            )

    def _attempts(self, job: Job, tried: list[Submission]) -> None:
        """Attempts are numbered without a gap, and the latest one agrees with the job's state."""
        assert [submission.n for submission in tried] == list(range(1, job.attempts + 1))
        latest = tried[-1] if tried else None
        match job.state:
            case S.SUBMITTING | S.UNCONFIRMED | S.ABANDONED:
                assert latest is not None
            case S.SUCCEEDED if job.reused_from is not None:
                assert latest is None and job.spent_micros == job.held_micros == 0
            case S.GENERATING | S.SAVING | S.SUCCEEDED:
                assert latest is not None and latest.state is Sub.ACCEPTED
                assert latest.generation_id == job.generation_id
            case S.QUEUED:
                assert job.generation_id is None
            case _:
                pass
        for submission in tried:
            if submission.state is Sub.PREPARED:
                assert submission.request_id not in self.upstream.asked, "sent without a mark"

    def _money(self, job: Job, seen: Seen) -> None:
        """What a job is charged is what the upstream sold it; what nobody carries is booked beside it, once.

        The one place for what must hold of a project's ledger, once there is one.
        """
        assert job.extra_micros == sum(micros for id_, micros in seen.strays.values() if id_ == job.id)
        assert job.settled == (job.state in TERMINAL or job.state is S.SAVING)
        if job.generation_id is None:
            assert job.charge_basis in (None, "estimated")
            assert (job.charge_basis == "estimated") <= (job.billed is True)
            is_unbought = job.state in TERMINAL and not job.billed and job.attempts > 0
            if is_unbought and job.id not in self.excused and job.on_unconfirmed == "hold":
                assert not self.upstream.charged_for(job.id), "closed as unbought"
            return
        sale = self.upstream.known(job.generation_id)
        assert sale.job_id == job.id and job.generation_id not in seen.strays, "one purchase, booked twice"
        if job.charge_basis == "reported":
            assert job.charged_micros == sale.micros
        elif job.charge_basis == "estimated":
            assert job.charged_micros == job.estimated_micros
        if job.state in (S.SAVING, S.SUCCEEDED):
            assert sale.is_mute or job.charge_basis == "reported"
            assert sale.is_charged
            assert job.charged_micros is not None or job.estimated_micros is None
        if job.state in TERMINAL and not sale.is_charged and job.error_code == "upstream_failed":
            assert (job.charged_micros, job.billed) == (None, False)

    def _slots(self, seen: Seen) -> None:
        expected = [job for job in seen.jobs.values() if job.state in OCCUPYING and job.search_ended_at is None]
        assert claims.places_taken(self.conn) == len(expected)

    def _occupied(self, project_id: str) -> int:
        rows = [job for job in self._read().jobs.values() if job.project_id == project_id]
        return sum(job.state in OCCUPYING and job.search_ended_at is None for job in rows)

    # And at the end

    def teardown(self) -> None:
        try:
            self._wind_up()
        finally:
            self.conn.rollback()
            self.conn.close()

    def _wind_up(self) -> None:
        """Every worker that was under way is dead; those that come after them, and time, bring all to its end."""
        self.hands, self.polls, self.saves = [], [], []
        self.now = self.latest
        for sale in self.upstream.sales:
            sale.has_ended = True
        for job in self.before.jobs.values():
            if job.state is S.QUEUED:
                jobs.cancel(self.conn, job.id, owner=Owner(project_id=job.project_id), now=self.now)
        for _ in range(14):
            self.now += timedelta(seconds=90)
            self.sweep()
            # An audit every time: the window is shorter here than a run.
            self.conn.execute(log_reader_table.update().values(audited_at=None))
            self.reconcile(0)
            self.poll()
            self.claim_saves()
            while self.saves:
                self.end_save(0, "saved")
            self.hold_together()
            if any(job.state is S.SUCCEEDED for job in self.before.jobs.values()):
                self.reuse(0)
        self.hold_together()
        self._all_is_told()

    def _all_is_told(self) -> None:
        seen = self.before
        for job in seen.jobs.values():
            waits_for_a_person = job.is_doubtful and job.search_ended_at is not None
            assert job.state in TERMINAL or waits_for_a_person or job.state is S.QUEUED, job
        carried = {job.generation_id for job in seen.jobs.values()}
        for sale in self.upstream.sales:
            if sale.is_charged:
                assert (sale.id in carried) != (sale.id in seen.strays), f"{sale} must be booked once"


def test_any_order_of_steps__keeps_every_promise(database: Database) -> None:
    searches = settings(
        max_examples=EXAMPLES or (25 if database.is_sqlite else 5),
        stateful_step_count=60,
        derandomize=not EXAMPLES,
        phases=[Phase.generate, Phase.shrink] if EXAMPLES else [Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(lambda: Machine(database), settings=searches)
