"""reelay projects and reelay keys: who may come in. Works on the host, beside a running service."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from app.cli import terminal
from app.cli.limits import Budget, InFlight, Models, PerMinute, limits_of, per_minute
from app.cli.terminal import AsJson
from app.db import access, acts, ledger, revoking, schema, sign_in
from app.db.access import Key, Project
from app.db.engine import Connection
from app.domain.actor import ON_THE_HOST
from app.domain.errors import SettingsError
from app.domain.money import micros_to_usd
from app.domain.secrets import DEFAULT_SCOPES, Scope
from app.settings import Settings, open_database

projects = typer.Typer(help="Projects own jobs, keys and limits.", no_args_is_help=True)
keys = typer.Typer(help="Keys open a project's jobs.", no_args_is_help=True)

Expires = Annotated[str | None, typer.Option(help="A span such as 90d, 12h or 30m; by default never.")]
_SPANS = {"m": "minutes", "h": "hours", "d": "days"}


@projects.command("create")
def create_project(
    name: str,
    *,
    max_in_flight: InFlight = None,
    budget: Budget = None,
    requests_per_minute: PerMinute = None,
    models: Models = None,
    as_json: AsJson = False,
) -> None:
    """Create a project."""
    limits = limits_of(
        max_in_flight=max_in_flight, budget=budget, requests_per_minute=requests_per_minute, models=models
    )
    with transaction() as (conn, now):
        project = access.create_project(conn, _named(name), now=now, **limits)
        acts.note(conn, "project.created", target=project.name, project_id=project.id, now=now, data=limits)
        shown = _project(conn, project, now=now)
    _show([shown], as_json=as_json, single=True)


@projects.command("limit")
def limit_project(
    name: str,
    *,
    max_in_flight: InFlight = None,
    budget: Budget = None,
    requests_per_minute: PerMinute = None,
    models: Models = None,
    as_json: AsJson = False,
) -> None:
    """Change a project's limits; those that are not named stay."""
    limits = limits_of(
        max_in_flight=max_in_flight, budget=budget, requests_per_minute=requests_per_minute, models=models
    )
    with transaction() as (conn, now):
        project = access.limit_project(conn, name, **limits)
        if limits:
            acts.note(conn, "project.limited", target=project.name, project_id=project.id, now=now, data=limits)
        shown = _project(conn, project, now=now)
    _show([shown], as_json=as_json, single=True)


@projects.command("archive")
def archive_project(name: str, *, as_json: AsJson = False) -> None:
    """Let a project make no more jobs, for good, and cancel those it has queued. What was bought is finished."""
    with transaction() as (conn, now):
        project = access.archive_project(conn, name, now=now)
        if project.archived_at == now:
            acts.note(conn, "project.archived", target=project.name, project_id=project.id, now=now)
        shown = _project(conn, project, now=now)
    canceled = _cancel_unsent(project_id=project.id, reason="project_archived")
    _show([shown | {"canceled_jobs": canceled}], as_json=as_json, single=True)


@projects.command("list")
def list_projects(*, as_json: AsJson = False) -> None:
    """List the projects, their limits, and what they have reserved and spent this month."""
    with transaction() as (conn, now):
        found = [_project(conn, project, now=now) for project in access.list_projects(conn)]
    _show(found, as_json=as_json)


@keys.command("create")
def create_key(
    *,
    project: Annotated[str, typer.Option(help="The project's name.")],
    name: Annotated[str, typer.Option(help="What the key is for.")],
    scopes: Annotated[str, typer.Option(help="Comma-separated: jobs:read, jobs:write, admin.")] = ",".join(
        sorted(DEFAULT_SCOPES)
    ),
    subject: Annotated[str | None, typer.Option(help="Bind the key to one end user's jobs.")] = None,
    expires: Expires = None,
    requests_per_minute: PerMinute = None,
    as_json: AsJson = False,
) -> None:
    """Create a key and print it, once: nobody can read it again."""
    granted = _scopes(scopes)
    limit = per_minute(requests_per_minute)
    with transaction() as (conn, now):
        key, secret = access.create_key(
            conn,
            project_id=access.project_named(conn, project).id,
            name=_named(name),
            scopes=granted,
            now=now,
            subject=subject,
            expires_at=_end(expires, now=now),
            requests_per_minute=limit,
        )
        acts.note(conn, "key.created", target=key.id, project_id=key.project_id, now=now, data=access.granted(key))
    _show([{"key": secret} | _key(key)], as_json=as_json, single=True)


@projects.command("sign-in")
def open_to_sign_ins(
    name: str,
    *,
    scopes: Annotated[str, typer.Option(help="Comma-separated: the most that those who sign in get.")] = ",".join(
        sorted(DEFAULT_SCOPES)
    ),
    expires: Expires = None,
    as_json: AsJson = False,
) -> None:
    """Let those who sign in with the identity provider into a project, until the key that this makes is revoked."""
    granted = _scopes(scopes)
    if granted - DEFAULT_SCOPES:
        raise SettingsError("--scopes: admin is granted to keys only, never to people who sign in.")
    with transaction() as (conn, now):
        key = sign_in.open_project(conn, name, scopes=granted, now=now, expires_at=_end(expires, now=now))
        acts.note(conn, "project.opened", target=name, project_id=key.project_id, now=now, data=access.granted(key))
    _show([_key(key)], as_json=as_json, single=True)


@keys.command("list")
def list_keys(
    *,
    project: Annotated[str | None, typer.Option(metavar="NAME", help="Only keys of this project.")] = None,
    as_json: AsJson = False,
) -> None:
    """List keys, without their secrets."""
    with transaction() as (conn, _):
        project_id = None if project is None else access.project_named(conn, project).id
        found = access.list_keys(conn, project_id=project_id)
    _show([_key(key) for key in found], as_json=as_json)


@keys.command("revoke")
def revoke_key(
    key_id: str,
    *,
    cancel_queued: Annotated[
        bool, typer.Option("--cancel-queued", help="Cancel the jobs that it, or a token of it, has queued.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Revoke a key for good; it, and the tokens it minted, stop working within five seconds."""
    with transaction() as (conn, now):
        key = access.revoke_key(conn, key_id, now=now, cancel_queued=cancel_queued)
        if key.revoked_at == now or cancel_queued:
            data = {"cancel_queued": cancel_queued}
            acts.note(conn, "key.revoked", target=key.id, project_id=key.project_id, now=now, data=data)
    shown = _key(key)
    if cancel_queued:
        shown["canceled_jobs"] = _cancel_unsent(project_id=key.project_id, key_id=key.id, reason="key_revoked")
    _show([shown], as_json=as_json, single=True)


def _cancel_unsent(*, project_id: str, key_id: str | None = None, reason: str) -> int:
    """Cancel in transactions of moderate size, between which a running service gets its turn; return how many."""
    canceled, done = 0, revoking.AT_ONCE
    while done >= revoking.AT_ONCE:
        with transaction() as (conn, now):
            done = revoking.cancel_unsent(
                conn, project_id=project_id, key_id=key_id, reason=reason, now=now, limit=revoking.AT_ONCE
            )
        canceled += done
    return canceled


@contextmanager
def transaction() -> Iterator[tuple[Connection, datetime]]:
    """A transaction in the operator's name on the configured database, and its time.

    Raises SettingsError for one that cannot be used."""
    db = open_database(Settings.load())
    try:
        with db.transaction(by=ON_THE_HOST) as conn:
            schema.make_ready(conn)
            yield conn, db.now(conn)
    finally:
        db.close()


def _named(name: str) -> str:
    if not re.fullmatch(access.NAME, name):
        raise SettingsError(f"{name!r} is no usable name: 1 to 100 letters, digits, spaces and . : @ / - _")
    return name


def _scopes(text: str) -> frozenset[Scope]:
    wanted = {word.strip() for word in text.split(",") if word.strip()}
    if not wanted or wanted - set(Scope):
        raise SettingsError(f"--scopes {text!r}: choose from {', '.join(Scope)}.")
    return frozenset(map(Scope, wanted))


def _end(text: str | None, *, now: datetime) -> datetime | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})([mhd])", text)
    if found is None or int(found[1]) == 0:
        raise SettingsError(f"--expires {text!r}: write a span such as 90d, 12h or 30m.")
    return now + timedelta(**{_SPANS[found[2]]: int(found[1])})


def _project(conn: Connection, project: Project, *, now: datetime) -> dict[str, Any]:
    shown = asdict(project)
    budget, month = shown.pop("monthly_budget_micros"), ledger.read_month(conn, project.id, now)
    return shown | {
        "monthly_budget_usd": None if budget is None else micros_to_usd(budget),
        "month": month.month,
        "reserved_usd": micros_to_usd(month.reserved_micros),
        "spent_usd": micros_to_usd(month.spent_micros),
    }


def _key(key: Key) -> dict[str, Any]:
    return asdict(key) | {"scopes": sorted(key.scopes)}


def _show(rows: list[dict[str, Any]], *, as_json: bool, single: bool = False) -> None:
    """Print rows for people, or as JSON: one object for a single one, else a list."""
    if as_json:
        terminal.show_json(rows[0] if single else rows, plain=_plain)
        return
    for row in rows:
        typer.echo("  ".join(f"{name}={_plain(value)}" for name, value in row.items() if value is not None))


def _plain(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return ",".join(value) if isinstance(value, list) else str(value)
