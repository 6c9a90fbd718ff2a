"""reelay doctor: what is wrong with this deployment, and the command or the setting that mends it."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import asdict

import typer
from pydantic import SecretStr

from app import telemetry
from app.cli import ailments, examinations, identity, provider
from app.cli.finding import Finding, failed
from app.cli.terminal import AsJson
from app.domain.errors import SettingsError
from app.settings import Settings

LONGEST_CHECK_SECONDS = 20.0
Check = Callable[[Settings], Awaitable[list[Finding]]]
CHECKS: dict[str, Check] = {
    "settings": ailments.examine,
    "database": examinations.database,
    "storage": examinations.storage,
    "webhooks": examinations.endpoints,
    "decoding": examinations.decoding,
    "disk": examinations.disk,
    "upstream": provider.upstream,
    "sign-in": identity.provider,
    "clock": provider.clock,
}


def register(app: typer.Typer, *, panel: str) -> None:
    """Hang the command onto the root."""
    app.command("doctor", rich_help_panel=panel)(doctor_command)


def doctor_command(*, as_json: AsJson = False) -> None:
    """Check this deployment and say what to do. Spends nothing; exit status 1 if something fails."""
    telemetry.configure(level="critical")
    settings, findings = settings_or_findings()
    overdue: set[str] = set()
    if settings is not None:
        findings, overdue = asyncio.run(examined(settings, CHECKS))
    typer.echo(rendered(without_secrets(findings, settings), as_json=as_json))
    status = 1 if any(finding.level == "fail" for finding in findings) else 0
    if overdue:
        os._exit(status)  # a check that hangs in a thread would keep the process from ending
    raise typer.Exit(status)


def settings_or_findings() -> tuple[Settings | None, list[Finding]]:
    """Return the settings or, where they can't be read, one finding for each line of the refusal."""
    try:
        settings = Settings.load()
        _ = settings.sqlalchemy_url
        return settings, []
    except SettingsError as error:
        mend = "Mend it, then ask again: nothing else can be checked before."
        return None, [failed("settings", line, mend) for line in str(error).splitlines()]


async def examined(
    settings: Settings, checks: dict[str, Check], *, seconds: float = LONGEST_CHECK_SECONDS
) -> tuple[list[Finding], set[str]]:
    """Run the checks side by side, none longer than `seconds`; return what they found and which took too long."""
    overdue: set[str] = set()

    async def run(name: str, check: Check) -> list[Finding]:
        try:
            async with asyncio.timeout(seconds):
                return await check(settings)
        except TimeoutError:
            overdue.add(name)
            return [failed(name, f"No answer within {seconds:g} s.", "Look at the network and at what it depends on.")]
        except Exception as error:  # noqa: BLE001  # whatever broke, the other checks have something to say
            sentence = f"The check itself broke: {type(error).__name__}: {first_line(error)}"
            return [failed(name, sentence, "If the cause is not plain from this, report it.")]

    found = await asyncio.gather(*(run(name, check) for name, check in checks.items()))
    return [finding for findings in found for finding in findings], overdue


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0]


def rendered(findings: Sequence[Finding], *, as_json: bool) -> str:
    """Return the findings for people, or as one JSON object."""
    failures = sum(finding.level == "fail" for finding in findings)
    warnings = sum(finding.level == "warn" for finding in findings)
    if as_json:
        return json.dumps({"healthy": failures == 0, "findings": [asdict(finding) for finding in findings]}, indent=2)
    lines = [line for finding in findings for line in _lines(finding)]
    return "\n".join([*lines, f"{_counted(failures, 'failure')}, {_counted(warnings, 'warning')}."])


def _lines(finding: Finding) -> Iterable[str]:
    yield f"{finding.level:<5} {finding.check:<9} {finding.message}"
    if finding.mend:
        yield f"{'':<15} -> {finding.mend}"


def _counted(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'' if number == 1 else 's'}"


def without_secrets(findings: Sequence[Finding], settings: Settings | None) -> list[Finding]:
    """Take out whatever a library's message may quote."""
    given = [] if settings is None else [settings.upstream_api_key, settings.signing_secret]
    literals = [secret.get_secret_value().strip() for secret in given if isinstance(secret, SecretStr)]
    clean = telemetry.Redactor(literals).clean
    return [Finding(found.check, found.level, clean(found.message), clean(found.mend)) for found in findings]
