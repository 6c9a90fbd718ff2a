"""A person before the page: points, clicks, types, and waits to see something."""

import json
from pathlib import Path
from typing import Any

from tests.browser.chromium import Page

PATIENCE_MS = 30_000
KEYS = {"Tab": 9, "Enter": 13, " ": 32, "Escape": 27, "ArrowDown": 40, "ArrowRight": 39, "Home": 36, "End": 35}
TEXTS = {"Enter": "\r", " ": " "}
SEE = """async (patience, seen) => {
  const began = performance.now();
  for (;;) {
    const found = seen();
    if (found) return found;
    if (performance.now() - began > patience) throw new Error(`never seen: ${seen}`);
    await new Promise((turn) => setTimeout(turn, 20));
  }
}"""
PLACE = """async (selector, text) => {
  const all = [...document.querySelectorAll(selector)];
  const found = all.find((one) => one.textContent.includes(text) && one.checkVisibility());
  if (!found) return null;
  found.scrollIntoView({ block: "center", behavior: "instant" });
  await new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)));
  const { x, y, width, height } = found.getBoundingClientRect();
  return [x + width / 2, y + height / 2];
}"""


class Person:
    """Uses a page as people do: with the mouse and the keys that the browser is told of, not with its scripts."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def sees(self, condition: str) -> Any:
        """Wait until an expression of the page is true, and return what it is."""
        return self.page.run(f"() => ({SEE})({PATIENCE_MS}, () => ({condition}))")

    def sees_text(self, text: str, *, within: str = "body") -> None:
        self.sees(f"document.querySelector({json.dumps(within)})?.innerText.includes({json.dumps(text)})")

    def opens(self, address: str, *, key: str) -> None:
        """Open the page in a tab that keeps a key from before."""
        kept = f"sessionStorage.setItem('reelay-key', {json.dumps(key)})"
        self.page.ask("Page.addScriptToEvaluateOnNewDocument", source=kept)
        self.page.open(address)

    def goes_to(self, view: str) -> None:
        """Follow the address of another view, until its heading has the focus and nothing is on its way."""
        self.page.run("(view) => { location.hash = view }", f"#/{view}")
        here = f"decodeURIComponent(location.hash) === {json.dumps(f'#/{view}')}"
        self.sees(f"{here} && document.activeElement.matches('main h1') && !document.querySelector('.bone')")

    def looks(
        self, *, width: int = 1280, height: int = 900, scheme: str = "light", motion: str = "no-preference"
    ) -> None:
        """Take a screen of this size and a device that is set so."""
        self.page.ask(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": motion}
        listed = [{"name": name, "value": value} for name, value in features.items()]
        self.page.ask("Emulation.setEmulatedMedia", features=listed)

    def points_at(self, selector: str, text: str = "") -> tuple[float, float]:
        """Move the mouse there; what is not there yet is waited for."""
        matches = f"one.textContent.includes({json.dumps(text)}) && one.checkVisibility()"
        self.sees(f"[...document.querySelectorAll({json.dumps(selector)})].some((one) => {matches})")
        x, y = self.page.run(PLACE, selector, text)
        self.page.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        return x, y

    def clicks(self, selector: str, text: str = "") -> None:
        x, y = self.points_at(selector, text)
        for kind in ("mousePressed", "mouseReleased"):
            self.page.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def types(self, text: str) -> None:
        self.page.ask("Input.insertText", text=text)

    def presses(self, key: str) -> None:
        code = {" ": "Space"}.get(key, key)
        given: dict[str, Any] = {"key": key, "code": code, "windowsVirtualKeyCode": KEYS[key]}
        if text := TEXTS.get(key):
            given["text"] = text
        self.page.ask("Input.dispatchKeyEvent", type="keyDown", **given)
        self.page.ask("Input.dispatchKeyEvent", type="keyUp", **given)

    def pastes(self) -> None:
        """Press Ctrl-V."""
        given = {"key": "v", "code": "KeyV", "modifiers": 2, "windowsVirtualKeyCode": 86}
        self.page.ask("Input.dispatchKeyEvent", type="keyDown", commands=["paste"], **given)
        self.page.ask("Input.dispatchKeyEvent", type="keyUp", **given)

    def drops(self, file: Path, selector: str) -> None:
        """Drag a file of the device onto something, and let go."""
        x, y = self.points_at(selector)
        data = {"items": [], "files": [str(file)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.page.ask("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def tabs_to(self, selector: str) -> None:
        """Press Tab until the focus is there, as often as a patient person would."""
        for _ in range(40):
            self.presses("Tab")
            if self.page.run(f"() => document.activeElement.matches({json.dumps(selector)})"):
                return
        raise AssertionError(f"the focus never came to {selector}")

    def fills(self, selector: str, text: str) -> None:
        """Write this into a field, in place of what stands there."""
        self.empties(selector)
        self.types(text)

    def empties(self, selector: str) -> None:
        """Mark all that stands in a field, and delete it."""
        self.clicks(selector)
        self.page.run(f"() => document.querySelector({json.dumps(selector)}).select()")
        self.page.ask("Input.dispatchKeyEvent", type="keyDown", key="Delete", windowsVirtualKeyCode=46)
