"""Where settings come from: variables, and the files that they name."""

import os
from pathlib import Path
from typing import Any

from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource


class SettingsError(Exception):
    """The start is refused; the message is one line that names the variable."""


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
