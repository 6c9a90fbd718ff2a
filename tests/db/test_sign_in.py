"""The key in whose name people who sign in come into a project."""

import pytest

from app.db import access, sign_in
from app.db.engine import Connection
from app.domain.errors import NotFound
from app.domain.secrets import DEFAULT_SCOPES, Scope
from tests.db.conftest import T0, later

READ = frozenset({Scope.JOBS_READ})


def opened(conn: Connection, project: str = "film", scopes: frozenset[Scope] = DEFAULT_SCOPES) -> access.Key:
    return sign_in.open_project(conn, project, scopes=scopes, now=T0)


def test_key_of__is_none_before_a_project_is_opened(conn: Connection, project_id: str) -> None:
    access.create_key(conn, project_id=project_id, name=sign_in.NAME, scopes=DEFAULT_SCOPES, now=T0)
    assert sign_in.key_of(conn, "film") is None
    assert sign_in.key_of(conn, "nowhere") is None


def test_open_project__makes_a_key_that_no_secret_opens(conn: Connection, project_id: str) -> None:
    other = access.create_project(conn, "other", now=T0)
    key = opened(conn)
    assert (key.project_id, key.name, key.scopes, key.subject) == (project_id, "sign-in", DEFAULT_SCOPES, None)
    assert sign_in.key_of(conn, "film") == key
    assert sign_in.key_of(conn, "other") is None
    assert opened(conn, "other").project_id == other.id
    for secret in ("", "none", f"sign-in:{project_id}", key.id):
        assert access.find_key(conn, secret) is None


def test_open_project__again_changes_what_it_grants(conn: Connection, project_id: str) -> None:
    key = opened(conn)
    changed = sign_in.open_project(conn, "film", scopes=READ, now=later(5), expires_at=later(60))
    assert (changed.id, changed.scopes, changed.expires_at) == (key.id, READ, later(60))
    assert sign_in.key_of(conn, "film") == changed
    assert len(access.list_keys(conn, project_id=project_id)) == 1


def test_open_project__after_a_revocation_makes_another_key(conn: Connection, project_id: str) -> None:
    ended = []
    for _ in range(3):
        key = opened(conn)
        ended.append(access.revoke_key(conn, key.id, now=later(1)))
        assert sign_in.key_of(conn, "film") == ended[-1]
    last = opened(conn)
    assert sign_in.key_of(conn, "film") == last
    assert last.revoked_at is None
    assert access.list_keys(conn, project_id=project_id) == [*ended, last]


def test_open_project__an_unknown_one_is_not_found(conn: Connection) -> None:
    with pytest.raises(NotFound, match="no project named 'nowhere'"):
        opened(conn, "nowhere")
