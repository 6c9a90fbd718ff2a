"""GET /v1/whoami: what a page learns of the credential that it was handed."""

from datetime import timedelta

from app.db import tokens
from app.db.engine import Database
from app.db.tokens import Grant
from app.domain.secrets import Scope
from tests.api.conftest import ClientFor
from tests.conftest import one_database
from tests.factories import make_caller

pytestmark = one_database


async def test_whoami__tells_a_key_what_it_is(client_for: ClientFor, database: Database) -> None:
    caller, secret = make_caller(database, subject="ann", scopes=frozenset({Scope.ADMIN}))
    answer = await client_for(secret).get("/v1/whoami")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "private, no-store")
    assert answer.json() == {
        "object": "credential",
        "kind": "key",
        "key_id": caller.key.id,
        "token_id": None,
        "project": {"id": caller.project.id, "name": "films"},
        "scopes": ["admin", "jobs:read", "jobs:write"],
        "subject": "ann",
        "expires_at": None,
    }


async def test_whoami__tells_a_token_what_is_left_of_its_key(client_for: ClientFor, database: Database) -> None:
    caller, _ = make_caller(database, scopes=frozenset({Scope.ADMIN}))
    grant = Grant(lifetime=timedelta(hours=1), scopes=frozenset({Scope.JOBS_READ}), subject="user-42")
    with database.transaction() as conn:
        token, secret = tokens.mint(conn, caller.key, grant, now=database.now(conn))
    found = (await client_for(secret).get("/v1/whoami")).json()
    assert (found["kind"], found["key_id"], found["token_id"]) == ("token", caller.key.id, token.id)
    assert (found["scopes"], found["subject"]) == (["jobs:read"], "user-42")
    assert found["expires_at"] == token.expires_at.isoformat().replace("+00:00", "Z")
