"""Every route and every kind of credential: who comes in. A route that is not classified here fails the first test."""

from collections.abc import Iterator
from datetime import timedelta
from enum import Enum
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from app.api.callers import Caller
from app.api.deps import House
from app.db import access, tokens
from app.db.engine import Database
from app.db.tokens import Grant
from app.domain.secrets import Scope, new_key, new_token
from app.domain.states import JobState
from tests.api.conftest import ClientFor, Ticks
from tests.conftest import Clock
from tests.factories import VIDEO, make_caller, make_job, picture, video_of

JOB, VIDEO_FACE, FILE = "/v1/jobs/{job_id}", "/v1/videos/{video_id}", "/v1/files/{file_id}"
HOOK = "/v1/webhooks/{webhook_id}"
VENDORS = ("google", "kling", "minimax", "bytedance", "alibaba", "pixverse", "runway")
AIMLAPI = ("/v2/video/generations", *(f"/v2/generate/video/{vendor}/generation" for vendor in VENDORS))


class Needs(Enum):
    """What a route asks of whoever comes."""

    NOTHING = "nothing"
    READ = "jobs:read"
    WRITE = "jobs:write"
    KEY = "a key, of any scope"
    KEY_READ = "a key with jobs:read"
    KEY_BOTH = "a key with jobs:read and jobs:write"
    ADMIN = "admin"


ROUTES: dict[tuple[str, str], Needs] = {
    **{
        (method, path): Needs.NOTHING
        for method in ("GET", "HEAD")
        for path in ("/", "/client.js", "/client.d.ts", "/web/{name}")
    },
    **{(method, path): Needs.NOTHING for method in ("GET", "HEAD") for path in ("/healthz", "/readyz")},
    **{(method, path): Needs.NOTHING for method in ("GET", "HEAD") for path in ("/openapi.json", "/docs")},
    ("GET", "/v1/jobs"): Needs.READ,
    ("POST", "/v1/jobs"): Needs.WRITE,
    ("POST", "/v1/jobs/estimate"): Needs.WRITE,
    ("GET", JOB): Needs.READ,
    ("DELETE", JOB): Needs.WRITE,
    ("POST", f"{JOB}/cancel"): Needs.WRITE,
    ("POST", f"{JOB}/retry"): Needs.WRITE,
    ("GET", f"{JOB}/events"): Needs.READ,
    ("GET", f"{JOB}/content"): Needs.READ,
    ("HEAD", f"{JOB}/content"): Needs.READ,
    ("GET", "/v1/events"): Needs.READ,
    ("GET", "/v1/videos"): Needs.READ,
    ("POST", "/v1/videos"): Needs.WRITE,
    ("GET", VIDEO_FACE): Needs.READ,
    ("DELETE", VIDEO_FACE): Needs.WRITE,
    ("GET", f"{VIDEO_FACE}/content"): Needs.READ,
    ("POST", f"{VIDEO_FACE}/remix"): Needs.WRITE,
    **{("POST", f"/v1/videos/{what}"): Needs.READ for what in ("edits", "extensions", "characters")},
    ("GET", "/v1/videos/characters/{character_id}"): Needs.READ,
    **{("POST", path): Needs.WRITE for path in AIMLAPI},
    **{("GET", path): Needs.READ for path in AIMLAPI},
    ("GET", "/v1/models"): Needs.READ,
    ("GET", "/v1/models/{model_id:path}"): Needs.READ,
    ("GET", "/v1/usage"): Needs.READ,
    ("POST", "/v1/files"): Needs.WRITE,
    ("GET", FILE): Needs.READ,
    ("DELETE", FILE): Needs.WRITE,
    ("GET", f"{FILE}/content"): Needs.READ,
    ("HEAD", f"{FILE}/content"): Needs.READ,
    ("POST", "/v1/tokens"): Needs.KEY,
    ("GET", "/v1/tokens"): Needs.KEY,
    ("DELETE", "/v1/tokens/{token_id}"): Needs.KEY,
    ("POST", "/v1/webhooks"): Needs.KEY_BOTH,
    ("GET", "/v1/webhooks"): Needs.KEY_READ,
    ("GET", "/v1/webhooks/default/secret"): Needs.KEY_READ,
    ("GET", HOOK): Needs.KEY_READ,
    ("PATCH", HOOK): Needs.KEY_BOTH,
    ("DELETE", HOOK): Needs.KEY_BOTH,
    ("POST", f"{HOOK}/rotate-secret"): Needs.KEY_BOTH,
    ("POST", f"{HOOK}/test"): Needs.KEY_BOTH,
    ("GET", f"{HOOK}/deliveries"): Needs.KEY_READ,
    ("POST", f"{HOOK}/deliveries/{{delivery_id}}/redeliver"): Needs.KEY_BOTH,
    ("GET", "/v1/admin/jobs"): Needs.ADMIN,
    ("POST", "/v1/admin/jobs/{job_id}/resolve"): Needs.ADMIN,
    ("GET", "/v1/admin/upstream"): Needs.ADMIN,
    ("POST", "/v1/admin/upstream/resume"): Needs.ADMIN,
}
CREDENTIALS = [
    *("none", "rubbish", "unknown key", "unknown token", "revoked key", "expired key"),
    *("revoked token", "expired token", "token of a revoked key", "token for another origin"),
    *("key that reads", "key that writes", "key that does both", "key of an operator"),
    *("token that reads", "token that writes", "token of an operator"),
]
INVALID = frozenset(CREDENTIALS[:9])
"""They open nothing anywhere, whatever they once could."""
ALLOWED: dict[Needs, set[str]] = {
    Needs.NOTHING: set(CREDENTIALS),
    Needs.READ: {
        "key that reads",
        "key that does both",
        "key of an operator",
        "token that reads",
        "token of an operator",
    },
    Needs.WRITE: {
        "key that writes",
        "key that does both",
        "key of an operator",
        "token that writes",
        "token of an operator",
    },
    Needs.KEY: {"key that reads", "key that writes", "key that does both", "key of an operator"},
    Needs.KEY_READ: {"key that reads", "key that does both", "key of an operator"},
    Needs.KEY_BOTH: {"key that does both", "key of an operator"},
    Needs.ADMIN: {"key of an operator"},
}


@pytest.fixture
def database_kind() -> str:
    """Decided at the front door, whatever database lies behind it."""
    return "sqlite"


def served(routes: Any) -> Iterator[tuple[str, str]]:
    """Every method and path that the application answers at."""
    for route in routes:
        if included := getattr(route, "original_router", None):
            yield from served(included.routes)
        else:
            yield from ((method, route.path) for method in sorted(route.methods))


@pytest.fixture
def secrets(database: Database, house: House, clock: Clock) -> dict[str, str | None]:
    """A secret of every kind, in one project."""
    house.keys._clock = Ticks()
    read, write, admin = (frozenset({scope}) for scope in (Scope.JOBS_READ, Scope.JOBS_WRITE, Scope.ADMIN))
    hour = timedelta(hours=1)
    made: dict[str, str | None] = {"none": None, "rubbish": "sk-123", "unknown key": new_key()}
    made["unknown token"] = new_token()

    def key(scopes: frozenset[Scope], **given: Any) -> tuple[Caller, str]:
        return make_caller(database, scopes=scopes, **given)

    def token(of: Caller, **given: Any) -> tuple[tokens.Token, str]:
        with database.transaction() as conn:
            return tokens.mint(conn, of.key, Grant(**{"lifetime": hour} | given), now=database.now(conn))

    both, made["key that does both"] = key(read | write)
    revoked, made["revoked key"] = key(read | write)
    made["token of a revoked key"] = token(revoked)[1]
    _, made["expired key"] = key(read | write, lifetime=timedelta(seconds=1))
    ended, made["revoked token"] = token(both)
    _, made["expired token"] = token(both, lifetime=timedelta(seconds=1))
    made["token for another origin"] = token(both, origins=frozenset({"https://app.example"}))[1]
    reader, made["key that reads"] = key(read)
    writer, made["key that writes"] = key(write)
    operator, made["key of an operator"] = key(admin)
    for name, of in (("reads", reader), ("writes", writer)):
        made[f"token that {name}"] = token(of)[1]
    made["token of an operator"] = token(operator)[1]
    with database.transaction() as conn:
        access.revoke_key(conn, revoked.key.id, now=database.now(conn))
        tokens.revoke(conn, ended.id, by=both.key, now=database.now(conn))
    clock.move(seconds=2)
    assert set(made) == set(CREDENTIALS)
    return made


def path_of(template: str, *, id_: str = "0") -> str:
    """Fill in ids that lead nowhere: 404 says that one came in."""
    path = template.replace("{model_id:path}", "veo2").replace("{name}", "style.css")
    for name, prefix in PREFIXES.items():
        path = path.replace(f"{{{name}}}", f"{prefix}_{id_}")
    return path


def test_matrix__has_every_route(app: FastAPI) -> None:
    assert set(served(app.routes)) == set(ROUTES)


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_matrix__who_comes_in(
    client_for: ClientFor, secrets: dict[str, str | None], method: str, path: str
) -> None:
    needs = ROUTES[method, path]
    for name, secret in secrets.items():
        answer = await client_for(secret).request(method, path_of(path))
        if name in ALLOWED[needs]:
            assert answer.status_code not in (401, 403), (name, answer.text)
        else:
            assert answer.status_code == (401 if name in INVALID else 403), (name, answer.text)
        assert answer.status_code < 500


PREFIXES = {"job_id": "job", "video_id": "video", "file_id": "file", "token_id": "tok", "webhook_id": "hook"}
NOBODYS = "0" * 32
REMIX = {"prompt": "Another"}
MINE = [route for route in ROUTES if any(f"{{{name}}}" in route[1] for name in PREFIXES)]
GENERATION = ("GET", "/v2/video/generations?generation_id={job_id}")


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.FAILED, JobState.QUEUED])
@pytest.mark.parametrize(
    ("method", "path"), [GENERATION, *(route for route in MINE if ROUTES[route] is not Needs.ADMIN)]
)
async def test_matrix__ids_of_others_are_as_ids_that_never_were(
    *, client_for: ClientFor, database: Database, house: House, method: str, path: str, state: JobState
) -> None:
    ann, anns = make_caller(database, subject="ann")
    job = make_job(database, ann, state=state)
    await house.store.put_bytes(video_of(job)["key"], VIDEO, content_type="video/mp4")
    bob, bobs = make_caller(database, subject="bob")
    everybody, _ = make_caller(database)
    with database.transaction() as conn:
        now, hour = database.now(conn), Grant(lifetime=timedelta(hours=1))
        theirs = [tokens.mint(conn, of.key, hour, now=now)[1] for of in (bob, everybody)]
    strangers = [make_caller(database, project="others")[1], bobs, *([] if needs_a_key(method, path) else theirs)]
    number = job.id.removeprefix("job_")
    if any(name in path for name in ("{file_id}", "{token_id}", "{webhook_id}")):
        number = (await made_at(client_for(anns), path)).partition("_")[2]
    for secret in strangers:
        client = client_for(secret)
        answers = [
            await client.request(method, path_of(path, id_=id_), json=REMIX if "remix" in path else None)
            for id_ in (number, NOBODYS)
        ]
        assert [answer.status_code for answer in answers] == [404, 404]
        if method != "HEAD":
            found, missing = (body_of(answer) for answer in answers)
            assert found["message"].replace(number, NOBODYS) == missing["message"]
            assert found | {"message": ""} == missing | {"message": ""}


def needs_a_key(method: str, path: str) -> bool:
    return ROUTES.get((method, path)) in (Needs.KEY, Needs.KEY_READ, Needs.KEY_BOTH)


async def made_at(client: httpx2.AsyncClient, path: str) -> str:
    """Make what the path names, and return its id."""
    file = {"file": ("a.jpg", picture())} if "{file_id}" in path else None
    body = {"url": "https://93.184.216.34/hook"} if "{webhook_id}" in path else None
    made = await client.post(path.partition("/{")[0], files=file, json=body)
    assert made.status_code == 201, made.text
    id_: str = made.json()["id"]
    return id_


def body_of(answer: httpx2.Response) -> dict[str, Any]:
    """Return the refusal without what differs from request to request."""
    body: dict[str, Any] = answer.json()
    fault: dict[str, Any] = body.get("error", body)
    return {name: value for name, value in fault.items() if name not in ("request_id", "requestId", "timestamp")}
