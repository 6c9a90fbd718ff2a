"""What `reelay doctor` finds, on deployments that are well and on such that are not."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.cli import ailments, doctor, examinations, provider
from app.cli.finding import Finding, failed, fine
from app.db import deployment, webhooks
from app.db.engine import Database
from app.domain.sealing import Sealer
from app.domain.webhooks import Disabled
from app.settings import Settings
from tests.acceptance.processes import Deployment, sandbox
from tests.acceptance.test_commands import reelay
from tests.canary import UPSTREAM_KEY
from tests.factories import make_caller

CANARY = "canary-7f3e9a1b5c2d8e4f6a0b"
GOOD_SECRET = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [*(f"REELAY_{name.upper()}" for name in Settings.model_fields), "AIML_API_KEY"]:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"{name}_FILE", raising=False)
    monkeypatch.setenv("REELAY_DATA_DIR", str(tmp_path / "data"))


def diagnosed(folder: Path, *, status: int, **environment: str) -> list[dict[str, Any]]:
    """Run the command; return its findings, once no secret of the environment was found in what it printed."""
    done = reelay("doctor", "--json", folder=folder, **environment)
    assert done.returncode == status, done.stdout + done.stderr
    assert CANARY not in done.stdout + done.stderr
    told = json.loads(done.stdout)
    assert told["healthy"] == (status == 0)
    found: list[dict[str, Any]] = told["findings"]
    return found


def troubles(findings: list[dict[str, Any]]) -> list[tuple[str, str]]:
    assert all(finding["mend"] for finding in findings if finding["level"] != "ok")
    return [(finding["check"], finding["level"]) for finding in findings if finding["level"] != "ok"]


def examine(check: doctor.Check) -> list[Finding]:
    return asyncio.run(check(Settings.load()))


# --- the whole command


def test_doctor__finds_nothing_wrong_with_a_good_deployment(folder: Path, database_url: str | None) -> None:
    with sandbox(folder) as upstream:
        public = {"public_url": "https://reelay.example.com", "max_video_bytes": str(1 << 20)}
        house = Deployment(folder, upstream_url=upstream, database_url=database_url, **public)
        try:
            house.run("migrate")
            house.serve()
            findings = diagnosed(folder, status=0, **house.environment)
        finally:
            house.close()
    assert troubles(findings) == []
    assert {finding["check"] for finding in findings} == set(doctor.CHECKS)
    said = " ".join(finding["message"] for finding in findings)
    for words in ("made for real jobs", "written, read and emptied", "h264", "balance is 1000000.00 USD"):
        assert words in said
    clocks = [finding["message"] for finding in findings if finding["check"] == "clock"]
    assert len(clocks) == (1 if database_url is None else 2)


def test_doctor__a_machine_with_nothing_yet_is_well(folder: Path) -> None:
    findings = diagnosed(folder, status=0, REELAY_MAX_VIDEO_BYTES=str(1 << 20))
    assert troubles(findings) == [("upstream", "warn")]
    assert not (folder / "data" / "reelay.db").exists()


def test_doctor__everything_broken_is_told_at_once_and_no_secret_with_it(folder: Path) -> None:
    (folder / "data").write_text("a file where the folder should be")
    environment = {
        "REELAY_UPSTREAM_API_KEY": CANARY,
        "REELAY_UPSTREAM_URL": "http://127.0.0.1:9",
        "REELAY_SIGNING_SECRET": f"changeme-{CANARY}",
        "REELAY_DATABASE_URL": f"postgresql://reelay:{CANARY}@127.0.0.1:9/reelay",
        "AIML_API_KEY": f"other-{CANARY}",
    }
    findings = diagnosed(folder, status=1, **environment)
    failures = {check for check, level in troubles(findings) if level == "fail"}
    assert failures == {"settings", "database", "storage", "upstream"}
    assert "decoding" in {finding["check"] for finding in findings if finding["level"] == "ok"}


def test_doctor__is_read_by_people_too(folder: Path) -> None:
    done = reelay("doctor", folder=folder, REELAY_LEASE_SECONDS="soon", REELAY_LOG_LEVEL="loud")
    assert (done.returncode, done.stderr) == (1, "")
    first, mend, *_, last = done.stdout.splitlines()
    assert first.startswith("fail  settings  REELAY_LEASE_SECONDS: ")
    assert mend.strip().startswith("-> ")
    assert last == "2 failures, no warnings."


def test_doctor__what_would_refuse_the_start_is_told(folder: Path) -> None:
    done = reelay("doctor", folder=folder, REELAY_CONTENT_ACCEL="protected")
    first, *_ = done.stdout.splitlines()
    assert done.returncode == 1
    assert first.startswith("fail  settings  REELAY_CONTENT_ACCEL: ") and "/protected/" in first


def test_doctor__a_refused_key_is_the_upstreams_word(folder: Path) -> None:
    with sandbox(folder) as upstream:
        environment = {"REELAY_UPSTREAM_URL": upstream, "REELAY_UPSTREAM_API_KEY": CANARY}
        findings = diagnosed(folder, status=1, REELAY_MAX_VIDEO_BYTES=str(1 << 20), **environment)
    assert troubles(findings) == [("upstream", "fail")]
    [failure] = [finding for finding in findings if finding["level"] == "fail"]
    assert "refuses the key (401)" in failure["message"] and "REELAY_UPSTREAM_API_KEY" in failure["mend"]


# --- single checks


@pytest.mark.parametrize("key", [" ", "two words"])
def test_upstream__a_key_that_no_request_could_carry(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("REELAY_UPSTREAM_API_KEY", key)
    [failure] = examine(provider.upstream)
    assert (failure.level, "REELAY_UPSTREAM_API_KEY" in failure.message) == ("fail", True)


@pytest.mark.parametrize(("balance", "level"), [("0", "fail"), ("2.5", "warn"), ("100", "ok")])
def test_upstream__an_empty_account_buys_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, balance: str, level: str
) -> None:
    with sandbox(folder, "--balance", balance) as upstream:
        monkeypatch.setenv("REELAY_UPSTREAM_URL", upstream)
        monkeypatch.setenv("REELAY_UPSTREAM_API_KEY", UPSTREAM_KEY)
        account, prices = examine(provider.upstream)
    assert (account.level, prices.level) == (level, "ok")


@pytest.mark.parametrize("database_url", ["postgres"], indirect=True)
def test_database__an_old_schema_is_migrated_by_command(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setenv("REELAY_DATABASE_URL", database_url)
    _, schema = examine(examinations.database)
    assert (schema.level, schema.mend) == ("fail", "reelay migrate")


@pytest.mark.parametrize("key", [True, False])
def test_database__made_for_simulations_is_none_for_real_money(
    folder: Path, monkeypatch: pytest.MonkeyPatch, key: bool
) -> None:
    assert reelay("migrate", folder=folder).returncode == 0
    with_database(lambda conn, db: deployment.stamp(conn, mode="sandbox", now=db.now(conn)))
    if key:
        monkeypatch.setenv("REELAY_UPSTREAM_API_KEY", CANARY)
    levels = [finding.level for finding in examine(examinations.database)]
    assert levels == ["ok", "ok", "fail"] if key else levels == ["ok", "ok"]
    monkeypatch.setenv("REELAY_PUBLIC_URL", "https://films.example.com")
    assert [finding.level for finding in examine(examinations.database)][2:] == ["fail" if key else "warn"]


def test_database__a_network_file_system_is_no_place_for_sqlite(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert reelay("migrate", folder=folder).returncode == 0
    mounts = tmp_path / "mounts"
    monkeypatch.setattr(examinations, "MOUNTS", mounts)
    mounts.write_text(f"disk / ext4 rw 0 0\nserver:/films {folder} nfs4 rw 0 0\n")
    assert "nfs4" in next(finding.message for finding in examine(examinations.database) if finding.level == "fail")
    mounts.write_text(f"server:/films / nfs4 rw 0 0\ndisk {folder} ext4 rw 0 0\n")
    assert {finding.level for finding in examine(examinations.database)} == {"ok"}


def test_storage__a_folder_and_workers_on_other_hosts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reelay("migrate", folder=folder).returncode == 0
    here = socket.gethostname()

    def beats(conn: Any, db: Database) -> None:
        now = db.now(conn)
        deployment.beat(conn, f"{here}:1:a", now=now)
        deployment.beat(conn, "yesterday:1:b", now=now - timedelta(hours=20))

    with_database(beats)
    assert [finding.level for finding in examine(examinations.storage)] == ["ok"]
    with_database(lambda conn, db: deployment.beat(conn, "elsewhere:1:c", now=db.now(conn)))
    _, doubt = examine(examinations.storage)
    assert (doubt.level, "elsewhere" in doubt.message, "yesterday" in doubt.message) == ("warn", True, False)


def test_database__a_worker_that_hangs_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert reelay("migrate", folder=folder).returncode == 0

    def beats(conn: Any, db: Database) -> None:
        for worker, minutes in (("here:1:a", 0.5), ("there:2:b", 3), ("ended:3:c", 3)):
            deployment.beat(conn, worker, now=db.now(conn) - timedelta(minutes=minutes))
        deployment.retire(conn, "ended:3:c")

    with_database(beats)
    [doubt] = [finding for finding in examine(examinations.database) if finding.check == "workers"]
    assert (doubt.level, doubt.message.split()[0]) == ("warn", "there:2:b")


def with_database(work: Any) -> None:
    db = Database(Settings.load().sqlalchemy_url)
    with db.transaction() as conn:
        work(conn, db)
    db.close()


def test_decoding__a_child_that_fails_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    monkeypatch.setattr(examinations, "PICTURE", tmp_path / "broken.jpg")
    [failure] = examine(examinations.decoding)
    assert failure.level == "fail"


@pytest.mark.parametrize(("free", "level"), [(1 << 20, "fail"), (2 << 30, "warn"), (5 << 30, "ok")])
def test_disk__little_room_is_told(monkeypatch: pytest.MonkeyPatch, free: int, level: str) -> None:
    usage = examinations.shutil._ntuple_diskusage(total=10**12, used=10**12 - free, free=free)
    monkeypatch.setattr(examinations.shutil, "disk_usage", lambda _folder: usage)
    [finding] = examine(examinations.disk)
    assert finding.level == level


class Yesterday(BaseHTTPRequestHandler):
    """An upstream whose clock has another date."""

    def do_HEAD(self) -> None:
        self.send_response_only(404)
        self.send_header("Date", "Mon, 23 Nov 2020 00:00:00 GMT")
        self.end_headers()


@pytest.fixture
def wrong_clock() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Yesterday) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_clock__that_differs_is_told(monkeypatch: pytest.MonkeyPatch, wrong_clock: str) -> None:
    monkeypatch.setenv("REELAY_UPSTREAM_URL", wrong_clock)
    [unasked] = examine(provider.clock)  # who only simulates has nothing to do with the upstream
    assert (unasked.level, unasked.message) == ("ok", "No other clock could be asked.")
    monkeypatch.setenv("REELAY_UPSTREAM_API_KEY", CANARY)
    [finding] = examine(provider.clock)
    assert (finding.level, "behind" in finding.message, "NTP" in finding.mend) == ("fail", True, True)


@pytest.mark.parametrize(
    ("environment", "level", "names"),
    [
        ({"REELAY_SIGNING_SECRET": "changeme" * 8}, "fail", "REELAY_SIGNING_SECRET"),
        ({"REELAY_DATABASE_URL": "postgresql://h/d", "REELAY_PUBLIC_URL": "https://x.test"}, "fail", "SIGNING_SECRET"),
        ({"REELAY_DATABASE_URL": "postgresql://h/d", "REELAY_SIGNING_SECRET": GOOD_SECRET}, "warn", "PUBLIC_URL"),
        ({"REELAY_PUBLIC_URL": "http://films.example.com"}, "warn", "TLS"),
        ({"REELAY_UPSTREAM_API_KEY": "your-key-goes-here"}, "warn", "placeholder"),
        ({"REELAY_UPSTREAM_API_KEY": "k" * 20, "AIML_API_KEY_FILE": "elsewhere"}, "warn", "AIML_API_KEY_FILE"),
        ({"REELAY_CONTENT_REDIRECT": "true"}, "warn", "REELAY_CONTENT_REDIRECT"),
        ({"REELAY_RETENTION_DAY": "7"}, "warn", "Did you mean REELAY_RETENTION_DAYS?"),
        ({"REELAY_PUBLIC_URL": "http://127.0.0.1:8000", "REELAY_SIGNING_SECRET": GOOD_SECRET}, "ok", "Nothing"),
        ({"REELAY_KEY": "k", "REELAY_URL": "u", "REELAY_ACCEPT_COST_USD": "3"}, "ok", "Nothing"),
    ],
)
def test_settings__what_is_unwise_is_told(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], level: str, names: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    [finding] = examine(ailments.examine)
    assert (finding.level, names in f"{finding.message} {finding.mend}") == (level, True)


@pytest.mark.parametrize(("name", "mode"), [("signing-secret", 0o644), ("reelay.db", 0o640), ("", 0o775)])
def test_settings__files_that_others_may_read_or_change(tmp_path: Path, name: str, mode: int) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    path = data / name
    if name:
        path.touch()
    path.chmod(mode)
    [finding] = examine(ailments.examine)
    assert (finding.level, finding.mend.startswith("chmod ")) == ("warn", True)


async def test_examined__one_check_never_stops_another() -> None:
    async def hangs(_: Settings) -> list[Finding]:
        await asyncio.Event().wait()
        return []

    async def breaks(_: Settings) -> list[Finding]:
        raise ZeroDivisionError("by design")

    async def works(_: Settings) -> list[Finding]:
        return [fine("works", "All is well.")]

    checks = {"hangs": hangs, "breaks": breaks, "works": works}
    found, overdue = await doctor.examined(Settings.load(), checks, seconds=0.05)
    assert [(finding.check, finding.level) for finding in found] == [
        ("hangs", "fail"),
        ("breaks", "fail"),
        ("works", "ok"),
    ]
    assert overdue == {"hangs"}
    assert "ZeroDivisionError: by design" in found[1].message


def test_findings__quote_no_secret_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REELAY_UPSTREAM_API_KEY", "REELAY_SIGNING_SECRET"):
        monkeypatch.setenv(name, f"{CANARY}-{name}")
    said = [f"a library said {CANARY}-{name}" for name in ("REELAY_UPSTREAM_API_KEY", "REELAY_SIGNING_SECRET")]
    said.append("it connects to postgresql://reelay:hunter22@db/reelay")
    found = doctor.without_secrets([failed("x", words, words) for words in said], Settings.load())
    shown = doctor.rendered(found, as_json=False)
    assert CANARY not in shown and "hunter22" not in shown
    assert shown.count("[redacted]") == 2 * len(said)


def test_webhooks__those_that_gave_up_are_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELAY_SIGNING_SECRET", GOOD_SECRET)
    [nothing_yet] = examine(examinations.endpoints)
    assert nothing_yet.level == "ok"
    reelay("migrate", folder=folder)
    database = Database(f"sqlite:///{folder / 'data' / 'reelay.db'}")
    caller, _ = make_caller(database)
    with database.transaction() as conn:
        sealer, now = Sealer(GOOD_SECRET.encode()), database.now(conn)
        url = "https://93.184.216.34/"
        made = [webhooks.create(conn, caller.key, url=url, events=None, sealer=sealer, now=now)[0] for _ in range(3)]
        for hook, reason in zip(made, Disabled, strict=True):
            webhooks.disable(conn, hook.id, reason=reason, now=now)
    database.close()
    found = examine(examinations.endpoints)
    assert [(finding.level, finding.message.split()[0]) for finding in found] == [
        ("warn", made[1].id),
        ("warn", made[2].id),
    ]
    assert [("410" in finding.message, "five days" in finding.message) for finding in found] == [
        (True, False),
        (False, True),
    ]
    monkeypatch.setenv("REELAY_SIGNING_SECRET", GOOD_SECRET[::-1])
    *_, lost = examine(examinations.endpoints)
    assert (lost.level, lost.message.split()[0]) == ("fail", "3")
    monkeypatch.setenv("REELAY_SIGNING_SECRET_PREVIOUS", GOOD_SECRET)
    assert {finding.level for finding in examine(examinations.endpoints)} == {"warn"}
