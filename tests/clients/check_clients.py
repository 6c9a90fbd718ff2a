"""Clients that people already have, unmodified, against a sandboxed service (`make test-clients`).

Not among the tests of `make test`: they need the newest releases of what they show, whatever that is today.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.acceptance.processes import Server, clean_environment

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = Path(os.environ["CLIENT_ENVIRONMENTS"])
SCRIPTS = Path(__file__).with_name("scripts")


def block(label: str) -> str:
    """Return the page's block with this label."""
    page = (ROOT / "docs" / "clients.md").read_text("utf-8")
    [found] = re.findall(rf"^```python {label}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return found


def printed(script: str, *, environment: str, server: Server, folder: Path) -> list[str]:
    """Run the script in the environment, in a folder that looks like the project's; return the lines it printed."""
    (folder / "app").symlink_to(ROOT / "app")
    (folder / "script.py").write_text(script, "utf-8")
    # LiteLLM would fetch its list of prices from the internet.
    given = {"KEY": server.key, "REELAY": f"http://{server.address}", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(
        [ENVIRONMENTS / environment / "bin" / "python", "script.py"],
        cwd=folder,
        env=clean_environment(given),
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    assert done.returncode == 0, f"after {done.stdout!r}: {done.stderr}"
    return done.stdout.splitlines()


@pytest.mark.parametrize("environment", ["openai2", "openai3"])
def test_openai__the_page_works_as_it_stands(environment: str, server: Server, tmp_path: Path) -> None:
    lines = printed(block("openai"), environment=environment, server=server, folder=tmp_path)
    assert lines == ["completed 6 1280x720", "True", "invalid_input seconds", "True", "Google"]
    assert (tmp_path / "video.mp4").read_bytes()[4:8] == b"ftyp"
    assert (tmp_path / "poster.jpg").read_bytes()[:2] == b"\xff\xd8"


@pytest.mark.parametrize("environment", ["openai2", "openai3"])
def test_openai__every_call_and_error(environment: str, server: Server, tmp_path: Path) -> None:
    script = (SCRIPTS / "openai_calls.py").read_text("utf-8")
    lines = printed(script, environment=environment, server=server, folder=tmp_path)
    assert lines[-1] == "all done"
    assert lines[0].startswith(f"openai {environment.removeprefix('openai')}.")


def test_litellm__the_page_works_as_it_stands(server: Server, tmp_path: Path) -> None:
    lines = printed(block("litellm"), environment="litellm", server=server, folder=tmp_path)
    assert lines == ["completed"]
    assert (tmp_path / "video.mp4").read_bytes()[4:8] == b"ftyp"


def test_aimlapi__the_page_works_as_it_stands(server: Server, tmp_path: Path) -> None:
    lines = printed(block("aimlapi"), environment="requests", server=server, folder=tmp_path)
    assert lines == ["completed video/mp4 5000000"] * 2


def test_aimlapi__every_vendor_s_path(server: Server, tmp_path: Path) -> None:
    vendors = ("google", "kling", "minimax", "bytedance", "alibaba", "pixverse", "runway")
    loop = f'for path in [f"/generate/video/{{vendor}}/generation" for vendor in {vendors}]:'
    script = re.sub(r"^for path in .*:$", loop, block("aimlapi"), flags=re.MULTILINE)
    lines = printed(script, environment="requests", server=server, folder=tmp_path)
    assert lines == ["completed video/mp4 5000000"] * 7
