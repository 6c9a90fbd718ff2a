"""The status of a job, beside LiteLLM's proxy: a recorded status against one that is passed through, each time anew.

LiteLLM's route for videos asks an upstream in OpenAI's shape, which the sandbox is not. So a pass-through endpoint of
its configuration leads to the sandbox's own route. It checks a key, as Reelay does; neither has anything else to do.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx2

from bench import databases, load, memory, read, servers
from bench.figures import Figure, Goal
from bench.plan import Plan
from tests.acceptance.processes import SANDBOX_KEY, sandbox
from tests.tcp import free_port

PROGRAM = Path(os.environ.get("CLIENT_ENVIRONMENTS") or Path(sys.prefix) / "clients") / "proxy" / "bin" / "litellm"
ABSENT = "LiteLLM's proxy is not installed and peer is left out: `make bench BENCH=peer` installs and measures it."
KEY = "sk-bench"
PATH = "/v2/video/generations"
PATIENCE_SECONDS = 120
PEER, OURS = "LiteLLM", "Reelay"
FASTER = Goal(of="ratio", at="least", limit=15)
LIGHTER = Goal(of="ratio", at="most", limit=0.25)
QUIET = {
    "LITELLM_TELEMETRY": "False",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOG": "ERROR",
    "DISABLE_ADMIN_UI": "True",
}
"""It tells nobody anything and fetches nothing: its list of prices is the one that it came with."""


def measure(plan: Plan) -> list[Figure]:
    """Drive one process of each in turn, and weigh both after it."""
    if not PROGRAM.exists():
        print(ABSENT, flush=True)
        return []
    with ExitStack() as running:
        folder = Path(running.enter_context(TemporaryDirectory(prefix="reelay-bench-")))
        upstream = running.enter_context(sandbox(folder, "--speed", "1000"))
        generation = _generated(upstream)
        peer, peer_pid = running.enter_context(_litellm(folder, upstream=upstream))
        path = f"{PATH}?generation_id={generation}"
        _require_sandbox(peer, path, generation=generation)
        asked = load.write(folder / "peer", [load.get(path, key=KEY)])
        url, own = running.enter_context(databases.one_of_each(("SQLite",)))["SQLite"]
        key, [job_id] = read.fill(url, count=1)
        process = servers.reelay_process(own, port=(port := free_port()), database_url=url)
        running.callback(process.close)
        process.start()
        ours = load.write(folder / "ours", [load.get(f"/v1/jobs/{job_id}", key=key)])
        sides = {
            PEER: partial(load.drive, peer, asked, plan=plan),
            OURS: partial(load.drive, f"http://127.0.0.1:{port}", ours, plan=plan),
        }
        found = _rates(load.interleaved(plan, sides))
        return found + _weights(peer_pid, process.pid) if memory.can_be_weighed() else found


def _rates(loads: dict[str, list[load.Load]]) -> list[Figure]:
    rates = {
        side: Figure(name=f"status, {side}", unit="/s", samples=[one.rate for one in rounds], note=load.remark(rounds))
        for side, rounds in loads.items()
    }
    return [rates[PEER], replace(rates[OURS], beside=rates[PEER].samples, goal=FASTER)]


def _weights(peer: int, ours: int) -> list[Figure]:
    """Weigh both, without Reelay's only child, its sandbox: the proxy's upstream is no child of its either."""
    theirs = [memory.of(peer).rss + memory.of_children(peer).rss]
    figure = Figure(name=f"memory after it, {PEER}", unit="MiB", samples=theirs)
    own = [memory.of(ours).rss]
    return [figure, replace(figure, name=f"memory after it, {OURS}", samples=own, beside=theirs, goal=LIGHTER)]


@contextmanager
def _litellm(folder: Path, *, upstream: str) -> Iterator[tuple[str, int]]:
    """Run one worker process of the proxy that passes the status route on; yield its address and process id."""
    port = free_port()
    passed = {
        "path": PATH,
        "target": f"{upstream}{PATH}",
        "methods": ["GET"],
        "headers": {"Authorization": f"Bearer {SANDBOX_KEY}"},
    }
    told = {"model_list": [], "general_settings": {"master_key": KEY, "pass_through_endpoints": [passed]}}
    configuration = folder / "litellm.yaml"
    configuration.write_text(json.dumps(told), "utf-8")  # which YAML is too
    command = [str(PROGRAM), "--config", str(configuration), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--num_workers", "1", "--telemetry", "False"]
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LITELLM_", "PYTHON"))}
    with (folder / "litellm.log").open("wb") as log:
        process = subprocess.Popen(command, env=kept | QUIET, cwd=folder, stdout=log, stderr=log)
    try:
        _wait(process, f"http://127.0.0.1:{port}", log=folder / "litellm.log")
        yield f"http://127.0.0.1:{port}", process.pid
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()


def _wait(process: "subprocess.Popen[bytes]", base: str, *, log: Path) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            httpx2.get(f"{base}/health/liveliness", timeout=5).raise_for_status()
        except httpx2.HTTPError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"LiteLLM did not start:\n{log.read_text('utf-8')[-3000:]}") from None
            time.sleep(0.2)
        else:
            return


def _generated(upstream: str) -> str:
    """Buy a generation of the sandbox, wait for its end, and return its id."""
    headers = {"Authorization": f"Bearer {SANDBOX_KEY}"}
    with httpx2.Client(base_url=upstream, headers=headers, timeout=PATIENCE_SECONDS) as client:
        picture = "https://pictures.example/boat.jpg"
        order = {"model": "veo2/image-to-video", "prompt": "The sailboat drifts on.", "image_url": picture}
        generation: str = client.post(PATH, json=order).raise_for_status().json()["id"]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while client.get(PATH, params={"generation_id": generation}).json()["status"] != "completed":
            if time.monotonic() > deadline:
                raise RuntimeError("the sandbox did not finish its generation")
            time.sleep(0.1)
    return generation


def _require_sandbox(peer: str, path: str, *, generation: str) -> None:
    """Ask once through the proxy: the load means something only if the sandbox answers."""
    answer = httpx2.get(f"{peer}{path}", headers={"Authorization": f"Bearer {KEY}"}, timeout=PATIENCE_SECONDS)
    if answer.status_code != 200 or answer.json().get("id") != generation:
        raise RuntimeError(f"LiteLLM did not reach the sandbox: {answer.status_code} {answer.text[:500]}")
