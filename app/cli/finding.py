"""One thing that the doctor found out."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`message` says how it is; `mend` names the command or the setting that mends it, empty where all is well."""

    check: str
    level: Level
    message: str
    mend: str = ""


def fine(check: str, message: str) -> Finding:
    return Finding(check, "ok", message)


def doubtful(check: str, message: str, mend: str) -> Finding:
    return Finding(check, "warn", message, mend)


def failed(check: str, message: str, mend: str) -> Finding:
    return Finding(check, "fail", message, mend)
