"""Client tokens: never wider than their key, and their caps kept whatever becomes of their jobs."""

from dataclasses import replace
from datetime import timedelta
from itertools import combinations

import pytest

from app.db import access, jobs, ledger, outcomes, requoting, tokens
from app.db.access import Key
from app.db.engine import Connection
from app.db.jobs import Owner
from app.db.tokens import Grant, Token
from app.domain.errors import AuthenticationFailed, InsufficientQuota, NotFound, PermissionDenied
from app.domain.job import Job
from app.domain.money import Estimate
from app.domain.secrets import DEFAULT_SCOPES, Scope
from app.domain.states import JobState
from tests.db.conftest import T0, MakeJob, admit, generating, later

PRICE = 2_500_000
HOUR = Grant(lifetime=timedelta(hours=1))
SETS = [frozenset(chosen) for size in (1, 2, 3) for chosen in combinations(Scope, size)]


@pytest.fixture
def key(conn: Connection, project_id: str) -> Key:
    return new_key(conn, project_id)


def new_key(conn: Connection, project_id: str, **given: object) -> Key:
    values = {"scopes": DEFAULT_SCOPES, "name": "web", "now": T0} | given
    return access.create_key(conn, project_id=project_id, **values)[0]


def mint(conn: Connection, key: Key, grant: Grant = HOUR) -> Token:
    return tokens.mint(conn, key, grant, now=T0)[0]


def spent(conn: Connection, make_job: MakeJob, token: Token, **given: object) -> Job:
    """Make a job with a token, as a create does."""
    values = {"key_id": token.key_id, "token_id": token.id, "estimated_micros": PRICE, "reserved_micros": PRICE}
    job = make_job(**values | given)
    ledger.reserve(conn, job)
    tokens.spend(conn, job, now=T0)
    return job


def used(conn: Connection, token: Token) -> tuple[int, int, int]:
    """Return how many jobs it has made, and what they hold and have cost, once the sums are up to date."""
    ledger.book_sums(conn)
    found = tokens.with_id(conn, token.id)
    assert found is not None
    return found.jobs_made, found.held_micros, found.spent_micros


@pytest.mark.parametrize("has", SETS, ids=lambda has: ",".join(sorted(has)))
def test_mint__nobody_grants_what_they_lack_and_admin_never(
    conn: Connection, project_id: str, has: frozenset[Scope]
) -> None:
    key = new_key(conn, project_id, scopes=has)
    may = DEFAULT_SCOPES if Scope.ADMIN in has else has
    for wanted in SETS:
        grant = replace(HOUR, scopes=wanted)
        if wanted <= may:
            assert tokens.narrowed(key, mint(conn, key, grant)).scopes == wanted
        else:
            with pytest.raises(PermissionDenied) as refused:
                mint(conn, key, grant)
            assert refused.value.code == "not_grantable"
    assert mint(conn, key).scopes == may


def test_mint__the_secret_is_stored_as_its_hash_only(conn: Connection, key: Key) -> None:
    token, secret = tokens.mint(conn, key, HOUR, now=T0)
    assert secret.startswith("rlt_")
    assert tokens.find(conn, secret) == token
    row = conn.execute(tokens.tokens.select().where(tokens.T.id == token.id)).one()
    assert not any(secret[8:-4] in str(value) for value in row)


def test_mint__without_a_subject_gets_its_own(conn: Connection, key: Key, project_id: str) -> None:
    first, second = mint(conn, key), mint(conn, key)
    assert len({first.subject, second.subject}) == 2
    assert mint(conn, key, replace(HOUR, subject="ann")).subject == "ann"
    bound = new_key(conn, project_id, subject="ann")
    assert mint(conn, bound).subject == "ann"
    with pytest.raises(PermissionDenied):
        mint(conn, bound, replace(HOUR, subject="bob"))


def test_mint__outlives_neither_an_hour_nor_its_key(conn: Connection, key: Key, project_id: str) -> None:
    assert mint(conn, key, Grant(lifetime=timedelta(days=1))).expires_at == later(3600)
    short = new_key(conn, project_id, expires_at=later(60))
    assert mint(conn, short).expires_at == later(60)


def test_spend__takes_as_many_jobs_as_are_allowed(conn: Connection, key: Key, make_job: MakeJob) -> None:
    token = mint(conn, key, replace(HOUR, max_jobs=2))
    first = spent(conn, make_job, token)
    jobs.cancel(conn, first.id, owner=Owner(project_id=key.project_id), now=T0)
    spent(conn, make_job, token)
    with pytest.raises(InsufficientQuota) as refused:
        spent(conn, make_job, token)
    assert refused.value.code == "token_jobs_spent"
    assert used(conn, token)[:2] == (2, PRICE)


def test_spend__what_is_not_spent_makes_room_and_what_is_does_not(
    conn: Connection, key: Key, make_job: MakeJob
) -> None:
    token = mint(conn, key, replace(HOUR, max_cost_micros=2 * PRICE))
    spent(conn, make_job, token)
    bought = generating(conn)
    second = spent(conn, make_job, token)
    with pytest.raises(InsufficientQuota) as refused:
        spent(conn, make_job, token, reserved_micros=1)
    assert (refused.value.code, "0.0 USD are left" in refused.value.message) == ("token_cost_spent", True)
    jobs.cancel(conn, second.id, owner=Owner(project_id=key.project_id), now=T0)
    assert used(conn, token) == (2, PRICE, 0)
    outcomes.completed(conn, bought, url="https://x.example/v.mp4", credits_used=4_000_000, now=T0)
    assert used(conn, token) == (2, 0, 2_000_000)
    spent(conn, make_job, token, reserved_micros=2 * PRICE - 2_000_000)
    with pytest.raises(InsufficientQuota):
        spent(conn, make_job, token, reserved_micros=1)


def test_spend__the_jobs_of_a_key_count_for_no_token(conn: Connection, key: Key, make_job: MakeJob) -> None:
    token = mint(conn, key)
    make_job(key_id=key.id, reserved_micros=PRICE)
    assert used(conn, token) == (0, 0, 0)


def test_spend__only_models_that_are_allowed(conn: Connection, key: Key, make_job: MakeJob) -> None:
    token = mint(conn, key, replace(HOUR, models=frozenset({"veo2"})))
    spent(conn, make_job, token, model="veo2")
    with pytest.raises(PermissionDenied) as refused:
        spent(conn, make_job, token, model="veo3")
    assert refused.value.code == "model_not_allowed"


@pytest.mark.parametrize("how", ["expired", "revoked"])
def test_spend__a_token_that_has_ended_since_the_door(conn: Connection, key: Key, make_job: MakeJob, how: str) -> None:
    token = mint(conn, key)
    if how == "revoked":
        tokens.revoke(conn, token.id, by=key, now=T0)
    job = make_job(key_id=key.id, token_id=token.id)
    with pytest.raises(AuthenticationFailed):
        tokens.spend(conn, job, now=T0 if how == "revoked" else token.expires_at)
    assert used(conn, token) == (0, 0, 0)


@pytest.mark.parametrize("cap", [3 * PRICE, 2 * PRICE - 1], ids=["room", "no room"])
def test_requote__asks_the_token_too(conn: Connection, key: Key, make_job: MakeJob, project_id: str, cap: int) -> None:
    token = mint(conn, key, replace(HOUR, max_cost_micros=cap))
    spent(conn, make_job, token)
    [(job, _)] = admit(conn)
    reason = requoting.requote(conn, job, Estimate(2 * PRICE, "price_list"), now=T0)
    held = 2 * PRICE if cap == 3 * PRICE else PRICE
    assert (reason is None) == (cap == 3 * PRICE)
    assert used(conn, token) == (1, held, 0)
    assert ledger.read_month(conn, project_id, T0).reserved_micros == held


def test_page__newest_first_and_a_bound_key_sees_its_subjects(conn: Connection, key: Key, project_id: str) -> None:
    made = [mint(conn, key, replace(HOUR, subject=name)) for name in ("ann", "bob", "ann")]
    assert tokens.page(conn, key, limit=2) == ([made[2], made[1]], True)
    assert tokens.page(conn, key, limit=2, after=made[1].id) == ([made[0]], False)
    bound = new_key(conn, project_id, subject="bob")
    assert tokens.page(conn, bound, limit=9) == ([made[1]], False)
    other = access.create_project(conn, "other", now=T0).id
    assert tokens.page(conn, new_key(conn, other), limit=9) == ([], False)


def test_revoke__only_what_one_could_have_minted(conn: Connection, key: Key, project_id: str) -> None:
    token = mint(conn, key, replace(HOUR, subject="ann"))
    other = access.create_project(conn, "other", now=T0).id
    for stranger in (new_key(conn, other), new_key(conn, project_id, subject="bob")):
        with pytest.raises(NotFound):
            tokens.revoke(conn, token.id, by=stranger, now=T0)
    with pytest.raises(PermissionDenied):
        tokens.revoke(conn, token.id, by=new_key(conn, project_id, scopes=frozenset({Scope.JOBS_READ})), now=T0)
    for _ in range(2):
        tokens.revoke(conn, token.id, by=new_key(conn, project_id), now=T0)
    found = tokens.with_id(conn, token.id)
    assert found is not None and not found.works_at(T0)


def test_forget_expired__keeps_a_token_for_thirty_days(conn: Connection, key: Key) -> None:
    token = mint(conn, key)
    almost = token.expires_at + timedelta(days=29)
    assert tokens.forget_expired(conn, now=almost, limit=9) == 0
    assert tokens.forget_expired(conn, now=almost + timedelta(days=1), limit=9) == 1


def test_spend__a_failed_job_is_given_back_but_counted(conn: Connection, key: Key, make_job: MakeJob) -> None:
    token = mint(conn, key)
    job = spent(conn, make_job, token)
    failed = {"error_code": "not_started_in_time", "error_message": "Too late.", "billed": False, "settled": True}
    assert jobs.advance(conn, job, to=JobState.FAILED, now=T0, **failed) is not None
    assert used(conn, token) == (1, 0, 0)
