"""A headless Chromium, spoken to over the DevTools protocol on a pair of pipes: JSON messages, a NUL after each."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PATIENCE_SECONDS = 90
# Google's own build comes first: it always plays H.264, which some builds of Chromium can't. Debian's can.
NAMES = ("google-chrome", "google-chrome-stable", "chromium", "chromium-browser")
# It wants the pipes as its files 3 and 4.
HAND_OVER = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); os.execv(sys.argv[3], sys.argv[3:])"
)
FLAGS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # root may not run it otherwise, nor may many containers; all it opens is our own
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--mute-audio",
    "--no-first-run",
    "--no-default-browser-check",
)


class NoBrowser(Exception):
    """There is no browser to drive; the message says what to install."""


def program() -> str:
    """Return the browser to drive: `CHROMIUM`, or the first that is installed. Raises NoBrowser."""
    named = os.environ.get("CHROMIUM")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        missing = f"CHROMIUM={named} is no program" if named else "no Chromium was found"
        raise NoBrowser(
            f"The browser tests need Chromium, and {missing}: install Debian's package chromium, "
            "or name one: make test-browser CHROMIUM=/path/to/chromium"
        )
    return found


class Chromium:
    """The browser. A thread sorts what it says into answers and events."""

    def __init__(self, profile: Path) -> None:
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        # Above 4, or one would be overwritten by the other on their way.
        handed = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]
        command = [sys.executable, "-c", HAND_OVER, *map(str, handed), program(), *FLAGS, f"--user-data-dir={profile}"]
        self._log = (profile.parent / "chromium.log").open("wb")
        self._process = subprocess.Popen(
            command,
            pass_fds=handed,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        for end in (theirs_in, theirs_out, *handed):
            os.close(end)
        self._out, self._in = os.fdopen(ours_out, "wb"), os.fdopen(ours_in, "rb")
        self._sent = 0
        self._answers: dict[int, dict[str, Any]] = {}
        self._events: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._ended = False
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        pending = b""
        while piece := self._in.read1(1 << 20):
            *whole, pending = (pending + piece).split(b"\0")
            with self._news:
                for message in map(json.loads, whole):
                    if "id" in message:
                        self._answers[message["id"]] = message
                    else:
                        self._events.append(message)
                self._news.notify_all()
        with self._news:
            self._ended = True
            self._news.notify_all()

    def ask(self, method: str, *, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send one command and return its result."""
        with self._news:
            self._sent += 1
            number = self._sent
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        self._out.write(json.dumps(message).encode() + b"\0")
        self._out.flush()
        with self._news:
            answered = self._news.wait_for(lambda: number in self._answers or self._ended, PATIENCE_SECONDS)
            assert answered and number in self._answers, f"{method}: no answer"
            answer = self._answers.pop(number)
        assert "error" not in answer, f"{method}: {answer['error']}"
        result: dict[str, Any] = answer["result"]
        return result

    def events(self, session: str, *methods: str) -> list[dict[str, Any]]:
        """Return the parameters of what this session reported so far."""
        with self._news:
            return [
                event["params"]
                for event in self._events
                if event.get("sessionId") == session and event["method"] in methods
            ]

    def wait_for(self, session: str, method: str, *, count: int) -> None:
        """Wait until the session has reported this so many times."""
        with self._news:
            seen = self._news.wait_for(
                lambda: sum(e.get("sessionId") == session and e["method"] == method for e in self._events) >= count,
                PATIENCE_SECONDS,
            )
        assert seen, f"{method} did not come"

    @contextmanager
    def page(self) -> Iterator["Page"]:
        """A page in a profile of its own, without cookies, cache or storage of others."""
        context = self.ask("Target.createBrowserContext")["browserContextId"]
        target = self.ask("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "DOM"):
            self.ask(f"{domain}.enable", session=session)
        self.ask("Network.enable", session=session, maxPostDataSize=1)  # a large body would come along in every event
        yield Page(self, target, session)
        self.ask("Target.disposeBrowserContext", browserContextId=context)

    def close(self) -> None:
        with suppress(AssertionError, BrokenPipeError):
            self.ask("Browser.close")
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)  # it leads a session of its own
            self._process.wait()
        self._listener.join()
        for file in (self._out, self._in, self._log):
            file.close()


class Page:
    """One page: opened, asked to run scripts, and listened to."""

    def __init__(self, browser: Chromium, target: str, session: str) -> None:
        self._browser, self._target, self._session = browser, target, session
        self._opened = 0

    def open(self, url: str) -> None:
        """Load the address, with all that the page names."""
        self._opened += 1
        answer = self._browser.ask("Page.navigate", session=self._session, url=url)
        assert "errorText" not in answer, f"{url}: {answer['errorText']}"
        self._browser.wait_for(self._session, "Page.loadEventFired", count=self._opened)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send one command that concerns this page, and return its result."""
        return self._browser.ask(method, session=self._session, **parameters)

    def run(self, script: str, *given: Any) -> Any:
        """Call a function of the page, or one written out, as if a person had clicked; return what it comes to."""
        arguments = ", ".join(map(json.dumps, given))
        answer = self._browser.ask(
            "Runtime.evaluate",
            session=self._session,
            expression=f"({script})({arguments})",
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
            allowUnsafeEvalBlockedByCSP=False,
        )
        if fault := answer.get("exceptionDetails"):
            raise AssertionError(fault.get("exception", {}).get("description", fault["text"]))
        return answer["result"].get("value")

    def choose(self, selector: str, file: Path) -> None:
        """Put a file into a field, as a person does in the browser's dialogue."""
        field = f"document.querySelector({json.dumps(selector)})"
        found = self._browser.ask("Runtime.evaluate", session=self._session, expression=field)["result"]["objectId"]
        self._browser.ask("DOM.setFileInputFiles", session=self._session, objectId=found, files=[str(file)])

    def complaints(self) -> list[str]:
        """Return all that stood in the console as an error or a warning, violations of a policy among it."""
        seen = self._browser.events(self._session, "Log.entryAdded")
        logged = [event["entry"]["text"] for event in seen if event["entry"]["level"] in ("error", "warning")]
        seen = self._browser.events(self._session, "Runtime.consoleAPICalled")
        said = [json.dumps(event["args"]) for event in seen if event["type"] in ("error", "warning", "assert")]
        thrown = self._browser.events(self._session, "Runtime.exceptionThrown")
        return logged + said + [event["exceptionDetails"]["text"] for event in thrown]

    def requested(self) -> list[str]:
        """Return every address that the page asked for."""
        seen = self._browser.events(self._session, "Network.requestWillBeSent")
        return [event["request"]["url"] for event in seen]

    def frames(self) -> list[str]:
        """Return what the frames of other sites in the page hold: each is a target of its own.

        They say it themselves, since the target of a refused page keeps the address that was refused.
        """
        targets = self._browser.ask("Target.getTargets")["targetInfos"]
        return [self._address(target["targetId"]) for target in targets if target.get("parentId") == self._target]

    def _address(self, target: str) -> str:
        session = self._browser.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        answer = self._browser.ask("Runtime.evaluate", session=session, expression="location.href")
        address: str = answer["result"]["value"]
        return address


if __name__ == "__main__":
    try:
        program()
    except NoBrowser as reason:
        sys.exit(str(reason))
