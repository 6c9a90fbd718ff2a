"""Reelay's own pages, in a browser: they work, and what their policy forbids they never try."""

from collections.abc import Iterator

import pytest

from tests.browser.chromium import Page
from tests.browser.conftest import Reelay
from tests.browser.sites import Site

SIGN_IN = """(key) => {
  document.getElementById("key").value = key;
  document.querySelector("#sign-in button").click();
}"""
MAKE = """async () => {
  await until(() => document.querySelector("#pictures img"));
  document.getElementById("prompt").value = "The sailboat drifts on.";
  document.getElementById("make").click();
  const video = document.getElementById("video");
  const refused = () => document.querySelector("#form .error:not([hidden])")?.textContent;
  await until(() => video.readyState >= 2 || refused());
  if (refused()) throw new Error(refused());
  video.muted = true;
  await video.play();
  await until(() => video.currentTime > 0.2);
  return [video.duration, video.videoWidth, video.videoHeight];
}"""
LOAD_FOREIGN = """(src) => new Promise((tell) => {
  const image = new Image();
  image.onload = image.onerror = ({ type }) => tell(type);
  image.src = src;
})"""
UNTIL = """() => {
  globalThis.until = async (ready) => {
    while (!ready()) await new Promise((turn) => requestAnimationFrame(turn));
  };
}"""


@pytest.fixture
def own_page(page: Page, reelay: Reelay, shop: Site) -> Iterator[Page]:
    """Check afterwards that a page asked nobody else, complained of nothing, and would have complained."""
    yield page
    assert {url for url in page.requested() if not url.startswith((f"{reelay.base}/", "blob:", "data:"))} == set()
    assert page.complaints() == []
    assert page.run(LOAD_FOREIGN, f"{shop.origin}/sample.jpg") == "error"
    assert [text for text in page.complaints() if "Content Security Policy" in text]
    assert page.run("() => { try { return eval('1') } catch (error) { return error.name } }") == "EvalError"


def test_first_page__takes_a_key_makes_a_video_and_plays_it(own_page: Page, reelay: Reelay) -> None:
    own_page.open(f"{reelay.base}/")
    own_page.run(UNTIL)
    before = reelay.jobs()
    own_page.run(SIGN_IN, reelay.key)
    seconds, *size = own_page.run(MAKE)
    assert (round(seconds), size) == (5, [1280, 720])
    assert len(reelay.jobs()) == len(before) + 1
    assert own_page.run("() => document.getElementById('job-title').textContent") == "Ready"
    assert reelay.key not in str(own_page.requested())


def test_first_page__says_that_a_key_does_not_work(page: Page, reelay: Reelay) -> None:
    page.open(f"{reelay.base}/")
    page.run(UNTIL)
    page.run(SIGN_IN, f"{reelay.key[:-1]}x")
    said = page.run(
        """async () => {
          const place = document.getElementById("key-error");
          await until(() => !place.hidden);
          return place.textContent;
        }"""
    )
    assert said.startswith("This key does not work")


def test_docs__show_every_route(own_page: Page, reelay: Reelay) -> None:
    own_page.open(f"{reelay.base}/docs")
    own_page.run(UNTIL)
    paths = reelay.client.get("/openapi.json").json()["paths"]
    wanted = sorted(f"{method.upper()} {path}" for path, methods in paths.items() for method in methods)
    shown = own_page.run(
        """async (count) => {
          const titles = () => [...document.querySelectorAll("#routes h3")];
          await until(() => titles().length >= count);
          return titles().map((title) => title.innerText);
        }""",
        len(wanted),
    )
    assert sorted(shown) == wanted
    opened = own_page.run(
        """() => {
          for (const details of document.querySelectorAll("details")) details.open = true;
          return new Promise((drawn) => setTimeout(() => drawn(document.querySelectorAll("details pre").length)));
        }"""
    )
    assert opened > len(wanted)
