"""Where settings come from: variables, the files that they name, and secrets that are made once."""

import os
import secrets
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource

from app.domain.errors import SettingsError

PLACEHOLDERS = ("change", "example", "placeholder", "secret", "todo", "xxx", "your-", "<")
SHORTEST_SECRET = 32


class FileOrEnv(EnvSettingsSource):
    """Reads the file that NAME_FILE points to, as Docker secrets do, or NAME; of two names the first goes first."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        for name in _names(field, field_name):
            if path := os.environ.get(f"{name}_FILE"):
                try:
                    return Path(path).read_text("utf-8").strip(), field_name, False
                except (OSError, UnicodeDecodeError) as error:
                    reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
                    raise SettingsError(f"{name}_FILE: {path} cannot be read ({reason}).") from error
            if value := os.environ.get(name):
                return value, field_name, False
        return super().get_field_value(field, field_name)


def _names(field: FieldInfo, field_name: str) -> list[str]:
    alias = field.validation_alias
    if isinstance(alias, AliasChoices):
        return [str(choice) for choice in alias.choices]
    return [f"REELAY_{field_name.upper()}"]


def refuse_placeholder(name: str, value: str) -> None:
    """Raise SettingsError for a secret that was copied from an example or can be guessed."""
    if len(value) < SHORTEST_SECRET or any(word in value.lower() for word in PLACEHOLDERS):
        raise SettingsError(
            f"{name} is a placeholder or shorter than {SHORTEST_SECRET} characters. "
            "Make one with `openssl rand -hex 32`."
        )


def told_secret(name: str, secret: SecretStr | None) -> str | None:
    """Return what the variable holds, if it is set; raise SettingsError for a placeholder."""
    if secret is None:
        return None
    refuse_placeholder(name, secret.get_secret_value())
    return secret.get_secret_value()


def kept_secret(path: Path) -> str:
    """Return the secret in `path`, made at the first call; only its owner can read it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    except FileExistsError:
        pass
    return path.read_text("utf-8").strip()
