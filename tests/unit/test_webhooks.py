"""What webhooks are made of: sealed secrets, pauses, signatures, and a job as it was."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier

from app.domain import retry_after
from app.domain.job import Job
from app.domain.moments import as_of, moment_of, remains_of, scrubbed
from app.domain.sealing import Sealer, Unsealable
from app.domain.signing import Signer
from app.domain.states import JobState
from app.domain.views import Viewer, render_job
from app.domain.webhooks import LONGEST_PAUSE, MOST_TRIES, PAUSES_SECONDS, new_secret, next_pause, signed_headers

T0 = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
OLD, NEW = b"the old signing secret", b"the new signing secret"


def test_seal__opens_with_the_same_secret_only() -> None:
    sealed = Sealer(OLD).seal("whsec_x")
    assert "whsec" not in sealed
    assert sealed != Sealer(OLD).seal("whsec_x")
    assert Sealer(OLD).open(sealed) == "whsec_x"
    with pytest.raises(Unsealable):
        Sealer(NEW).open(sealed)
    with pytest.raises(Unsealable):
        Sealer(OLD).open(sealed[:-4] + "AAA=")


def test_resealed__moves_to_the_present_secret() -> None:
    sealed, both = Sealer(OLD).seal("whsec_x"), Sealer(NEW, OLD)
    assert both.open(sealed) == "whsec_x"
    fresh = both.resealed(sealed)
    assert fresh is not None
    assert Sealer(NEW).open(fresh) == "whsec_x"
    assert both.resealed(fresh) is None
    assert Sealer(NEW, b"yet another").resealed(sealed) is None


def test_signed_headers__are_those_of_the_reference_library() -> None:
    secrets = (new_secret(), new_secret())
    now = datetime.now(UTC)
    headers = signed_headers(event_id="evt_1", body=b'{"a": 1}', sent_at=now, secrets=secrets)
    assert headers["webhook-signature"].split() == [Verifier(key).sign("evt_1", now, '{"a": 1}') for key in secrets]
    for key in secrets:
        assert Verifier(key).verify(b'{"a": 1}', headers) == {"a": 1}


@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0])
def test_next_pause__makes_eight_tries_in_about_28_hours(chance: float) -> None:
    pauses = [next_pause(tries, chance=chance) for tries in range(1, MOST_TRIES)]
    total = sum((pause for pause in pauses if pause is not None), timedelta())
    assert len(pauses) == 7 and None not in pauses
    assert timedelta(hours=24.5) < total < timedelta(hours=30.5)
    assert next_pause(MOST_TRIES, chance=chance) is None


def test_next_pause__waits_as_long_as_it_is_asked_to() -> None:
    assert next_pause(1, chance=0.5) == timedelta(seconds=PAUSES_SECONDS[0])
    assert next_pause(1, chance=0.5, asked_seconds=60) == timedelta(seconds=60)
    assert next_pause(7, chance=0.5, asked_seconds=60) == timedelta(seconds=PAUSES_SECONDS[6])
    assert next_pause(1, chance=0.5, asked_seconds=1e300) == LONGEST_PAUSE


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("-7", 0.0),
        ("Mon, 23 Nov 2026 12:01:00 GMT", 60.0),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("inf", None),
    ],
)
def test_retry_after__is_a_number_or_a_date(header: str, seconds: float | None) -> None:
    assert retry_after.seconds_of(header, now=T0) == seconds


def job(**given: Any) -> Job:
    plain = {"id": "job_1", "project_id": "p", "model": "veo2", "input": {"prompt": "A boat"}, "upstream_path": "/v2"}
    return Job(**plain | {"due_at": T0, "created_at": T0} | given)


def test_as_of__shows_all_that_changes_as_it_was() -> None:
    then = job()
    later = job(
        state=JobState.SUCCEEDED,
        attempts=2,
        version=9,
        event_count=7,
        started_at=T0 + timedelta(seconds=1),
        finished_at=T0 + timedelta(seconds=9),
        cancel_requested_at=T0 + timedelta(seconds=2),
        expected_seconds=4.0,
        wait_reason="waiting",
        parked=True,
        error_code="x",
        error_message="y",
        billed=True,
        video={"key": "k", "content_type": "video/mp4", "size_bytes": 1, "sha256": "s", "poster_key": None}
        | {"duration_seconds": 5.0, "width": 1, "height": 1, "fps": 24.0},
        estimated_micros=5,
        charged_micros=6,
        charge_basis="reported",
        extra_micros=7,
        reserved_micros=8,
        settled=True,
    )
    viewer = Viewer("https://reelay.test", Signer(b"s"), "key_1", None)
    for was, now in ((then, later), (later, then)):
        shown = render_job(as_of(now, moment_of(was)), now=T0, viewer=viewer)
        assert shown == render_job(was, now=T0, viewer=viewer)
        assert shown != render_job(now, now=T0, viewer=viewer)


def test_as_of__a_moment_of_an_older_build_takes_the_rest_from_the_job() -> None:
    now = job(state=JobState.SUCCEEDED, attempts=2, started_at=T0)
    moment = moment_of(replace(now, state=JobState.SAVING, attempts=1))
    del moment["attempts"], moment["started_at"]
    assert as_of(now, moment) == replace(now, state=JobState.SAVING)


def test_scrubbed__leaves_the_status() -> None:
    moment = moment_of(replace(job(), state=JobState.FAILED, error_code="x", error_message="a boat"))
    assert remains_of("job_1", scrubbed(moment)) == {"id": "job_1", "status": "failed"}
    assert "boat" not in repr(scrubbed(moment))
