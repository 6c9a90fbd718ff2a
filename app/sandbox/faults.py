"""The faults that can be asked for: by header, inside a prompt (so that they pass through a relay), or by chance.

A request names them as `name`, `name=value` or `name=value*times`, separated by `;` in the header `X-Sandbox-Fault`,
or each in `[[fault:...]]` in the prompt. `*times` limits a fault to its first uses with that very prompt.
"""

import random
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

Faults = dict[str, str | None]

BEFORE_PURCHASE = {
    "401": "the key is refused",
    "403": "the key may not use this",
    "out-of-credits": "403, and the balance reads zero for =SECONDS (5), or for as long as it is drawn by chance",
    "429": "too many requests; =SECONDS adds a Retry-After",
    "500": "the service failed, and says so in its envelope",
    "503": "the service is unavailable, and says so in its envelope",
    "500-bare": "a gateway's 500, no envelope",
    "502-bare": "a gateway's 502, no envelope",
    "503-bare": "a gateway's 503, no envelope",
    "504-bare": "a gateway's 504, no envelope",
    "hang-before": "silence for =SECONDS, then (if anyone still waits) the purchase and its answer",
    "reset-before": "a TCP reset before the purchase",
}
AFTER_PURCHASE = {
    "500-after": "bought, yet answered with an enveloped 500",
    "503-after": "bought, yet answered with an enveloped 503",
    "500-bare-after": "bought, yet a gateway answers 500",
    "502-bare-after": "bought, yet a gateway answers 502",
    "503-bare-after": "bought, yet a gateway answers 503",
    "504-bare-after": "bought, yet a gateway answers 504",
    "hang-after": "bought, then silence for =SECONDS, then the answer",
    "reset-after": "bought, then a TCP reset",
    "truncate": "bought, then an answer cut after =BYTES (half) under its full Content-Length",
    "repeat-id": "bought, but the answer names the previous generation",
}
OF_GENERATION = {
    "unknown-status": "while it runs the status is =WORD (dreaming)",
    "waiting-words": "the statuses are waiting, active, succeeded",
    "no-url": "completed without a video; =POLLS until it appears, else never",
    "fail": "ends in an error {name, message}",
    "fail-detail": "ends in an error {detail: [...]} of a face check",
    "fail-string": "ends in an error that is a string",
    "fail-null": "ends in an error that is null",
    "fail-charged": "ends in an error {name, message} and reports its cost all the same; the account is not charged",
    "truncated-video": "the file ends before its Content-Length; =DOWNLOADS limits it to the first ones",
    "mislabelled-video": "=html (default) or =png sent as video/mp4",
    "video-404": "the result URL answers 404",
    "expired-url": "the first =POLLS (1) finished polls give an expired URL",
    "no-credits": "its cost is never reported",
    "slow": "takes =N (10) times longer",
    "lost": "bought, but polls answer 404 for ever",
    "lag-404": "the first =POLLS (1) polls answer 404",
}
AREAS = ("poll", "logs", "billing", "models", "video")
_TROUBLES = {
    "429": "answers 429",
    "500": "answers an enveloped 500",
    "503-bare": "answers a gateway's 503",
    "hang": "says nothing",
    "reset": "resets the connection",
}
AREA_FAULTS = {
    f"{area}-{trouble}": f"a request to {area} {effect}" + ("; in a prompt: its first =POLLS (1)" * (area == "poll"))
    for area in AREAS
    for trouble, effect in _TROUBLES.items()
}
KNOWN: dict[str, str] = BEFORE_PURCHASE | AFTER_PURCHASE | OF_GENERATION | AREA_FAULTS
FAILURES = ("fail", "fail-detail", "fail-string", "fail-null", "fail-charged")

_MARK = re.compile(r"\[\[fault:([^\]]*)\]\]")
_ITEM = re.compile(r"([a-z0-9-]+)(?:=([^*;]+))?(?:\*([0-9]+))?")


class UnknownFault(ValueError):
    """Somebody asked for a fault that does not exist: a test with such a typo would prove nothing."""


@dataclass(frozen=True)
class Odds:
    """How likely a fault strikes by chance, with which value, and how often at most (None: without end)."""

    probability: float
    value: str | None = None
    times: int | None = None


@dataclass(frozen=True)
class Asked:
    """One fault that a request asked for."""

    name: str
    value: str | None
    times: int | None


def parse(text: str) -> list[Asked]:
    """Read `name[=value][*times]` items separated by `;`; raise UnknownFault for what is none."""
    asked = []
    for item in filter(None, (part.strip() for part in text.split(";"))):
        match = _ITEM.fullmatch(item)
        if match is None or match[1] not in KNOWN:
            raise UnknownFault(f"unknown sandbox fault {item!r}; known: {', '.join(KNOWN)}")
        asked.append(Asked(match[1], match[2], int(match[3]) if match[3] else None))
    return asked


def parse_prompt(prompt: str) -> list[Asked]:
    """Read the `[[fault:...]]` marks of a prompt."""
    return [asked for mark in _MARK.findall(prompt) for asked in parse(mark)]


def without_marks(prompt: str) -> str:
    """Return the prompt as a person meant it."""
    return " ".join(_MARK.sub(" ", prompt).split())


def stays(name: str) -> bool:
    """Say whether a fault belongs to the generation, to strike later, rather than to the submission."""
    return name in OF_GENERATION or name.startswith("poll-")


def number(value: str | None, default: float) -> float:
    """Return a fault's value as a number, or `default` where it has none or none that counts."""
    try:
        return float(value) if value is not None else default
    except ValueError:
        return default


def checked(odds: Mapping[str, Odds]) -> dict[str, Odds]:
    """Return the odds, or raise UnknownFault or ValueError for a name or a probability that cannot be."""
    for name, chance in odds.items():
        if name not in KNOWN:
            raise UnknownFault(f"unknown sandbox fault {name!r}; known: {', '.join(KNOWN)}")
        if not 0 <= chance.probability <= 1:
            raise ValueError(f"the probability of {name!r} must lie between 0 and 1")
    return dict(odds)


class FaultDesk:
    """Decides which faults strike: those asked for, and those that chance adds."""

    def __init__(self, odds: Mapping[str, Odds], *, rng: random.Random, tally: Callable[[str], int]) -> None:
        self._rng = rng
        self._tally = tally
        self._drawn: dict[str, int] = {}
        self.odds = checked(odds)
        self.struck: dict[str, int] = {}

    def replace_odds(self, odds: Mapping[str, Odds]) -> None:
        """Let chance work with these odds, and only these, from now on."""
        self.odds = checked(odds)
        self._drawn.clear()

    def granted(self, asked: Iterable[Asked], *, subject: str) -> Faults:
        """Return what was asked for, less what `subject` (a prompt) has already used up."""
        faults: Faults = {}
        for fault in asked:
            if fault.times is None or self._tally(f"{fault.name}:{subject}") <= fault.times:
                faults[fault.name] = fault.value
        return faults

    def drawn(self, *, area: str | None) -> Faults:
        """Draw by chance among the faults of an area, or (None) among those of a submission."""
        faults: Faults = {}
        for name, chance in self.odds.items():
            if self._concerns(name, area) and self._rng.random() < chance.probability and self._left(name, chance):
                faults[name] = chance.value
        return faults

    def note(self, name: str) -> None:
        """Count a fault that really struck."""
        self.struck[name] = self.struck.get(name, 0) + 1

    def is_certain(self, name: str) -> bool:
        """Say whether chance has this fault on at all: what then also colours neighbouring answers."""
        return name in self.odds and self.odds[name].probability > 0

    def _concerns(self, name: str, area: str | None) -> bool:
        return name.startswith(f"{area}-") and name in AREA_FAULTS if area else name not in AREA_FAULTS

    def _left(self, name: str, chance: Odds) -> bool:
        self._drawn[name] = self._drawn.get(name, 0) + 1
        return chance.times is None or self._drawn[name] <= chance.times
