"""The development key: made at the first start in sandbox mode on loopback, and gone anywhere else."""

import os
from pathlib import Path

from app.catalogue import catalogue
from app.db import access, acts, durations
from app.db.engine import Database
from app.domain.actor import ON_THE_HOST
from app.domain.errors import NotFound
from app.domain.secrets import DEFAULT_SCOPES
from app.settings import Settings

PROJECT = "development"
KEY_NAME = "development key"


def key_file(settings: Settings) -> Path:
    """Return where the key is kept for its developer; only the owner can read it."""
    return settings.data_dir / "development-key"


def guess_durations(settings: Settings, *, median_seconds: float) -> None:
    """Tell a fresh database how long the sandbox takes, so that the first job's progress is believable."""
    db = Database(settings.sqlalchemy_url)
    try:
        with db.transaction() as conn:
            seen = durations.read_all(conn)
            for model in catalogue.load().models:
                if seen.of_model(model) is None:
                    durations.observe(conn, model, {}, median_seconds)
    finally:
        db.close()


def key_for(settings: Settings, *, allowed: bool) -> str | None:
    """Return the development key where it may exist; revoke it where it may not."""
    db = Database(settings.sqlalchemy_url)
    try:
        if allowed:
            return _ensure(db, settings)
        _revoke(db)
        key_file(settings).unlink(missing_ok=True)
        return None
    finally:
        db.close()


def _ensure(db: Database, settings: Settings) -> str:
    path = key_file(settings)
    with db.transaction(by=ON_THE_HOST) as conn:
        now = db.now(conn)
        if path.exists():
            secret = path.read_text("utf-8").strip()
            known = access.find_key(conn, secret)
            if known is not None and known.works_at(now):
                return secret
        try:
            project = access.project_named(conn, PROJECT)
        except NotFound:
            project = access.create_project(conn, PROJECT, now=now)
            acts.note(conn, "project.created", target=PROJECT, project_id=project.id, now=now)
        key, secret = access.create_key(conn, project_id=project.id, name=KEY_NAME, scopes=DEFAULT_SCOPES, now=now)
        acts.note(conn, "key.created", target=key.id, project_id=project.id, now=now, data={"name": KEY_NAME})
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret + "\n")
    return secret


def _revoke(db: Database) -> None:
    with db.transaction(by=ON_THE_HOST) as conn:
        try:
            project = access.project_named(conn, PROJECT)
        except NotFound:
            return
        for key in access.list_keys(conn, project_id=project.id):
            if key.name == KEY_NAME and key.revoked_at is None:
                now = db.now(conn)
                access.revoke_key(conn, key.id, now=now)
                acts.note(conn, "key.revoked", target=key.id, project_id=project.id, now=now)
