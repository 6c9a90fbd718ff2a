"""Events sent to those who want to be told: signed, in time, again after a failure, and nobody held up by another."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import openai
import pytest
import sqlalchemy as sa
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from app.api.callers import Caller
from app.db import access, delivery_log, endings, jobs, trail, webhooks
from app.db.deliveries import Logged
from app.db.engine import Connection, Database
from app.db.owing import owe
from app.db.tables import deliveries
from app.domain.errors import Conflict
from app.domain.job import Job
from app.domain.sealing import Sealer
from app.domain.signing import Signer
from app.domain.states import JobState
from app.domain.webhooks import PAUSES_SECONDS, Disabled
from app.outbound.guard import Guard
from app.workers.deliver import UNREADABLE, Deliverer, Sending
from app.workers.reseal import Resealer
from tests.conftest import Clock
from tests.factories import lead, make_caller, make_job
from tests.receiver import Received, Receiver, receiving, status

SECRET = b"a secret for tests"


class Post:
    """One project's post office: endpoints, jobs, a worker, and a clock that tests move."""

    def __init__(self, db: Database, clock: Clock, receiver: Receiver) -> None:
        self.db, self.clock, self.receiver = db, clock, receiver
        self.me, _ = make_caller(db)
        self.sealer = Sealer(SECRET)
        self.guard = Guard([receiver.place])
        self.worker = self.another_worker()

    def another_worker(self, **given: Any) -> Deliverer:
        fields = ("guard", "sealer", "timeout_seconds")
        options = {"guard": self.guard, "sealer": self.sealer} | {n: given.pop(n) for n in fields if n in given}
        sending = Sending(
            signer=Signer(SECRET), public_url="https://reelay.test", retention=timedelta(days=30), **options
        )
        return Deliverer(self.db, sending, chance=lambda: 0.5, shuffle=lambda order: order.sort(), **given)

    def endpoint(self, url: str = "", *, by: Caller | None = None, events: list[str] | None = None) -> tuple[str, str]:
        """Make an endpoint; return its id and its secret."""
        key = (by or self.me).key
        with self.db.transaction() as conn:
            made, secret = webhooks.create(
                conn, key, url=url or self.receiver.url(), events=events, sealer=self.sealer, now=self.db.now(conn)
            )
        return made.id, secret

    def job(self, state: JobState = JobState.QUEUED, **given: Any) -> Job:
        return make_job(self.db, given.pop("by", self.me), state=state, **given)

    async def send(self, worker: Deliverer | None = None) -> None:
        """Let the worker send what is due, until nothing is."""
        sender = worker or self.worker
        while True:
            was_idle = not len(sender.crew)  # else its hands may have been full, and then empty themselves meanwhile
            await sender.run_once()
            if was_idle and not len(sender.crew):
                return
            await sender.crew.drain()

    async def send_after(self, seconds: float) -> None:
        self.clock.move(seconds=seconds)
        await self.send()

    def hook(self, id_: str) -> webhooks.Webhook:
        with self.db.transaction() as conn:
            return webhooks.get(conn, self.me.key, id_)

    def log(self, id_: str) -> list[Logged]:
        """Return the endpoint's deliveries, oldest first."""
        with self.db.transaction() as conn:
            hook = webhooks.named(conn, self.me.key, id_)
            return delivery_log.page(conn, self.me.key, hook, limit=100)[0][::-1]


@pytest.fixture
def clock() -> Clock:
    """The real time, which receivers' libraries look at, and what a test moves it by."""
    return Clock()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as running:
        yield running


@pytest.fixture
def post(database: Database, clock: Clock, receiver: Receiver) -> Post:
    return Post(database, clock, receiver)


async def test_send__what_receivers_verify_with_their_libraries(post: Post) -> None:
    _, secret = post.endpoint()
    job = post.job(JobState.SUCCEEDED, metadata={"order": "A-17"})
    await post.send()
    events = [received.verified(secret) for received in post.receiver.received]
    assert sorted(event["type"] for event in events) == ["job.created", "job.started", "job.succeeded"]
    [last] = [event for event in events if event["type"] == "job.succeeded"]
    assert set(last) == {"id", "object", "type", "created_at", "data"}
    assert last["data"]["id"] == job.id
    assert last["data"]["metadata"] == {"order": "A-17"}
    assert last["data"]["video"]["url"].startswith(f"https://reelay.test/v1/jobs/{job.id}/content?variant=video&")
    client = openai.OpenAI(api_key="sk-none", webhook_secret=secret)
    for received in post.receiver.received:
        assert client.webhooks.unwrap(received.body, received.headers).type == received.event["type"]
        assert received.id == received.event["id"]
        assert received.headers["content-type"] == "application/json"
        tampered = received.body.replace(b"Mona", b"Lisa")
        with pytest.raises(WebhookVerificationError):
            Verifier(secret).verify(tampered, received.headers)


async def test_send__each_event_shows_the_job_as_it_was_then(post: Post) -> None:
    post.endpoint()
    post.job(JobState.SUCCEEDED)
    await post.send()
    shown = {received.event["type"]: received.event["data"] for received in post.receiver.received}
    assert {name: (job["status"], job["progress"]) for name, job in shown.items()} == {
        "job.created": ("queued", 0),
        "job.started": ("in_progress", 0),
        "job.succeeded": ("succeeded", 100),
    }
    assert shown["job.started"]["video"] is None
    assert shown["job.created"]["started_at"] is None
    assert shown["job.succeeded"]["started_at"] == shown["job.started"]["started_at"] is not None


async def test_send__only_the_events_that_were_asked_for(post: Post) -> None:
    post.endpoint(events=["job.failed", "job.canceled"])
    for state in (JobState.SUCCEEDED, JobState.FAILED, JobState.ABANDONED, JobState.UNCONFIRMED):
        post.job(state)
    await post.send()
    assert sorted(received.event["type"] for received in post.receiver.received) == ["job.canceled", "job.failed"]


async def test_send__an_abandoned_job_is_canceled_once(post: Post, database: Database) -> None:
    post.endpoint()
    job = post.job(JobState.ABANDONED)
    with database.transaction() as conn:
        lead(conn, database, jobs.lock(conn, job.id), to=JobState.CANCELED, settled=True)
    await post.send()
    types = Counter(received.event["type"] for received in post.receiver.received)
    assert types == {"job.created": 1, "job.started": 1, "job.canceled": 1}


async def test_send__a_subject_s_endpoint_hears_of_its_own_jobs_only(post: Post, database: Database) -> None:
    ann, bob = (make_caller(database, subject=name)[0] for name in ("ann", "bob"))
    stranger, _ = make_caller(database, project="others")
    post.endpoint(post.receiver.url("/ann"), by=ann)
    post.endpoint(post.receiver.url("/all"))
    made = {name: post.job(by=caller).id for name, caller in {"ann": ann, "bob": bob, "other": stranger}.items()}
    await post.send()
    told = sorted((received.path, received.event["data"]["id"]) for received in post.receiver.received)
    assert told == sorted([("/ann", made["ann"]), ("/all", made["ann"]), ("/all", made["bob"])])


async def test_send__a_job_s_own_url_is_signed_with_the_default_secret(post: Post, database: Database) -> None:
    with database.transaction() as conn:
        default = webhooks.default_of(conn, post.me.key, sealer=post.sealer, now=database.now(conn))
        again = webhooks.default_of(conn, post.me.key, sealer=post.sealer, now=database.now(conn))
    assert again == default
    post.job(JobState.FAILED, webhook_url=post.receiver.url("/own"))
    post.job()
    await post.send()
    secret = post.sealer.open(default.secret)
    assert sorted(received.verified(secret)["type"] for received in post.receiver.received) == [
        "job.created",
        "job.failed",
        "job.started",
    ]
    assert {received.path for received in post.receiver.received} == {"/own"}


async def test_retry__on_schedule_with_the_same_id_until_the_tries_are_used_up(post: Post) -> None:
    id_, secret = post.endpoint(events=["job.created"])
    post.job()
    post.receiver.answers(status(500))
    await post.send()
    for pause in PAUSES_SECONDS:
        count = len(post.receiver.received)
        await post.send_after(pause - 1)
        assert len(post.receiver.received) == count
        await post.send_after(1.5)
        assert len(post.receiver.received) == count + 1
    await post.send_after(10 * 86_400)
    assert len(post.receiver.received) == 8
    assert len({received.id for received in post.receiver.received}) == 1
    [logged] = post.log(id_)
    assert (logged.state, len(logged.attempts)) == ("failed", 8)
    assert {(attempt.status_code, attempt.error) for attempt in logged.attempts} == {(500, "It answered 500.")}
    stamps = [int(received.headers["webhook-timestamp"]) for received in post.receiver.received]
    assert 27 * 3600 < stamps[-1] - stamps[0] < 28.5 * 3600
    Verifier(secret).verify(post.receiver.received[0].body, post.receiver.received[0].headers)


async def test_retry__one_success_ends_it_and_makes_the_endpoint_well(post: Post) -> None:
    id_, _ = post.endpoint(events=["job.created"])
    post.job()
    post.receiver.answers(status(503), status(204))
    await post.send()
    assert post.hook(id_).failing_since is not None
    await post.send_after(6)
    await post.send_after(86_400)
    assert len(post.receiver.received) == 2
    [logged] = post.log(id_)
    assert [attempt.status_code for attempt in logged.attempts] == [503, 204]
    assert (logged.state, post.hook(id_).failing_since) == ("delivered", None)


async def test_retry__links_are_signed_at_each_attempt(post: Post) -> None:
    post.endpoint(events=["job.succeeded"])
    post.job(JobState.SUCCEEDED)
    post.receiver.answers(status(500), status(200))
    await post.send()
    await post.send_after(3600)
    expiries = [
        int(received.event["data"]["video"]["url"].split("expires=")[1].split("&")[0])
        for received in post.receiver.received
    ]
    sent = [int(received.headers["webhook-timestamp"]) for received in post.receiver.received]
    assert [expiry - at >= 3600 for expiry, at in zip(expiries, sent, strict=True)] == [True, True]
    assert expiries[0] < expiries[1]


async def test_links__are_signed_for_a_key_that_works(post: Post, database: Database) -> None:
    """The endpoint's key goes first, then the job's, then any other; never a client token, which ends too soon."""
    post.endpoint(events=["job.succeeded"])
    maker, _ = make_caller(database)
    other, _ = make_caller(database)

    async def signed_for() -> str:
        post.job(JobState.SUCCEEDED, key_id=maker.key.id, token_id="tok_1")
        await post.send()
        url: str = post.receiver.received[-1].event["data"]["video"]["url"]
        return url.split("key_id=")[1].split("&", maxsplit=1)[0]

    for key in (post.me.key, maker.key, other.key):
        assert await signed_for() == key.id
        with database.transaction() as conn:
            access.revoke_key(conn, key.id, now=database.now(conn))


@pytest.mark.parametrize(
    ("header", "at_least"),
    [("120", 120), ("7200", 7200), ("1", 5), ("-3", 5), ("soon", 5), ("999999999", 86_400), ("inf", 5)],
)
async def test_retry_after__is_honoured(post: Post, header: str, at_least: int) -> None:
    post.endpoint(events=["job.created"])
    post.job()
    post.receiver.answers(status(429, Retry_After=header), status(200))
    await post.send()
    await post.send_after(at_least - 1)
    assert len(post.receiver.received) == 1
    await post.send_after(2)
    assert len(post.receiver.received) == 2


async def test_retry_after__may_be_a_date(post: Post, clock: Clock) -> None:
    post.endpoint(events=["job.created"])
    post.job()
    at = datetime.now(UTC) + timedelta(seconds=600)
    post.receiver.answers(status(503, Retry_After=f"{at:%a, %d %b %Y %H:%M:%S} GMT"), status(200))
    await post.send()
    await post.send_after(590)
    assert len(post.receiver.received) == 1
    await post.send_after(15)
    assert len(post.receiver.received) == 2


async def test_gone__disables_at_once_and_gives_up_what_is_owed(post: Post) -> None:
    id_, _ = post.endpoint()
    worker = post.another_worker(share=1)
    post.job(JobState.SUCCEEDED)
    post.receiver.answers(status(410))
    await post.send(worker)
    hook = post.hook(id_)
    assert hook.disabled_reason == Disabled.GONE
    assert len(post.receiver.received) == 1
    assert {logged.state for logged in post.log(id_)} == {"failed"}
    with post.db.transaction() as conn:
        [deed] = trail.read(conn, limit=10)
    assert (deed.action, deed.target, deed.data) == ("webhook.disabled", id_, {"reason": "gone"})
    assert deed.actor == {"by_itself": True}
    post.job()
    await post.send_after(86_400)
    assert len(post.receiver.received) == 1


async def test_failing__for_five_days_disables(post: Post) -> None:
    id_, _ = post.endpoint(events=["job.created"])
    post.receiver.answers(status(500))
    for day in range(5):
        assert post.hook(id_).disabled_at is None, day
        post.job()
        await post.send()
        await post.send_after(86_400)
    hook = post.hook(id_)
    assert hook.disabled_reason == Disabled.FAILING
    assert hook.failing_since is not None
    assert hook.disabled_at is not None
    assert timedelta(days=5) <= hook.disabled_at - hook.failing_since < timedelta(days=6.1)
    assert "owed" not in {logged.state for logged in post.log(id_)}


async def test_failing__a_success_in_between_starts_the_count_anew(post: Post) -> None:
    id_, _ = post.endpoint(events=["job.created"])
    for day in range(9):
        post.receiver.answers(status(200) if day == 4 else status(500))
        post.job()
        await post.send_after(86_400)
    assert post.hook(id_).disabled_at is None


async def test_enable__sends_what_comes_from_then_on(post: Post, database: Database) -> None:
    id_, _ = post.endpoint(events=["job.created"])

    def update(*, enabled: bool) -> None:
        with database.transaction() as conn:
            webhooks.update(conn, post.me.key, id_, enabled=enabled, now=database.now(conn))

    post.job()
    update(enabled=False)
    missed = post.job()
    await post.send_after(3600)
    assert post.receiver.received == []
    [logged] = post.log(id_)
    with database.transaction() as conn, pytest.raises(Conflict):
        delivery_log.send_again(conn, post.me.key, post_hook(conn, post, id_), logged.id, now=post.clock())
    update(enabled=True)
    job = post.job()
    await post.send()
    assert [received.event["data"]["id"] for received in post.receiver.received] == [job.id] != [missed.id]


def post_hook(conn: Connection, post: Post, id_: str) -> webhooks.Webhook:
    return webhooks.get(conn, post.me.key, id_)


async def test_disable__while_it_is_sent_leaves_nothing_to_try_again(post: Post, database: Database) -> None:
    id_, _ = post.endpoint(events=["job.created"])
    post.job()
    going = post.receiver.holds(status(500))
    await post.worker.run_once()
    await post.receiver.came.wait()
    with database.transaction() as conn:
        webhooks.update(conn, post.me.key, id_, enabled=False, now=database.now(conn))
    going.set()
    await post.worker.crew.drain()
    [logged] = post.log(id_)
    assert (logged.state, len(logged.attempts)) == ("failed", 1)


async def test_redeliver__sends_the_same_event_again(post: Post, database: Database) -> None:
    id_, secret = post.endpoint(events=["job.created"])
    post.job()
    await post.send()
    [logged] = post.log(id_)
    with database.transaction() as conn:
        now = database.now(conn)
        again = delivery_log.send_again(conn, post.me.key, post_hook(conn, post, id_), logged.id, now=now)
    assert (logged.state, again.state) == ("delivered", "owed")
    await post.send()
    first, second = post.receiver.received
    assert first.id == second.id
    assert first.verified(secret) == second.verified(secret)
    assert [attempt.status_code for attempt in post.log(id_)[0].attempts] == [200, 200]


async def test_rotation__signs_with_both_for_a_day(post: Post, database: Database) -> None:
    id_, old = post.endpoint(events=["job.created"])
    with database.transaction() as conn:
        _, new = webhooks.rotate(conn, post.me.key, id_, sealer=post.sealer, now=database.now(conn))
    post.job()
    await post.send()
    [received] = post.receiver.received
    assert received.headers["webhook-signature"].count("v1,") == 2
    assert received.verified(old) == received.verified(new)
    post.clock.move(hours=24)
    post.job()
    await post.send()
    later = post.receiver.received[-1]
    assert later.headers["webhook-signature"].count("v1,") == 1
    assert later.headers["webhook-signature"] == signature(later, new) != signature(later, old)


def signature(received: Received, secret: str) -> str:
    """Sign as the reference library does; it refuses to verify what comes from the future."""
    at = datetime.fromtimestamp(int(received.headers["webhook-timestamp"]), UTC)
    return Verifier(secret).sign(received.id, at, received.body.decode())


async def test_redirect__is_refused(post: Post) -> None:
    id_, _ = post.endpoint(events=["job.created"])
    post.receiver.answers(status(307, Location=post.receiver.url("/elsewhere")))
    post.job()
    await post.send()
    assert [received.path for received in post.receiver.received] == ["/hook"]
    assert post.log(id_)[0].attempts[0].error == "It answered 307; redirects are not followed."


async def test_guard__refuses_a_name_that_leads_inside_by_now(post: Post) -> None:
    """The name was public when the endpoint was made. Nothing is sent, and it is not given up at once either."""

    async def rebound(_host: str, _port: int) -> Sequence[str]:
        return ["127.0.0.1"]

    id_, _ = post.endpoint(f"http://hooks.example:{8080}/", events=["job.created"])
    post.job()
    await post.send(post.another_worker(guard=Guard(resolver=rebound)))
    [logged] = post.log(id_)
    assert logged.state == "owed"
    assert logged.attempts[0].status_code is None
    assert logged.attempts[0].error == "hooks.example has a loopback address; only public ones are called."


async def test_answer__nothing_of_the_receiver_s_words_is_kept(post: Post, database: Database) -> None:
    post.endpoint(events=["job.created"])
    word = b"c0nfidential"
    post.receiver.answers(b"HTTP/1.1 500 " + word + b"\r\nX: " + word + b"\r\nContent-Length: 12\r\n\r\n" + word)
    post.job()
    await post.send()
    assert len(post.receiver.received) == 1
    with database.transaction() as conn:
        rows = [conn.execute(sa.select(sa.text("*")).select_from(sa.table(name))).all() for name in TABLES]
    assert len(rows[0]) == 1
    assert word.decode() not in repr(rows)


TABLES = ("delivery_attempts", "deliveries", "webhooks")


@pytest.mark.parametrize("words", [b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 2"])
async def test_answer__what_is_none_is_a_failure(post: Post, words: bytes) -> None:
    id_, _ = post.endpoint(events=["job.created"])
    post.receiver.answers(words)
    post.job()
    await post.send()
    attempt = post.log(id_)[0].attempts[0]
    assert (attempt.status_code, attempt.error) == (None, "The connection failed (RemoteProtocolError).")


async def test_slow__receiver_delays_nobody_else(post: Post, database: Database) -> None:
    """Others get theirs although a receiver with more to get than there are hands never answers."""
    other, _ = make_caller(database, project="others")
    slow, _ = post.endpoint(post.receiver.url("/slow"), events=["job.created"])
    post.endpoint(post.receiver.url("/same-project"), events=["job.created"])
    post.endpoint(post.receiver.url("/other-project"), by=other, events=["job.created"])
    answered = asyncio.Event()

    async def reply(received: Received) -> bytes:
        if received.path == "/slow":
            await answered.wait()
        return status(200)

    post.receiver.answer = reply
    for _ in range(8):
        post.job()
    post.job(by=other)
    worker = post.another_worker(share=3, concurrency=8)
    async with asyncio.timeout(20):
        while Counter(received.path for received in post.receiver.received) != {
            "/slow": 3,
            "/same-project": 8,
            "/other-project": 1,
        }:
            await worker.run_once()
            await asyncio.sleep(0.01)
    answered.set()
    await post.send(worker)
    assert {logged.state for logged in post.log(slow)} == {"delivered"}


async def test_dead__receiver_gets_one_try_at_a_time(post: Post) -> None:
    post.endpoint(events=["job.created"])
    post.receiver.answers(status(500))
    post.job()
    await post.send()
    for _ in range(5):
        post.job()
    waiting = asyncio.Event()

    async def reply(_received: Received) -> bytes:
        await waiting.wait()
        return status(500)

    post.receiver.answer = reply
    await post.worker.run_once()
    await post.worker.run_once()
    assert len(post.worker.crew) == 1
    waiting.set()
    await post.worker.crew.drain()


async def test_timeout__ends_an_attempt(post: Post) -> None:
    id_, _ = post.endpoint(events=["job.created"])
    never = asyncio.Event()

    async def reply(_received: Received) -> bytes:
        await never.wait()
        return b""

    post.receiver.answer = reply
    post.job()
    await post.send(post.another_worker(timeout_seconds=0.2))
    [logged] = post.log(id_)
    assert logged.attempts[0].error == "It did not answer within 0.2 seconds."
    assert 0.2 <= logged.attempts[0].duration_seconds < 5


async def test_timeout__also_ends_one_that_never_stops_answering(post: Post) -> None:
    """A byte now and then keeps a connection busy, and gains nothing."""
    ended = asyncio.Event()

    async def dribble(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(b"HTTP/1.1 200 OK\r\n")
            while not writer.is_closing():
                writer.write(b"X-More: x\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)
        except ConnectionError:
            pass
        finally:
            writer.close()
            ended.set()

    server = await asyncio.start_server(dribble, "127.0.0.1", 0)
    place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    id_, _ = post.endpoint(f"http://{place}/", events=["job.created"])
    post.job()
    async with asyncio.timeout(20):
        await post.send(post.another_worker(timeout_seconds=0.2, guard=Guard([place])))
        await ended.wait()
    server.close()
    assert post.log(id_)[0].attempts[0].error == "It did not answer within 0.2 seconds."


async def test_workers__several_send_each_once(post: Post) -> None:
    _, secret = post.endpoint(events=["job.created"])
    made = {post.job().id for _ in range(40)}
    workers = [post.another_worker(share=4) for _ in range(3)]
    async with asyncio.timeout(30):
        await asyncio.gather(*(post.send(worker) for worker in workers))
    told = Counter(received.verified(secret)["data"]["id"] for received in post.receiver.received)
    assert told == dict.fromkeys(made, 1)


async def test_worker__that_died_is_replaced_and_its_late_word_ignored(post: Post) -> None:
    id_, _ = post.endpoint(events=["job.created"])
    post.job()
    going = post.receiver.holds(status(500))
    await post.worker.run_once()
    await post.receiver.came.wait()
    post.clock.move(seconds=26)
    post.receiver.answers(status(200))
    await post.send(post.another_worker())
    going.set()
    await post.worker.crew.drain()
    [logged] = post.log(id_)
    assert (logged.state, [attempt.status_code for attempt in logged.attempts]) == ("delivered", [200])
    assert len({received.id for received in post.receiver.received}) == 1


async def test_drain__gives_back_what_hangs(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.workers.deliver.STOP_SECONDS", 0.01)
    id_, _ = post.endpoint(events=["job.created"])
    never = asyncio.Event()

    async def reply(_received: Received) -> bytes:
        await never.wait()
        return b""

    post.receiver.answer = reply
    post.job()
    await post.worker.run_once()
    await post.receiver.came.wait()
    await post.worker.drain()
    post.receiver.answers(status(200))
    await post.send(post.another_worker())
    [logged] = post.log(id_)
    assert (logged.state, len(logged.attempts)) == ("delivered", 1)


async def test_deleted_job__is_told_of_by_id_and_status_only(post: Post, database: Database) -> None:
    id_, secret = post.endpoint(events=["job.failed"])
    job = post.job(JobState.FAILED)
    with database.transaction() as conn:
        endings.scrub(conn, jobs.lock(conn, job.id), now=database.now(conn))
        [kept] = conn.execute(sa.select(deliveries.c.moment)).scalars()
    assert kept == {"state": "failed"}
    await post.send()
    [received] = post.receiver.received
    assert received.verified(secret)["data"] == {"id": job.id, "status": "failed"}
    assert b"Mona" not in received.body
    assert post.log(id_)[0].state == "delivered"


async def test_secret__of_a_lost_signing_secret_is_said_to_be_unreadable(post: Post, database: Database) -> None:
    id_, _ = post.endpoint(events=["job.created"])
    post.job()
    await post.send(post.another_worker(sealer=Sealer(b"another")))
    assert post.receiver.received == []
    assert post.log(id_)[0].attempts[0].error == UNREADABLE
    with database.transaction() as conn:
        _, fresh = webhooks.rotate(conn, post.me.key, id_, sealer=Sealer(b"another"), now=database.now(conn))
    post.clock.move(seconds=6)
    await post.send(post.another_worker(sealer=Sealer(b"another")))
    assert len(post.receiver.received) == 1
    assert post.receiver.received[0].headers["webhook-signature"] == signature(post.receiver.received[0], fresh)


async def test_reseal__lets_the_previous_signing_secret_be_taken_out(post: Post, database: Database) -> None:
    _, secret = post.endpoint(events=["job.created"])
    await Resealer(database, Sealer(b"another", SECRET)).run_once()
    post.job()
    await post.send(post.another_worker(sealer=Sealer(b"another")))
    [received] = post.receiver.received
    assert received.verified(secret)


@pytest.mark.parametrize("enabled", [True, False])
async def test_test__is_tried_once_also_at_a_disabled_endpoint(post: Post, database: Database, enabled: bool) -> None:
    id_, secret = post.endpoint()
    with database.transaction() as conn:
        hook = webhooks.update(conn, post.me.key, id_, enabled=enabled, now=database.now(conn))
        delivery_log.owe_test(conn, hook, now=database.now(conn))
    post.receiver.answers(status(500))
    await post.send()
    await post.send_after(86_400)
    [received] = post.receiver.received
    assert received.event["type"] == "webhook.test"
    assert received.event["data"] == {"webhook_id": id_}
    [logged] = post.log(id_)
    assert (logged.state, post.hook(id_).failing_since) == ("failed", None)
    assert received.headers["webhook-signature"] == signature(received, secret)


async def test_archived_project__still_tells_of_what_was_bought(post: Post, database: Database) -> None:
    post.endpoint(events=["job.failed"])
    job = post.job(JobState.GENERATING)
    with database.transaction() as conn:
        access.archive_project(conn, "films", now=database.now(conn))
        lead(conn, database, jobs.lock(conn, job.id), to=JobState.FAILED)
    await post.send()
    assert [received.event["type"] for received in post.receiver.received] == ["job.failed"]


async def test_owing__costs_nothing_where_nobody_listens(post: Post, database: Database, statements: list[str]) -> None:
    """Whether a project has an endpoint comes back with the event's own row."""
    statements.clear()
    post.job()
    without = len(statements)
    assert not any(text.lstrip().startswith("SELECT") and "webhooks" in text for text in statements)
    post.endpoint()
    statements.clear()
    post.job()
    assert len(statements) == without + 2


async def test_delete__forgets_the_endpoint_and_its_log(post: Post, database: Database) -> None:
    id_, _ = post.endpoint()
    post.job()
    await post.send()
    with database.transaction() as conn:
        webhooks.delete(conn, post.me.key, id_)
        counts = [conn.execute(sa.select(sa.func.count()).select_from(sa.table(name))).scalar_one() for name in TABLES]
    assert counts == [0, 0, 0]
    assert json.loads(post.receiver.received[0].body)["type"] == "job.created"


async def test_forget_old__drops_what_ended_a_month_ago(post: Post, database: Database) -> None:
    id_, _ = post.endpoint(events=["job.created"])
    post.job()
    await post.send()
    post.clock.move(days=29)
    post.job()
    with database.transaction() as conn:
        assert delivery_log.forget_old(conn, now=database.now(conn), limit=10) == 0
        assert delivery_log.forget_old(conn, now=database.now(conn) + timedelta(days=2), limit=10) == 1
    assert [logged.state for logged in post.log(id_)] == ["owed"]


def test_owe__the_same_event_twice_is_impossible(post: Post, database: Database) -> None:
    post.endpoint(events=["job.created"])
    job = post.job()
    with database.transaction() as conn:
        known = conn.execute(sa.select(deliveries.c.event_id)).scalar_one()
    with pytest.raises(sa.exc.IntegrityError), database.transaction() as conn:
        owe(conn, job, event_id=known, type="job.created", now=database.now(conn))
