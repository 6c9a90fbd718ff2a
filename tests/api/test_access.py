"""Who may come in, and that nothing is read of those who may not."""

from collections.abc import AsyncIterator
from datetime import timedelta

import httpx2
import pytest

from app.api.callers import Caller
from app.api.deps import House
from app.db import access
from app.db.engine import Database
from app.domain.secrets import Scope, new_key
from tests.api.conftest import ClientFor, Ticks, count, require_error
from tests.conftest import Clock, one_database
from tests.factories import INPUT, make_caller, make_job

READS = [
    ("GET", "/v1/jobs"),
    ("GET", "/v1/jobs/{id}"),
    ("GET", "/v1/jobs/{id}/events"),
    ("GET", "/v1/jobs/{id}/content"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/veo2"),
]
WRITES = [
    ("POST", "/v1/jobs"),
    ("POST", "/v1/jobs/{id}/cancel"),
    ("POST", "/v1/jobs/{id}/retry"),
    ("DELETE", "/v1/jobs/{id}"),
]


class Upload:
    """A chunked body of 100 MB that knows how much of it was taken."""

    def __init__(self) -> None:
        self.taken = 0

    async def chunks(self) -> AsyncIterator[bytes]:
        for _ in range(100):
            self.taken += 1
            yield b"x" * 1_000_000


@pytest.mark.parametrize(("method", "path"), READS + WRITES)
async def test_key__is_needed_and_no_body_is_read_without(
    client_for: ClientFor, database: Database, me: Caller, method: str, path: str
) -> None:
    job = make_job(database, me)
    for header in (None, "", "Basic cmx5", f"Bearer {new_key()}", "Bearer rly_x", "Bearer \u00fc", "Bearer"):
        upload = Upload()
        headers = {} if header is None else {"Authorization": header.encode("utf-8")}
        stranger = client_for()
        response = await stranger.request(method, path.format(id=job.id), content=upload.chunks(), headers=headers)
        error = require_error(response, 401)
        assert error["type"] == "authentication_error"
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.headers["x-should-retry"] == "false"
        assert upload.taken == 0


@pytest.mark.parametrize(("method", "path"), READS + WRITES)
async def test_scope__is_needed_and_no_body_is_read_without(
    client_for: ClientFor, database: Database, me: Caller, method: str, path: str
) -> None:
    job = make_job(database, me)
    needed = Scope.JOBS_READ if (method, path) in READS else Scope.JOBS_WRITE
    for scope in Scope:
        _, secret = make_caller(database, scopes=frozenset({scope}))
        upload = Upload()
        response = await client_for(secret).request(method, path.format(id=job.id), content=upload.chunks())
        if scope in (needed, Scope.ADMIN):
            assert response.status_code not in (401, 403)
        else:
            error = require_error(response, 403, code="missing_scope")
            assert needed in error["message"]
            assert upload.taken == 0


@one_database
async def test_body__of_100_megabytes_is_cut_off(client: httpx2.AsyncClient, database: Database, house: House) -> None:
    for content_type in ("application/json", "multipart/form-data; boundary=x"):
        upload = Upload()
        headers = {"Content-Type": content_type}
        response = await client.post("/v1/jobs", content=upload.chunks(), headers=headers)
        require_error(response, 413, code="payload_too_large")
        assert upload.taken == house.max_body_bytes // 1_000_000 + 1
        assert response.headers["x-should-retry"] == "false"
        upload = Upload()
        headers["Content-Length"] = "100000000"
        require_error(await client.post("/v1/jobs", content=upload.chunks(), headers=headers), 413)
        assert upload.taken == 0
    assert count(database, "jobs") == 0


@one_database
async def test_body__of_another_type_is_not_read(client: httpx2.AsyncClient) -> None:
    for headers in (
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "text/plain"},
        {},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ):
        upload = Upload()
        require_error(await client.post("/v1/jobs", content=upload.chunks(), headers=headers), 415)
        assert upload.taken == 0


async def test_key__revoked_stops_working_within_five_seconds(
    client: httpx2.AsyncClient, database: Database, house: House, me: Caller
) -> None:
    ticks = house.keys._clock = Ticks()
    assert (await client.get("/v1/models")).status_code == 200
    with database.transaction() as conn:
        access.revoke_key(conn, me.key.id, now=database.now(conn))
    ticks.seconds += 5
    require_error(await client.get("/v1/models"), 401, code="invalid_api_key")


async def test_key__is_looked_up_once_in_a_while(client: httpx2.AsyncClient, database: Database, house: House) -> None:
    house.keys._clock = Ticks()
    await client.get("/v1/models")
    with database.transaction() as conn:
        conn.exec_driver_sql("UPDATE keys SET scopes = '[]'")
    assert (await client.get("/v1/models")).status_code == 200


async def test_key__expires(client_for: ClientFor, database: Database, house: House, clock: Clock) -> None:
    ticks = house.keys._clock = Ticks()
    _, secret = make_caller(database, lifetime=timedelta(hours=1))
    assert (await client_for(secret).get("/v1/jobs")).status_code == 200
    clock.move(hours=1)
    ticks.seconds += 5
    require_error(await client_for(secret).get("/v1/jobs"), 401)


async def test_keys__of_one_project_share_its_jobs(
    client: httpx2.AsyncClient, client_for: ClientFor, database: Database
) -> None:
    _, second = make_caller(database)
    made = (await client.post("/v1/jobs", json={"input": INPUT})).json()
    assert (await client_for(second).get(f"/v1/jobs/{made['id']}")).json()["id"] == made["id"]
