"""Takes a picture of every view, wide and narrow, light and dark: `python -m tests.browser.views FOLDER`."""

import base64
import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.browser.chromium import Chromium, NoBrowser, program
from tests.browser.conftest import Reelay, open_reelay
from tests.browser.person import Person
from tests.browser.pictures import fill

WIDTHS = {"wide": (1280, 900), "narrow": (390, 844)}
SCHEMES = ("light", "dark")
DOUBTFUL = "[[fault:502-bare]] A harbour at night, seen from the water"
PORTRAIT = {"prompt": "A paper boat", "aspect_ratio": "9:16"}


class Album:
    """Where the pictures go, and who looks."""

    def __init__(self, person: Person, folder: Path, suffix: str) -> None:
        self.person, self._folder, self._suffix = person, folder, suffix
        self._count = 0

    def take(self, name: str, *, whole: bool = True) -> None:
        """Write what is shown: the whole page, or what the window holds."""
        self.person.page.run("() => document.fonts.ready.then(() => new Promise(requestAnimationFrame))")
        self._count += 1
        given = {"captureBeyondViewport": True} if whole else {}
        if whole:
            size = self.person.page.ask("Page.getLayoutMetrics")["cssContentSize"]
            given["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 4000), "scale": 1}
        shown = self.person.page.ask("Page.captureScreenshot", format="png", **given)["data"]
        path = self._folder / f"{self._count:02}-{name}-{self._suffix}.png"
        path.write_bytes(base64.b64decode(shown))


def furnish(reelay: Reelay, admin: httpx2.Client) -> dict[str, str]:
    """Make what an operator sees: projects with budgets, keys, spending, a delivery given up, a job in doubt."""
    fill(reelay)
    made = {}
    for name, limits in {
        "film": {"monthly_budget_usd": 40, "max_in_flight": 4},
        "marketing": {"monthly_budget_usd": 12.5, "requests_per_minute": 60, "models": ["veo2/image-to-video"]},
        "a project with a name that somebody thought about for very long": {},
    }.items():
        made[name] = admin.post("/v1/admin/projects", json={"name": name, **limits}).raise_for_status().json()["id"]
    path = f"/v1/admin/projects/{made['film']}/keys"
    key = admin.post(path, json={"name": "back end", "scopes": ["jobs:read", "jobs:write"]}).raise_for_status().json()
    admin.post(path, json={"name": "laptop", "scopes": ["jobs:read"], "subject": "user-42", "expires_in_days": 30})
    old = admin.post(path, json={"name": "old", "scopes": ["jobs:read"]}).raise_for_status().json()
    admin.delete(f"/v1/admin/keys/{old['id']}").raise_for_status()
    with httpx2.Client(base_url=reelay.base, headers={"Authorization": f"Bearer {key['key']}"}, timeout=60) as film:
        for _ in range(3):
            order = {"model": "veo2", "input": {"prompt": "A tide comes in"}}
            film.post("/v1/jobs", json=order, headers={"Prefer": "wait=60"}).raise_for_status()
    hook = admin.post("/v1/webhooks", json={"url": "https://receiver.invalid/hook"}).raise_for_status().json()["id"]
    for _ in range(2):
        admin.post(f"/v1/webhooks/{hook}/test").raise_for_status()
    failed = reelay.post("/v1/jobs", {"model": "veo2", "input": {"prompt": "[[fault:fail]] A storm over the bay"}})
    reelay.client.get(f"/v1/jobs/{failed['id']}", params={"wait": 60}).raise_for_status()
    doubt = reelay.post("/v1/jobs", {"model": "veo2", "input": {"prompt": DOUBTFUL, "duration": 5}})["id"]
    return {"project": made["film"], "failed": failed["id"], "doubt": doubt}


def visit_door(album: Album, base: str) -> None:
    person = album.person
    person.page.open(f"{base}/")
    person.sees("document.querySelector('.hero')?.complete")
    album.take("door")
    person.clicks("#sign-in input[type=password]")
    person.types("rly_wrong")
    person.presses("Enter")
    person.sees("document.querySelector('#sign-in .error')")
    album.take("door-error")


def visit_empty(album: Album, base: str, key: str) -> None:
    """What somebody sees whose project has nothing yet."""
    person = album.person
    person.opens(f"{base}/", key=key)
    person.sees("document.querySelector('#make') && document.querySelector('.price strong')")
    person.sees("document.querySelector('.drop img')?.complete && !document.querySelector('.bone')")
    album.take("playground-first")
    person.goes_to("gallery")
    person.sees("document.querySelector('.empty')")
    album.take("gallery-empty")


def visit_playground(album: Album, base: str, key: str) -> None:
    person = album.person
    person.opens(f"{base}/", key=key)
    person.sees("document.querySelector('.tile img')?.complete && document.querySelector('#make')")
    album.take("playground")
    person.clicks(".more summary")
    person.clicks(".pills label", "9:16")
    person.sees("document.querySelector('.crop')")
    album.take("playground-options")
    person.clicks(".picker")
    person.sees("document.activeElement.matches('dialog input')")
    album.take("picker", whole=False)
    person.types("nothing like it")
    person.sees("document.querySelector('.choice-none')")
    album.take("picker-none", whole=False)
    person.presses("Escape")  # it empties the search first, as everywhere
    person.sees("!document.querySelector('.choice-none')")
    person.presses("Escape")
    person.sees("!document.querySelector('dialog')")
    person.empties("[name=prompt]")
    person.clicks("#make")
    person.sees("document.querySelector('.error')")
    album.take("playground-error")
    person.fills("[name=prompt]", "[[fault:slow=4]] The sailboat drifts on, gulls circle the mast.")
    person.clicks(".pills label", "16:9")
    person.clicks("#make")
    person.sees("document.querySelector('.result .bar')?.ariaValueNow > 15")
    album.take("playground-running")
    person.sees("document.querySelector('.result video')?.readyState >= 3")
    album.take("playground-done")
    person.fills("[name=prompt]", "The sailboat drifts on, four times.")
    person.clicks(".pills label", "Four")
    person.clicks("#make")
    person.sees("document.querySelectorAll('.result').length === 4")
    album.take("playground-four")
    person.sees("document.querySelectorAll('.result video').length === 4")


def visit_gallery(album: Album, failed: str) -> None:
    person = album.person
    person.goes_to("gallery")
    person.sees("[...document.querySelectorAll('.tile img')].filter((one) => one.complete).length >= 6")
    album.take("gallery")
    person.clicks(".tile:has(img)")
    person.sees("document.querySelector('.timeline li') && document.querySelector('.result video')?.readyState >= 2")
    album.take("job")
    person.goes_to(f"jobs/{failed}")
    person.sees("document.querySelector('.timeline li')")
    album.take("job-failed")
    person.goes_to("jobs/job_00000000000000000000000000000000")
    album.take("job-unknown")
    person.goes_to("elsewhere")
    album.take("nothing")


def visit_operator(album: Album, base: str, key: str, project: str) -> None:
    person = album.person
    person.opens(f"{base}/#/operator", key=key)
    person.sees("document.querySelector('#doubt-title')")
    album.take("operator")
    person.clicks("button", "Decide…")
    person.clicks("dialog label", "It was bought")
    album.take("decide", whole=False)
    person.presses("Escape")
    person.clicks("button", "Pause…")
    album.take("pause", whole=False)
    person.presses("Escape")
    for view in ("spending", "projects", f"projects/{project}", "deliveries"):
        person.goes_to(f"operator/{view}")
        album.take(view.split("/")[0] if view != f"projects/{project}" else "project")
        if view == "projects":
            person.clicks("button", "New project…")
            album.take("project-new", whole=False)
            person.presses("Escape")
        if view == f"projects/{project}":
            person.clicks("button", "New key…")
            album.take("key-new", whole=False)
            person.presses("Escape")


@contextmanager
def somebody(browser: Chromium, width: str, scheme: str) -> Iterator[Person]:
    with browser.page() as page:
        person = Person(page)
        person.looks(width=WIDTHS[width][0], height=WIDTHS[width][1], scheme=scheme)
        page.ask("Emulation.setScrollbarsHidden", hidden=True)
        yield person


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, open_reelay(Path(scratch)) as reelay:
        scopes = "jobs:read,jobs:write,admin"
        make = ("keys", "create", "--name", "ops", "--json", "--project")
        key = json.loads(reelay.run(*make, "development", "--scopes", scopes))["key"]
        reelay.run("projects", "create", "newcomers")
        newcomer = json.loads(reelay.run(*make, "newcomers"))["key"]
        with httpx2.Client(base_url=reelay.base, headers={"Authorization": f"Bearer {key}"}, timeout=60) as admin:
            known = furnish(reelay, admin)
        browser = Chromium(Path(scratch) / "profile")
        try:
            for width in WIDTHS:
                for scheme in SCHEMES:
                    suffix = f"{width}-{scheme}"
                    for visit, given in (
                        (visit_door, (reelay.base,)),
                        (visit_empty, (reelay.base, newcomer)),
                        (visit_playground, (reelay.base, reelay.key)),
                        (visit_operator, (reelay.base, key, known["project"])),
                    ):
                        with somebody(browser, width, scheme) as person:
                            album = Album(person, folder, f"{visit.__name__.removeprefix('visit_')}-{suffix}")
                            visit(album, *given)
                            if visit is visit_playground:
                                visit_gallery(album, known["failed"])
                    print(suffix)
        finally:
            browser.close()


if __name__ == "__main__":
    try:
        program()
    except NoBrowser as reason:
        sys.exit(str(reason))
    main(Path(sys.argv[1]))
