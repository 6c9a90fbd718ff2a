"""Takes the two pictures of the README, docs/page.webp and docs/gallery.webp: `python -m tests.browser.pictures`."""

import base64
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.browser.chromium import Chromium, NoBrowser, program
from tests.browser.conftest import Reelay, open_reelay
from tests.browser.person import Person

DOCS = Path(__file__).parents[2] / "docs"
SIZE = (1200, 1040)
# What else is in the gallery: models that take no image paint a landscape of their own.
WISHES = [
    ("veo2", "A lighthouse in the last light, waves breaking below", {}),
    ("google/veo3", "Dunes at dawn, a caravan far away", {}),
    ("kling-video/v1/standard/text-to-video", "A fox crosses a snowy field", {"aspect_ratio": "1:1"}),
    ("pixverse/v5/text-to-video", "Lanterns rise over a quiet river", {}),
    ("luma/ray-2", "Clouds race over a mountain pass", {}),
    ("veo2", "A paper boat in a gutter, close up", {"aspect_ratio": "9:16"}),
    ("veo2", "Fireflies over a meadow at night", {}),
]
PLAY = """async () => {
  const video = document.querySelector(".result video");
  video.muted = true;
  await video.play();
}"""


def take(person: Person, name: str) -> None:
    """Write what is on the screen: a picture in a README should be light."""
    shown = person.page.ask("Page.captureScreenshot", format="png")["data"]
    picture = Image.open(io.BytesIO(base64.b64decode(shown))).convert("RGB")
    picture.save(DOCS / name, quality=90, method=6)
    print(f"{DOCS / name}: {(DOCS / name).stat().st_size / 1000:.0f} kB")


def fill(reelay: Reelay) -> None:
    jobs = [
        reelay.post("/v1/jobs", {"model": model, "input": {"prompt": prompt, **more}}) for model, prompt, more in WISHES
    ]
    for job in jobs:
        reelay.client.get(f"/v1/jobs/{job['id']}", params={"wait": 60}).raise_for_status()


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch, open_reelay(Path(scratch)) as reelay:
        fill(reelay)
        browser = Chromium(Path(scratch) / "profile")
        try:
            with browser.page() as page:
                person = Person(page)
                person.looks(width=SIZE[0], height=SIZE[1])
                page.ask("Emulation.setScrollbarsHidden", hidden=True)
                person.opens(f"{reelay.base}/", key=reelay.key)
                person.clicks("#make")
                person.sees("document.querySelector('.result video')?.readyState >= 3")
                page.run(PLAY)
                person.sees("document.querySelector('.result video').currentTime > 2")
                page.run("() => document.querySelector('.result video').pause()")
                page.run("() => scrollTo(0, 0)")
                take(person, "page.webp")
                person.looks(width=SIZE[0], height=640, scheme="dark")
                person.clicks("nav a", "Gallery")
                person.sees("[...document.querySelectorAll('.tile img')].filter((one) => one.complete).length >= 8")
                take(person, "gallery.webp")
        finally:
            browser.close()


if __name__ == "__main__":
    try:
        program()
    except NoBrowser as reason:
        sys.exit(str(reason))
    main()
