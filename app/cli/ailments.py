"""Settings that are valid and yet unwise: secrets, addresses, names that nobody reads, modes of files."""

import difflib
import ipaddress
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from app.cli.finding import Finding, doubtful, failed, fine
from app.domain.errors import SettingsError
from app.environment import PLACEHOLDERS, refuse_placeholder
from app.settings import Settings

CHECK = "settings"
OURS = ("REELAY_UPSTREAM_API_KEY", "REELAY_UPSTREAM_API_KEY_FILE")
THEIRS = ("AIML_API_KEY", "AIML_API_KEY_FILE")
OTHER_NAMES = {"REELAY_ACCEPT_COST_USD", "REELAY_URL", "REELAY_KEY"}
"""What commands read beside the settings."""
PRIVATE = ("reelay.db", "reelay.db-wal", "signing-secret", "development-key")


async def examine(settings: Settings) -> list[Finding]:
    """Return what is unwise, or that nothing is."""
    found = [
        *_signing_secret(settings),
        *_upstream_key(settings),
        *_public_url(settings),
        *_redirect(settings),
        *_unknown_names(),
        *_open_files(settings.data_dir),
    ]
    return found or [fine(CHECK, "Nothing unwise in them.")]


def _signing_secret(settings: Settings) -> Iterator[Finding]:
    if settings.signing_secret is not None:
        try:
            refuse_placeholder("REELAY_SIGNING_SECRET", settings.signing_secret.get_secret_value())
        except SettingsError as error:
            yield failed(CHECK, str(error), "REELAY_SIGNING_SECRET=$(openssl rand -hex 32)")
    elif not settings.sqlalchemy_url.startswith("sqlite"):
        yield failed(
            CHECK,
            "REELAY_SIGNING_SECRET is missing: processes that share a Postgres must share it.",
            "REELAY_SIGNING_SECRET=$(openssl rand -hex 32), the same for all",
        )


def _upstream_key(settings: Settings) -> Iterator[Finding]:
    key = settings.upstream_api_key
    if key is not None and any(word in key.get_secret_value().lower() for word in PLACEHOLDERS):
        yield doubtful(CHECK, "REELAY_UPSTREAM_API_KEY looks like a placeholder.", "Set the key of your account.")
    ours, theirs = ([name for name in names if os.environ.get(name)] for names in (OURS, THEIRS))
    if ours and theirs:
        yield doubtful(CHECK, f"{ours[-1]} is used and {theirs[-1]} is not.", f"Unset {theirs[-1]}.")


def _public_url(settings: Settings) -> Iterator[Finding]:
    if settings.public_url is None:
        if not settings.sqlalchemy_url.startswith("sqlite"):
            yield doubtful(
                CHECK,
                "REELAY_PUBLIC_URL is not set: links to videos name the address that each process listens on.",
                "REELAY_PUBLIC_URL=https://...",
            )
        return
    if settings.public_url.startswith("http://") and is_public(settings):
        yield doubtful(
            CHECK,
            "REELAY_PUBLIC_URL is http://: keys and videos travel in the clear.",
            "Put a proxy with TLS in front and set REELAY_PUBLIC_URL=https://...",
        )


def _redirect(settings: Settings) -> Iterator[Finding]:
    if settings.content_redirect and settings.stores_in_folder:
        yield doubtful(
            CHECK,
            "REELAY_CONTENT_REDIRECT does nothing: the storage is a folder.",
            "Unset it, or name object storage in REELAY_STORAGE_URL.",
        )


def _unknown_names() -> Iterator[Finding]:
    known = {f"REELAY_{name.upper()}" for name in Settings.model_fields} | OTHER_NAMES
    for name in sorted(os.environ):
        if name.startswith("REELAY_") and name.removesuffix("_FILE") not in known:
            near = difflib.get_close_matches(name.removesuffix("_FILE"), known, n=1)
            yield doubtful(CHECK, f"{name} is no setting.", f"Did you mean {near[0]}?" if near else f"Unset {name}.")


def _open_files(data_dir: Path) -> Iterator[Finding]:
    if _mode(data_dir) & 0o022:
        yield doubtful(CHECK, f"Others may write into {data_dir}.", f"chmod go-w {data_dir}")
    for path in (data_dir / name for name in PRIVATE):
        if _mode(path) & 0o077:
            yield doubtful(CHECK, f"Others than its owner may read {path}.", f"chmod 600 {path}")


def _mode(path: Path) -> int:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return 0  # what can't be looked at is another check's matter


def is_public(settings: Settings) -> bool:
    """Tell whether others than this machine are to reach the service."""
    return settings.public_url is not None and not is_loopback(urlsplit(settings.public_url).hostname or "")


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
