"""Keys that can be recognised, signatures that can't be moved."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain import origins, secrets
from app.domain.signing import LIFETIME, STEP, Signer

NOW = datetime(2026, 11, 23, 12, 7, tzinfo=UTC)


def test_new_key__is_well_formed_and_unique() -> None:
    made = {secrets.new_key() for _ in range(100)}
    assert len(made) == 100
    assert all(secrets.well_formed(key) for key in made)


@pytest.mark.parametrize("wrong", ["", "rly_", "rly_short", "sk-abc", "rly_" + "é" * 39, "rly_" + "0" * 39])
def test_well_formed__refuses_rubbish(wrong: str) -> None:
    assert not secrets.well_formed(wrong)


@given(st.integers(min_value=4, max_value=42), st.characters(codec="ascii", categories=["L", "N"]))
def test_well_formed__notices_one_wrong_character(at: int, other: str) -> None:
    key = secrets.new_key()
    changed = key[:at] + other + key[at + 1 :]
    assert secrets.well_formed(changed) == (changed == key)


def test_hint__does_not_hold_the_secret() -> None:
    key = secrets.new_key()
    assert len(secrets.hint_of(key).replace("…", "")) == 12


def signed(signer: Signer, **changes: object) -> bool:
    made = {"job_id": "job_1", "use": "video", "key_id": "key_1", "expires": int(NOW.timestamp()) + 60}
    signature = signer.sign(**made)
    return signer.holds(**made | {"signature": signature, "now": NOW} | changes)


def test_signer__accepts_its_own() -> None:
    assert signed(Signer(b"a" * 32))


@pytest.mark.parametrize(
    "changes",
    [
        {"job_id": "job_2"},
        {"use": "poster"},
        {"key_id": "key_2"},
        {"expires": int(NOW.timestamp()) + 61},
        {"signature": "0" * 64},
        {"signature": ""},
        {"signature": "é\ud800"},
        {"now": NOW + timedelta(seconds=60)},
    ],
)
def test_signer__refuses_what_was_moved_or_is_late(changes: dict[str, object]) -> None:
    assert not signed(Signer(b"a" * 32), **changes)


def test_signer__another_secret_does_not_open() -> None:
    made = {"job_id": "j", "use": "video", "key_id": "k", "expires": int(NOW.timestamp()) + 60}
    signature = Signer(b"a" * 32).sign(**made)
    assert not Signer(b"b" * 32).holds(**made, signature=signature, now=NOW)


def test_query__is_stable_within_a_step_and_lives_an_hour() -> None:
    signer = Signer(b"a" * 32)
    queries = {signer.query(job_id="j", use="video", key_id="k", now=NOW + timedelta(minutes=m)) for m in range(8)}
    assert len(queries) == 1
    expires = int(queries.pop().split("expires=")[1].split("&")[0])
    assert LIFETIME <= datetime.fromtimestamp(expires, UTC) - NOW <= LIFETIME + STEP


def test_signer__what_the_previous_secret_signed_holds_and_nothing_is_signed_with_it() -> None:
    made = {"job_id": "j", "use": "video", "key_id": "k", "expires": int(NOW.timestamp()) + 60}
    before, after = Signer(b"a" * 32), Signer(b"b" * 32, b"a" * 32)
    old, new = before.sign(**made), after.sign(**made)
    assert new == Signer(b"b" * 32).sign(**made) != old
    for signature in (old, new):
        assert after.holds(**made, signature=signature, now=NOW)
        assert not after.holds(**made | {"job_id": "other"}, signature=signature, now=NOW)
        assert not after.holds(**made, signature=signature, now=NOW + timedelta(seconds=60))
    assert not after.holds(**made, signature=Signer(b"c" * 32).sign(**made), now=NOW)


def test_new_token__is_told_from_a_key() -> None:
    token, key = secrets.new_token(), secrets.new_key()
    assert secrets.well_formed(token) and secrets.is_token(token)
    assert not secrets.is_token(key)
    assert not secrets.well_formed(token[:-1] + ("0" if token[-1] != "0" else "1"))


@pytest.mark.parametrize("text", ["https://a.example:443", "http://localhost:5173", "http://[::1]:80", "https://a-b.c"])
def test_origin__is_written_as_browsers_do(text: str) -> None:
    assert origins.origin(text) == text.removesuffix(":443").removesuffix(":80")


@pytest.mark.parametrize(
    "text",
    [
        *("*", "null", "", "a.example", "ftp://a.example", "https://", "https://a.example/", "https://a.example/x"),
        *(
            "https://A.example",
            "https://*.example",
            "https://u@a.example",
            "https://a.example:0",
            "https://a.example\n",
        ),
        *("https://a.example https://b.example", "https://a.example?x", "https://.", "https://-a"),
    ],
)
def test_origin__anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        origins.origin(text)
