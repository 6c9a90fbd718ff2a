"""A sandboxed Reelay, the pages of two other origins, one of which it lists, and a browser to visit them all."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from app.db.engine import Connection, Database
from tests.acceptance.processes import Process, clean_environment
from tests.browser.chromium import Chromium, Page
from tests.browser.person import Person
from tests.browser.sites import Site, open_site
from tests.tcp import free_port

OURS = "asked-by-the-tests"
LOAD_FOREIGN = """(src) => new Promise((tell) => {
  const image = new Image();
  image.onload = image.onerror = ({ type }) => tell(type);
  image.src = src;
})"""
REFUSED = "Failed to load resource: the server responded with a status of 4"
"""What Chromium notes of an answer that refuses something, which is no fault of a page."""


class Reelay:
    """A service with pages of other origins around it, and what it says of their requests."""

    def __init__(self, process: Process, base: str, key: str, environment: dict[str, str]) -> None:
        self.base, self.key = base, key
        self._process, self._environment = process, environment
        headers = {"Authorization": f"Bearer {key}", "X-Request-Id": OURS}
        self.client = httpx2.Client(base_url=base, headers=headers, timeout=60)
        self.run("projects", "limit", "development", "--requests-per-minute", "600")

    @contextmanager
    def database(self) -> Iterator[Connection]:
        """A transaction on the service's own database, for what no request brings about."""
        opened = Database(f"sqlite:///{self._environment['REELAY_DATA_DIR']}/reelay.db")
        with closing(opened), opened.transaction() as conn:
            yield conn

    def run(self, *arguments: str) -> str:
        """Run a short command beside it and return what it printed."""
        command = [sys.executable, "-m", "app.cli", *arguments]
        environment = clean_environment(self._environment)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = self.client.post(path, json=body).raise_for_status().json()
        return made

    def mint(self, **wishes: Any) -> str:
        token: str = self.post("/v1/tokens", wishes)["token"]
        return token

    def jobs(self) -> list[str]:
        """Return the ids of all jobs, those of every subject."""
        return [
            job["id"] for job in self.client.get("/v1/jobs", params={"limit": 100}).raise_for_status().json()["data"]
        ]

    def served(self) -> list[tuple[str, str, int]]:
        """Return method, path and status of every request of a page that it has answered."""
        lines = [json.loads(line) for line in self._process.said().splitlines() if '"request_served"' in line]
        return [(line["method"], line["path"], line["status"]) for line in lines if line["request_id"] != OURS]


@pytest.fixture(scope="session")
def shop() -> Iterator[Site]:
    """The origin that Reelay lists."""
    with open_site("shop") as site:
        yield site


@pytest.fixture(scope="session")
def stranger() -> Iterator[Site]:
    """An origin that Reelay does not list."""
    with open_site("stranger") as site:
        yield site


@contextmanager
def open_reelay(folder: Path, *, origins: str = "") -> Iterator[Reelay]:
    """Serve with the sandbox, thirty times as fast as the real upstream, until the block ends."""
    port = free_port()
    command = ["app.cli", "serve", "--sandbox", "--sandbox-speed", "30", "--port", str(port)]
    environment = {"REELAY_DATA_DIR": str(folder / "data"), "REELAY_CORS_ORIGINS": origins}
    process = Process(command, log=folder / "serve.log", ready="Development key: ", environment=environment)
    try:
        process.start()
        key = process.said().split("Development key: ")[1].split()[0]
        service = Reelay(process, f"http://127.0.0.1:{port}", key, environment)
        with service.client:
            yield service
        process.stop()
    finally:
        process.close()


@pytest.fixture(scope="session")
def reelay(shop: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reelay]:
    with open_reelay(tmp_path_factory.mktemp("reelay"), origins=shop.origin) as service:
        yield service


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    browser = Chromium(tmp_path_factory.mktemp("chromium") / "profile")
    yield browser
    browser.close()


@pytest.fixture
def page(chromium: Chromium) -> Iterator[Page]:
    with chromium.page() as opened:
        yield opened


@pytest.fixture
def shop_page(page: Page, shop: Site) -> Page:
    page.open(f"{shop.origin}/visit.html")
    return page


@pytest.fixture
def strange_page(page: Page, stranger: Site) -> Page:
    page.open(f"{stranger.origin}/visit.html")
    return page


@pytest.fixture
def own_page(page: Page, reelay: Reelay, shop: Site) -> Iterator[Page]:
    """Check afterwards that a page asked nobody else, complained of nothing, and would have complained."""
    yield page
    assert {url for url in page.requested() if not url.startswith((f"{reelay.base}/", "blob:", "data:"))} == set()
    assert [text for text in page.complaints() if not text.startswith(REFUSED)] == []
    assert reelay.key not in str(page.requested())
    assert page.run(LOAD_FOREIGN, f"{shop.origin}/sample.jpg") == "error"
    assert [text for text in page.complaints() if "Content Security Policy" in text]
    assert page.run("() => { try { return eval('1') } catch (error) { return error.name } }") == "EvalError"


@pytest.fixture
def person(own_page: Page) -> Person:
    """Somebody before the page, on a usual screen."""
    somebody = Person(own_page)
    somebody.looks()
    return somebody


@pytest.fixture
def insider(person: Person, reelay: Reelay) -> Person:
    """Somebody whose tab holds the key, in the playground."""
    person.opens(f"{reelay.base}/", key=reelay.key)
    person.sees("document.querySelector('#make')")
    return person
