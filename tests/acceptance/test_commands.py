"""The command as operators meet it: refusals in one line, keys once, and an end in order."""

import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from app.cli.demo import MODEL
from app.db import deployment, durations
from app.db.engine import Database
from tests import forks
from tests.acceptance.processes import Deployment, Process, clean_environment, ledger, sandbox
from tests.canary import UPSTREAM_KEY
from tests.tcp import free_port

JOB = {"model": "veo2", "input": {"prompt": "A boat"}}


def reelay(*arguments: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command that is expected to end by itself."""
    settings = {"REELAY_DATA_DIR": str(folder / "data")} | environment
    return forks.run("app.cli", *arguments, environment=clean_environment(settings), timeout=90)


def complaint(done: subprocess.CompletedProcess[str]) -> str:
    """Return the one line with which it refused."""
    assert done.returncode == 2, done.stderr
    [line] = done.stderr.strip().splitlines()
    assert line.startswith("reelay: ")
    return line


@pytest.fixture
def house(folder: Path) -> Iterator[Deployment]:
    deployment = Deployment(folder, upstream_url="http://127.0.0.1:9", database_url=None)
    yield deployment
    deployment.close()


def test_serve__names_the_missing_key(folder: Path) -> None:
    assert "REELAY_UPSTREAM_API_KEY" in complaint(reelay("serve", "--port", "0", folder=folder))


def test_serve__names_a_setting_that_is_wrong(folder: Path) -> None:
    done = reelay("serve", "--port", "0", folder=folder, REELAY_LEASE_SECONDS="soon")
    assert "REELAY_LEASE_SECONDS" in complaint(done)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("REELAY_DATABASE_URL", "postgresql://user:pa:ss@host:port/x"),
        ("REELAY_STORAGE_URL", "ftp://videos"),
        ("REELAY_TRUSTED_HOSTS", "nowhere"),
        ("REELAY_UPSTREAM_API_KEY", "two words"),
        ("REELAY_SIGNING_SECRET", "changeme"),
    ],
)
def test_serve__names_what_cannot_be_used(folder: Path, name: str, value: str) -> None:
    environment = {"REELAY_UPSTREAM_API_KEY": "k" * 20} | {name: value}
    assert name in complaint(reelay("serve", "--port", "0", folder=folder, **environment))


def test_serve__refuses_to_simulate_with_a_real_key(folder: Path) -> None:
    done = reelay("serve", "--sandbox", "--port", "0", folder=folder, AIML_API_KEY="k" * 20)
    assert "--sandbox" in complaint(done)


@pytest.mark.parametrize("command", [["worker"], ["serve", "--no-worker", "--port", "0"]])
def test_serve__several_processes_need_postgres(folder: Path, command: list[str]) -> None:
    done = reelay(*command, folder=folder, REELAY_UPSTREAM_API_KEY="k" * 20)
    assert "Postgres" in complaint(done)


@pytest.mark.parametrize(
    ("host", "silent_seconds", "status", "says"),
    [
        (socket.gethostname(), 10, 0, "lives"),
        (socket.gethostname(), 300, 1, "last heard"),
        ("another-host", 10, 1, "silent"),
    ],
)
def test_worker_check__tells_whether_the_worker_of_this_host_speaks(
    folder: Path, host: str, silent_seconds: float, status: int, says: str
) -> None:
    assert reelay("migrate", folder=folder).returncode == 0
    db = Database(f"sqlite:///{folder / 'data' / 'reelay.db'}")
    with db.transaction() as conn:
        deployment.beat(conn, f"{host}:1:abc", now=db.now(conn) - timedelta(seconds=silent_seconds))
    db.close()
    done = reelay("worker", "--check", folder=folder)
    assert (done.returncode, says in done.stdout) == (status, True), done.stdout + done.stderr


def test_worker_check__a_database_that_is_away_is_no_fault_of_the_worker(folder: Path) -> None:
    url = f"postgresql://reelay@127.0.0.1:{free_port()}/reelay"
    done = reelay("worker", "--check", folder=folder, REELAY_DATABASE_URL=url)
    assert (done.returncode, "Nothing is known" in done.stdout) == (0, True), done.stdout + done.stderr


def test_serve__a_second_process_and_a_taken_port_are_refused(house: Deployment) -> None:
    _, base = house.serve()
    port = base.rpartition(":")[2]
    key = house.environment["REELAY_UPSTREAM_API_KEY"]
    taken = complaint(reelay("serve", "--port", port, folder=house.folder, REELAY_UPSTREAM_API_KEY=key))
    assert "--port" in taken
    second = complaint(reelay("serve", "--port", "0", folder=house.folder, REELAY_UPSTREAM_API_KEY=key))
    assert "another Reelay process" in second


def test_serve__sandbox_and_real_jobs_never_share_a_database(house: Deployment) -> None:
    house.serve()[0].stop()
    done = reelay("serve", "--sandbox", "--port", "0", folder=house.folder)
    assert "made for real jobs" in complaint(done)


def test_development_key__exists_only_on_loopback(folder: Path) -> None:
    port = free_port()
    command = ["app.cli", "serve", "--sandbox", "--port", str(port)]
    environment = {"REELAY_DATA_DIR": str(folder / "data")}
    private = Process(command, log=folder / "a.log", ready="Development key: ", environment=environment)
    public = Process(
        [*command, "--host", "0.0.0.0"],  # that is the point
        log=folder / "b.log",
        ready="Reelay listens on",
        environment=environment,
    )
    try:
        private.start()
        key = private.said().split("Development key: ")[1].split()[0]
        headers = {"Authorization": f"Bearer {key}"}
        assert httpx2.get(f"http://127.0.0.1:{port}/v1/jobs", headers=headers).status_code == 200
        private.stop()
        public.start()
        assert "Development key" not in public.said()
        assert httpx2.get(f"http://127.0.0.1:{port}/v1/jobs", headers=headers).status_code == 401
        assert not (folder / "data" / "development-key").exists()
    finally:
        private.close()
        public.close()


def test_keys__are_shown_once_scoped_and_end_within_five_seconds(house: Deployment) -> None:
    _, base = house.serve()
    key = house.new_key(scopes="jobs:read", expires="30d")
    headers = {"Authorization": f"Bearer {key}"}
    assert httpx2.get(f"{base}/v1/jobs", headers=headers).status_code == 200
    assert httpx2.post(f"{base}/v1/jobs", headers=headers, json=JOB).status_code == 403
    [listed] = json.loads(house.run("keys", "list", "--project", "film", "--json"))
    assert key not in json.dumps(listed)
    assert (listed["scopes"], listed["revoked_at"]) == (["jobs:read"], None)
    house.run("keys", "revoke", listed["id"])
    deadline = time.monotonic() + 6
    while httpx2.get(f"{base}/v1/jobs", headers=headers).status_code != 401:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_revoke_and_archive__cancel_what_is_queued(house: Deployment) -> None:
    """Submissions are paused, so that every job waits in the queue."""
    _, base = house.serve()
    house.run("upstream", "pause")
    keys = [house.new_key(project) for project in ("film", "film", "news")]
    clients = [httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {key}"}) for key in keys]
    made = [client.post("/v1/jobs", json=JOB).json()["id"] for client in clients]
    token = clients[0].post("/v1/tokens").json()["token"]
    with httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}) as page:
        made.append(page.post("/v1/jobs", json=JOB).json()["id"])
    listed = json.loads(house.run("keys", "list", "--project", "film", "--json"))
    revoked = json.loads(house.run("keys", "revoke", listed[0]["id"], "--cancel-queued", "--json"))
    archived = json.loads(house.run("projects", "archive", "news", "--json"))
    assert (revoked["canceled_jobs"], archived["canceled_jobs"]) == (2, 1)
    for reader, job, status in ((1, 0, "canceled"), (1, 3, "canceled"), (2, 2, "canceled"), (1, 1, "queued")):
        assert clients[reader].get(f"/v1/jobs/{made[job]}").json()["status"] == status
    refused = clients[2].post("/v1/jobs", json=JOB)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "project_archived")
    for client in clients:
        client.close()


def test_serve__lets_listed_pages_in(house: Deployment) -> None:
    house.environment["REELAY_CORS_ORIGINS"] = "https://app.example"
    _, base = house.serve()
    for origin, allowed in (("https://app.example", "https://app.example"), ("https://evil.example", None)):
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        answer = httpx2.options(f"{base}/v1/jobs", headers=asked)
        assert answer.headers.get("access-control-allow-origin") == allowed


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["projects", "archive", "nowhere"], "no project named"),
        (["keys", "create", "--project", "nowhere", "--name", "x"], "no project named"),
        (["keys", "revoke", "key_nothing"], "no key"),
    ],
)
def test_keys__what_is_not_there_is_said(folder: Path, arguments: list[str], says: str) -> None:
    done = reelay(*arguments, folder=folder)
    assert (done.returncode, says in done.stderr) == (1, True)


@pytest.mark.parametrize("flag", [["--scopes", "jobs:fly"], ["--expires", "soon"], ["--expires", "0d"]])
def test_keys__refuse_what_makes_no_sense(folder: Path, flag: list[str]) -> None:
    assert reelay("projects", "create", "film", folder=folder).returncode == 0
    done = reelay("keys", "create", "--project", "film", "--name", "x", *flag, folder=folder)
    assert flag[0] in complaint(done)


def test_stop__a_waiting_caller_is_answered_and_the_process_ends(house: Deployment) -> None:
    process, base = house.serve()
    headers = {"Authorization": f"Bearer {house.new_key()}"}
    job = httpx2.post(f"{base}/v1/jobs", headers=headers, json=JOB).json()["id"]
    answers: list[int] = []

    def wait() -> None:
        answers.append(httpx2.get(f"{base}/v1/jobs/{job}?wait=60", headers=headers, timeout=70).status_code)

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.5)
    assert process.stop() < 5
    waiting.join(timeout=5)
    assert answers == [200]


def test_stop__live_readers_are_let_go_at_once(house: Deployment) -> None:
    process, base = house.serve()
    headers = {"Authorization": f"Bearer {house.new_key()}", "Accept": "text/event-stream"}
    with ExitStack() as stack:
        client = stack.enter_context(httpx2.Client(base_url=base, headers=headers, timeout=30))
        job = client.post("/v1/jobs", json=JOB).json()["id"]
        paths = ["/v1/events", f"/v1/jobs/{job}/events"] * 25
        streams = [stack.enter_context(client.stream("GET", path)) for path in paths]
        readers = [stream.iter_bytes() for stream in streams]
        assert all(next(reader).startswith(b"retry:") for reader in readers)
        assert process.stop() < 5
        for reader in readers:
            for _ in reader:  # ended in order: a connection that was cut would raise
                pass


def test_demo__with_real_money_asks_for_consent(folder: Path) -> None:
    with sandbox(folder, "--speed", "40") as upstream:
        real = {"REELAY_UPSTREAM_URL": upstream, "REELAY_UPSTREAM_API_KEY": UPSTREAM_KEY}
        out = str(folder / "out.mp4")
        refused = reelay("demo", "--real", "--out", out, folder=folder, **real, REELAY_ACCEPT_COST_USD="2.49")
        assert "2.50 USD" in complaint(refused)
        assert ledger(upstream)["count"] == 0
        expect_a_second(f"sqlite:///{folder}/data/demo-real/reelay.db")
        bought = reelay("demo", "--real", "--out", out, folder=folder, **real, REELAY_ACCEPT_COST_USD="2.50")
        assert bought.returncode == 0, bought.stderr
        assert "Page:" not in bought.stdout, "nobody stays to serve it"
        assert ledger(upstream)["count"] == 1
        assert (folder / "out.mp4").stat().st_size > 1000


def expect_a_second(database_url: str) -> None:
    """Let the service have learned that videos take a second here: the first look at one comes soon."""
    database = Database(database_url)
    with database.transaction() as conn:
        durations.observe_all(conn, [(MODEL, {"duration": 5}, 1.0)] * 20)
    database.close()


@pytest.mark.parametrize("command", [["projects", "list"], ["keys", "list"], ["migrate"], ["serve", "--port", "0"]])
def test_commands__a_data_folder_that_cannot_be_used_is_one_line(folder: Path, command: list[str]) -> None:
    (folder / "data").write_text("a file where the folder should be")
    line = complaint(reelay(*command, folder=folder, REELAY_UPSTREAM_API_KEY="k" * 20))
    assert line.startswith(f"reelay: REELAY_DATA_DIR: {folder / 'data'}")


def test_serve__says_that_the_real_upstream_costs_money(house: Deployment) -> None:
    process, _ = house.serve()
    assert "Real upstream http://127.0.0.1:9: jobs cost money.\n" in process.said()


def test_serve__a_simulation_says_no_word_of_money_spent(folder: Path) -> None:
    command = ["app.cli", "serve", "--sandbox", "--port", "0"]
    environment = {"REELAY_DATA_DIR": str(folder / "data")}
    process = Process(command, log=folder / "a.log", ready="Development key: ", environment=environment)
    try:
        process.start()
        assert "Real upstream" not in process.said()
    finally:
        process.close()
