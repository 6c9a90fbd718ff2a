"""The operator's view: what needs a person is seen and decided, projects and keys come and go, submissions pause."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from app.db import deployment
from tests.browser.axe import examine
from tests.browser.conftest import Reelay
from tests.browser.person import Person

PARTS = ("spending", "projects", "deliveries")
IN_DOUBT = {"model": "veo2", "input": {"prompt": "[[fault:502-bare]] A boat in doubt.", "duration": 5}}
BOAT = {"model": "veo2", "input": {"prompt": "A boat that waits.", "duration": 5}}
DAY_SHOWN = "document.querySelector('.chart').getAttribute('aria-valuetext')"

Ask = Callable[..., Any]


@pytest.fixture(scope="session")
def admin_key(reelay: Reelay) -> str:
    scopes = "jobs:read,jobs:write,admin"
    made = reelay.run("keys", "create", "--project", "development", "--name", "ops", "--scopes", scopes, "--json")
    key: str = json.loads(made)["key"]
    return key


@pytest.fixture
def ask(reelay: Reelay, admin_key: str) -> Iterator[Ask]:
    """Ask the API as the operator does."""
    with httpx2.Client(base_url=reelay.base, headers={"Authorization": f"Bearer {admin_key}"}, timeout=60) as client:

        def asked(method: str, path: str, body: Any = None, **headers: str) -> Any:
            answer = client.request(method, path, json=body, headers=headers).raise_for_status()
            return answer.json() if answer.content else None

        yield asked


@pytest.fixture
def operator(person: Person, reelay: Reelay, admin_key: str) -> Person:
    """Somebody whose tab holds the operator's key, in the overview."""
    person.opens(f"{reelay.base}/#/operator", key=admin_key)
    person.sees("document.querySelector('.counts')")
    return person


def test_unconfirmed_job__is_seen_and_decided(operator: Person, ask: Ask) -> None:
    job = ask("POST", "/v1/jobs", IN_DOUBT)["id"]
    operator.clicks("button", "Decide…")  # the view hears of it by itself
    operator.sees_text(job, within="dialog")
    operator.clicks("dialog label", "It was bought")
    operator.fills("dialog [name=generation_id]", "of-nobody")
    operator.clicks("dialog button", "Decide")
    operator.sees_text("The upstream knows no such generation", within="dialog .field .field")
    operator.sees("document.activeElement.matches('[name=generation_id][aria-invalid=true]')")
    operator.clicks("dialog label", "Give up")
    operator.clicks("dialog button", "Decide")
    operator.sees("!document.querySelector('dialog') && !document.querySelector('#doubt-title')")
    operator.sees("document.activeElement.matches('main h1')")
    assert ask("GET", f"/v1/jobs/{job}")["error"]["code"] == "submission_unconfirmed"
    resolved = [event["data"] for event in ask("GET", f"/v1/jobs/{job}/events")["data"] if "resolved" in event["type"]]
    assert [data["action"] for data in resolved] == ["give_up"]


def test_project__is_made_limited_and_archived_and_its_key_revoked(operator: Person, reelay: Reelay, ask: Ask) -> None:
    operator.goes_to("operator/projects")
    operator.clicks("button", "New project…")
    operator.fills("dialog [name=name]", "development")
    operator.clicks("dialog button", "Create")
    operator.sees("document.querySelector('dialog [role=alert], dialog .error')?.innerText.includes('already')")
    operator.fills("dialog [name=name]", "film")
    operator.fills("dialog [name=monthly_budget_usd]", "12.5")
    operator.clicks("dialog button", "Create")
    operator.sees_text("film", within="main h1")
    project = operator.page.run("() => location.hash").rpartition("/")[2]
    assert ask("GET", f"/v1/admin/projects/{project}")["monthly_budget_usd"] == 12.5

    operator.clicks("button", "New key…")
    operator.fills("dialog [name=name]", "back end")
    operator.clicks("dialog button", "Create")
    secret = operator.sees("document.querySelector('dialog input[readonly]')?.value")
    who = {"Authorization": f"Bearer {secret}"}
    assert httpx2.get(f"{reelay.base}/v1/whoami", headers=who).json()["scopes"] == ["jobs:read", "jobs:write"]
    operator.clicks("dialog button", "Copy")
    operator.sees("/Copied|selected/.test(document.querySelector('dialog [role=status]').innerText)")
    operator.clicks("dialog button", "Done")
    operator.sees("document.activeElement.textContent === 'New key…'")
    assert not operator.page.run("(secret) => document.documentElement.outerHTML.includes(secret)", secret)

    operator.clicks("button", "Change limits…")
    operator.empties("dialog [name=monthly_budget_usd]")
    operator.fills("dialog [name=max_in_flight]", "3")
    operator.clicks("dialog button", "Save")
    operator.sees_text("3 videos", within=".facts")
    changed = ask("GET", f"/v1/admin/projects/{project}")
    assert (changed["monthly_budget_usd"], changed["max_in_flight"]) == (None, 3)

    operator.clicks("button", "Revoke…")
    operator.presses("Escape")
    operator.sees("!document.querySelector('dialog') && document.activeElement.textContent === 'Revoke…'")
    operator.clicks("button", "Revoke…")
    operator.clicks("dialog button", "Revoke")
    operator.sees_text("Revoked", within=".rows")
    operator.clicks("button", "Archive…")
    operator.clicks("dialog button", "Archive")
    operator.sees_text("Archived", within=".badge.warn")
    [key] = ask("GET", f"/v1/admin/projects/{project}/keys")["data"]
    assert key["revoked_at"] and ask("GET", f"/v1/admin/projects/{project}")["archived_at"]


def test_submissions__are_paused_and_resumed(operator: Person, ask: Ask) -> None:
    operator.clicks("button", "Pause…")
    operator.types("The invoice is looked at.")  # the focus is there already
    operator.clicks("dialog button", "Pause")
    try:
        operator.sees_text("The invoice is looked at.", within=".notice")
        operator.sees("document.activeElement.textContent === 'Resume'")
        job = ask("POST", "/v1/jobs", BOAT)["id"]
        operator.sees("/Held\\s+1\\s/.test(document.querySelector('.counts').innerText)")
        assert ask("GET", f"/v1/jobs/{job}")["queue"]["reason"] == "paused_by_operator"
        operator.presses("Enter")
        operator.sees("document.querySelector('#upstream-title + .badge').innerText === 'Open'")
        assert ask("GET", "/v1/admin/upstream")["paused"] is None
        operator.sees("/Running\\s+[1-9]|Held\\s+0/.test(document.querySelector('.counts').innerText)")
    finally:
        ask("POST", "/v1/admin/upstream/resume")


def test_spending__is_read_by_day_with_the_keys_and_as_a_table(operator: Person, ask: Ask) -> None:
    assert ask("POST", "/v1/jobs", BOAT, Prefer="wait=60")["status"] == "succeeded"
    operator.goes_to("operator/spending")
    operator.tabs_to(".chart")
    today = operator.page.run(f"() => {DAY_SHOWN}")
    operator.sees("document.querySelector('.tip')?.textContent.includes('So far $')")
    operator.presses("Home")
    operator.sees(f"{DAY_SHOWN}.includes(' 1: ')")
    operator.presses("End")
    operator.sees(f"{DAY_SHOWN} === {json.dumps(today)}")
    operator.clicks("summary", "As a table")
    total = ask("GET", "/v1/admin/usage")["total"]["charged_usd"]
    last = operator.page.run("() => document.querySelector('tbody tr:last-child').innerText")
    assert last.endswith(f"${total:,.2f}") and today.endswith(f"${total:,.2f} so far")


def test_delivery__that_was_given_up_is_sent_again(operator: Person, ask: Ask) -> None:
    hook = ask("POST", "/v1/webhooks", {"url": "https://receiver.invalid/hook"})["id"]
    ask("POST", f"/v1/webhooks/{hook}/test")
    operator.goes_to("operator/deliveries")
    operator.sees_text("Given up", within=".rows")
    operator.sees_text("receiver.invalid", within=".rows")
    operator.sees_text("1 attempt", within=".rows")
    operator.clicks(".rows button", "Send again")
    operator.sees_text("2 attempts", within=".rows")
    assert len(ask("GET", "/v1/admin/deliveries")["data"][0]["attempts"]) == 2
    ask("DELETE", f"/v1/webhooks/{hook}")


def test_worker__that_fell_silent_is_counted(reelay: Reelay, operator: Person) -> None:
    with reelay.database() as conn:
        deployment.beat(conn, "gone:1:a", now=datetime.now(UTC) - timedelta(minutes=5))
    operator.sees_text("1 at work", within="[aria-labelledby=month-title]")
    operator.sees_text("; 1 silent, last heard 5 min ago", within="[aria-labelledby=month-title]")
    with reelay.database() as conn:
        deployment.retire(conn, "gone:1:a")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_operator__suits_everybody(operator: Person, ask: Ask, width: int, scheme: str) -> None:
    operator.looks(width=width, scheme=scheme)
    job = ask("POST", "/v1/jobs", IN_DOUBT)["id"]
    operator.clicks("button", "Decide…")
    operator.clicks("dialog label", "It was bought")
    examine(operator, "a decision")
    operator.presses("Escape")
    examine(operator, "the overview")
    ask("POST", f"/v1/admin/jobs/{job}/resolve", {"action": "give_up"})
    for part in PARTS:
        operator.goes_to(f"operator/{part}")
        examine(operator, part)
    project = ask("GET", "/v1/admin/projects?archived=false")["data"][0]["id"]
    operator.goes_to(f"operator/projects/{project}")
    operator.clicks("button", "New key…")
    examine(operator, "a new key")
    operator.presses("Escape")
    examine(operator, "a project")
