"""The API's reference at /docs, in a browser."""

from tests.browser.chromium import Page
from tests.browser.conftest import Reelay


def test_docs__show_every_route(own_page: Page, reelay: Reelay) -> None:
    own_page.open(f"{reelay.base}/docs")
    paths = reelay.client.get("/openapi.json").json()["paths"]
    wanted = sorted(f"{method.upper()} {path}" for path, methods in paths.items() for method in methods)
    shown = own_page.run(
        """async (count) => {
          const titles = () => [...document.querySelectorAll("#routes h3")];
          while (titles().length < count) await new Promise((turn) => requestAnimationFrame(turn));
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
