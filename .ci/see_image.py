"""Runs the image as docker-compose.yml does: does it do its work, is it locked down, does it stop in order?"""

import argparse
import io
import json
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import httpx2

ROOT = Path(__file__).parents[1]
SMALL_ENOUGH_MB = 400
WAIT_SECONDS = 90.0
POST_SECONDS = 14
"""Longer than the ten seconds that Docker gives a container by itself."""
UPSTREAM_KEY = "key-of-the-simulated-upstream"
UPSTREAM = {
    "services": {
        "upstream": {
            "image": "${REELAY_IMAGE}",
            "entrypoint": ["/usr/bin/tini", "--", "python", "-m", "app.sandbox"],
            "command": f"--host 0.0.0.0 --port 9000 --data-dir /data --speed 60 --tiny --key {UPSTREAM_KEY}",
            "healthcheck": {"disable": True},
        },
        "worker": {"environment": {"REELAY_UPSTREAM_URL": "http://upstream:9000"}, "healthcheck": {"interval": "3s"}},
        "api": {"healthcheck": {"interval": "2s"}},
        "sandbox": {"healthcheck": {"interval": "2s"}},
    }
}
LOOK_INSIDE = """
import json, os, pathlib
status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
def writable(folder):
    try:
        (pathlib.Path(folder) / "probe").write_text("")
        return True
    except OSError:
        return False
print(json.dumps({
    "uid": os.getuid(), "capabilities": int(status["CapEff"], 16), "no_new_privileges": status["NoNewPrivs"].strip(),
    "writable": [folder for folder in ("/", "/opt/reelay", "/etc", "/data", "/tmp") if writable(folder)],
    "first": pathlib.Path("/proc/1/comm").read_text().strip(),
}))
"""


class Compose:
    """One project of docker compose in a folder of its own, with the repository's file and fresh secrets."""

    def __init__(self, command: list[str], *, folder: Path, port: int) -> None:
        self._folder, self._command = folder, [*command, "-f", "docker-compose.yml", "-f", "upstream.json"]
        self._environment = os.environ | {"REELAY_PORT": str(port), "COMPOSE_PROJECT_NAME": f"reelay-{folder.name}"}
        self.base = f"http://127.0.0.1:{port}"
        shutil.copy(ROOT / "docker-compose.yml", folder)
        shutil.copy(ROOT / ".env.example", folder / ".env")
        (folder / "upstream.json").write_text(json.dumps(UPSTREAM))

    def give_secrets(self) -> None:
        """Make them as docs/deploy.md says."""
        password = secrets.token_hex(24)
        (self._folder / "secrets").mkdir(mode=0o700)
        for name, value in {
            "signing_secret": secrets.token_hex(32),
            "postgres_password": password,
            "database_url": f"postgresql://reelay:{password}@postgres/reelay",
            "upstream_api_key": UPSTREAM_KEY,
        }.items():
            path = self._folder / "secrets" / name
            path.write_text(value + "\n")
            path.chmod(0o644)

    def run(self, *arguments: str, fails: bool = False) -> str:
        """Return what the command printed; it must end well, or badly where that is expected."""
        done = subprocess.run(
            [*self._command, *arguments],
            cwd=self._folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if (done.returncode != 0) is not fails:
            raise AssertionError(f"docker compose {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stderr if fails else done.stdout

    def inside(self, service: str, *command: str) -> str:
        return self.run("exec", "-T", service, *command)

    def states(self) -> dict[str, dict[str, Any]]:
        lines = self.run("ps", "--all", "--format", "json").splitlines()
        return {state["Service"]: state for state in map(json.loads, lines)}

    def until_healthy(self, *services: str) -> None:
        def healthy() -> bool:
            states = self.states()
            return all(states[service]["Health"] == "healthy" for service in services)

        try:
            until(healthy, f"{services} healthy")
        except AssertionError:
            print(self.run("logs", "--tail", "50", *services))
            raise

    def stop(self, service: str) -> float:
        """Stop the service, which must end with status 0, and return the seconds that it took."""
        started = time.monotonic()
        self.run("stop", service)
        seconds = time.monotonic() - started
        state = self.states()[service]
        assert state["ExitCode"] == 0, f"{service} ended with {state['ExitCode']}:\n{self.run('logs', service)}"
        assert "Reelay has stopped." in self.run("logs", service)
        return seconds

    def client(self, service: str) -> httpx2.Client:
        """Return a client with a key of a fresh project, both made as docs/deploy.md says."""
        self.inside(service, "reelay", "projects", "create", "film")
        made = self.inside(service, "reelay", "keys", "create", "--project", "film", "--name", "laptop", "--json")
        headers = {"Authorization": f"Bearer {json.loads(made)['key']}"}
        return httpx2.Client(base_url=self.base, headers=headers, timeout=WAIT_SECONDS)

    def close(self) -> None:
        self.run("--profile", "*", "down", "--volumes", "--timeout", "1")


def until(true: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not true():
        assert time.monotonic() < deadline, f"not {what} within {WAIT_SECONDS:.0f} s"
        time.sleep(0.3)


def see_image(name: str) -> None:
    [found] = json.loads(subprocess.run(["docker", "inspect", name], check=True, capture_output=True, text=True).stdout)
    config, megabytes = found["Config"], found["Size"] / 1e6
    assert config["User"] == "10001:10001", config["User"]
    assert config["Labels"]["org.opencontainers.image.licenses"] == "MIT"
    assert megabytes < SMALL_ENOUGH_MB, f"{megabytes:.0f} MB"
    print(f"The image: {megabytes:.0f} MB, user {config['User']}.")


def see_cage(compose: Compose, service: str) -> None:
    seen = json.loads(compose.inside(service, "python", "-c", LOOK_INSIDE))
    caged = {"uid": 10001, "capabilities": 0, "no_new_privileges": "1", "writable": ["/data", "/tmp"], "first": "tini"}
    assert seen == caged, seen
    print(f"{service}: {seen}")


def make_video(client: httpx2.Client, *, prompt: str = "The sailboat drifts on.") -> dict[str, Any]:
    """Order a video with an upload, wait for it, fetch it by its signed link, and decode it."""
    picture = (ROOT / "app/web/sample.jpg").read_bytes()
    created = client.post("/v1/jobs", data={"prompt": prompt}, files={"image": ("boat.jpg", picture)})
    created.raise_for_status()
    job: dict[str, Any] = client.get(f"/v1/jobs/{created.json()['id']}", params={"wait": 60}).raise_for_status().json()
    assert job["status"] == "succeeded", job
    watch(job)
    return job


def watch(job: dict[str, Any]) -> None:
    content = httpx2.get(job["video"]["url"]).raise_for_status().content
    with av.open(io.BytesIO(content)) as film:
        frames = sum(1 for _ in film.decode(film.streams.video[0]))
    assert frames > 0
    print(f"A video of {len(content)} bytes and {frames} frames, {job['cost']['charged_usd']} USD.")


def see_sandbox(compose: Compose) -> None:
    """One container, no secrets, nothing beside it."""
    compose.run("up", "--detach", "sandbox")
    compose.until_healthy("sandbox")
    see_cage(compose, "sandbox")
    with compose.client("sandbox") as client:
        make_video(client)
    print(f"sandbox: stopped in {compose.stop('sandbox'):.1f} s.")


def see_missing_secrets(compose: Compose) -> None:
    said = compose.run("up", "--detach", "postgres", fails=True)
    assert "secrets/postgres_password" in said, said
    print("Without secrets the start fails and names the file.")


def see_production(compose: Compose) -> None:
    compose.run("up", "--detach", "postgres", "migrate", "api", "worker", "upstream")
    compose.until_healthy("postgres", "api", "worker")
    for service in ("api", "worker"):
        see_cage(compose, service)
    with compose.client("api") as client:
        make_video(client)
        see_stop_with_post_in_flight(compose, client)
    compose.stop("api")


def see_stop_with_post_in_flight(compose: Compose, client: httpx2.Client) -> None:
    """A worker that is stopped while a paid request is under way waits for its answer, and nothing is bought twice."""
    body = {"input": {"prompt": f"[[fault:hang-after={POST_SECONDS}]]", "image_url": "https://example.com/boat.jpg"}}
    job = client.post("/v1/jobs", json=body).raise_for_status().json()["id"]

    def shown() -> dict[str, Any]:
        found: dict[str, Any] = client.get(f"/v1/jobs/{job}").raise_for_status().json()
        return found

    until(lambda: shown()["state"] == "submitting", "submitting")
    took = compose.stop("worker")
    assert took > POST_SECONDS / 2, f"the worker was gone after {took:.1f} s, before its answer"
    assert shown()["state"] == "generating", shown()
    print(f"worker: stopped in {took:.1f} s, with the answer of its paid request.")
    compose.run("up", "--detach", "worker")
    until(lambda: shown()["status"] == "succeeded", "succeeded")
    assert shown()["attempts"] == 1
    watch(shown())
    compose.stop("worker")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--compose", required=True, help="the command, such as 'docker compose'")
    options.add_argument("--image", required=True)
    given = options.parse_args()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    see_image(given.image)
    with tempfile.TemporaryDirectory(prefix="check") as folder:
        compose = Compose(given.compose.split(), folder=Path(folder), port=port)
        try:
            see_missing_secrets(compose)
            see_sandbox(compose)
            compose.give_secrets()
            see_production(compose)
        finally:
            compose.close()
    print("The image works.")


if __name__ == "__main__":
    main()
