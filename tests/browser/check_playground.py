"""The page at /, in a browser: the first video by mouse and by keys, and what may happen on the way to one."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.browser.conftest import Reelay
from tests.browser.person import Person
from tests.factories import picture

PLAYS = "document.querySelector('.result video').currentTime > 0.2 && !document.querySelector('.result video').paused"
READY = "document.querySelector('.result video')?.readyState >= 2"
SHOWN = """() => {
  const { duration, videoWidth, videoHeight } = document.querySelector(".result video");
  return [Math.round(duration), videoWidth, videoHeight];
}"""
ASK_UNTIL_IT_ENDS = """async () => {
  while (document.querySelector("#make")) {
    document.querySelector(".pills input:not(:checked)")?.click();
    await new Promise((turn) => setTimeout(turn, 500));
  }
}"""
SLOW_LINE = {"offline": False, "latency": 2000, "downloadThroughput": -1, "uploadThroughput": -1}
UPLOADED = "performance.getEntriesByType('resource').filter(({ name }) => name.endsWith('/v1/files')).length"
WATCH_FOR_THE_FIRST = """() => {
  globalThis.cameBack = false;
  const look = () => { globalThis.cameBack ||= document.querySelector(".chip").textContent.includes("dropped.png"); };
  new MutationObserver(look).observe(document.body, { subtree: true, childList: true, characterData: true });
}"""
COPY_SQUARE = """async () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 320, height: 320 });
  const blob = await new Promise((take) => canvas.toBlob(take));
  await navigator.clipboard.write([new ClipboardItem({ "image/png": blob })]);
}"""
STATE = "document.querySelector('.result .state')?.textContent"


def newest(reelay: Reelay, count: int = 1) -> list[dict[str, Any]]:
    page = reelay.client.get("/v1/jobs", params={"limit": count}).raise_for_status().json()
    jobs: list[dict[str, Any]] = page["data"]
    return jobs


def test_first_video__by_mouse(person: Person, reelay: Reelay) -> None:
    person.page.open(f"{reelay.base}/")
    person.clicks("#sign-in input[type=password]")
    person.types(reelay.key)
    person.clicks("#sign-in button")
    person.sees_text("videos are simulated and free")
    before = reelay.jobs()
    person.clicks("#make")
    person.sees(READY)
    assert person.page.run(f"() => {STATE}") == "Ready"
    person.clicks(".result video")
    person.sees(PLAYS)
    assert person.page.run(SHOWN) == [5, 1280, 720]
    assert len(reelay.jobs()) == len(before) + 1


def test_first_video__by_keys_alone(person: Person, reelay: Reelay) -> None:
    person.page.open(f"{reelay.base}/")
    person.sees("document.querySelector('#sign-in')")
    person.tabs_to("#sign-in input[type=password]")
    person.types(reelay.key)
    person.presses("Enter")
    person.sees("document.querySelector('#make')")
    person.tabs_to("[name=prompt]")
    person.tabs_to(".picker")
    person.presses("Enter")
    person.sees("document.activeElement.matches('dialog[open] input')")
    person.types("veo2 image")
    person.sees("document.querySelectorAll('[role=option]').length === 1")
    person.presses("Enter")
    person.sees("document.activeElement.matches('.picker')")
    person.tabs_to("#make")
    person.presses("Enter")
    person.sees(READY)
    person.tabs_to(".result video")
    person.presses(" ")
    person.sees(PLAYS)


def test_wrong_key__is_said_beside_the_field(person: Person, reelay: Reelay) -> None:
    person.page.open(f"{reelay.base}/")
    person.clicks("#sign-in input[type=password]")
    person.types(reelay.key[:-1] + ("x" if reelay.key[-1] != "x" else "y"))
    person.presses("Enter")
    person.sees_text("This key does not work", within="#sign-in .error")
    person.sees("document.activeElement.matches('#sign-in [aria-invalid=true]')")


FIRST_UPLOAD_IS_LATE = """() => {
  const { fetch } = window;
  let begun = 0;
  window.uploaded = 0;
  window.fetch = async (url, options) => {
    const answer = await fetch(url, options);
    if (!String(url).endsWith("/v1/files")) return answer;
    if (!begun++) while (!window.uploaded) await new Promise((go) => setTimeout(go, 20));
    window.uploaded++;
    return answer;
  };
}"""
"""The answer to the first comes after that to the second."""


def test_upload__is_previewed_measured_and_sent(insider: Person, reelay: Reelay, tmp_path: Path) -> None:
    insider.page.run(FIRST_UPLOAD_IS_LATE)
    portrait = tmp_path / "portrait.jpg"
    portrait.write_bytes(picture(size=(720, 1280)))
    insider.page.choose(".media input[type=file]", portrait)
    insider.sees_text("portrait.jpg", within=".media .chip")
    insider.clicks(".pills label", "16:9")
    insider.sees_text("The video is 16:9: about 68 % of this image may be cut off, above and below.")
    insider.clicks(".media button", "Crop it to 16:9")
    insider.sees_text("(cropped)", within=".media .chip")
    insider.sees("!document.querySelector('.crop') && window.uploaded === 2")
    insider.fills("[name=prompt]", "A portrait, cropped.")
    insider.clicks("#make")
    insider.sees(READY)
    [job] = newest(reelay)
    sent = reelay.client.get(f"/v1/files/{job['input']['image_url']}").json()
    assert (job["input"]["aspect_ratio"], sent["width"], sent["height"]) == ("16:9", 720, 405)
    insider.clicks(".result button", "Extend from last frame")
    insider.sees_text("Last frame", within=".media .chip")
    insider.clicks("#make")
    insider.sees(f"!document.querySelector('.result a[href*={job['id']}]') && {READY}")
    [longer] = newest(reelay)
    last = reelay.client.get(f"/v1/files/{longer['input']['image_url']}").json()
    assert (last["width"], last["height"]) == (1280, 720)


def test_picture__is_dropped_or_pasted(insider: Person, reelay: Reelay, tmp_path: Path) -> None:
    words = tmp_path / "words.txt"
    words.write_text("No picture.")
    insider.drops(words, ".media .drop")
    insider.sees_text("Drop an image here: a JPEG, PNG or WebP.", within=".media .error")
    dropped = tmp_path / "dropped.png"
    dropped.write_bytes(picture(size=(640, 360), kind="PNG"))
    insider.page.ask("Network.emulateNetworkConditions", **SLOW_LINE)
    insider.drops(dropped, ".media .drop")
    insider.sees_text("dropped.png", within=".media .chip")
    insider.sees("!document.querySelector('.media .error, .drop.over')")
    insider.page.run(COPY_SQUARE)
    insider.clicks("h2, .screen")
    insider.pastes()
    insider.sees("document.querySelector('.drop img').naturalWidth === 320")
    insider.page.run(WATCH_FOR_THE_FIRST)
    insider.sees(f"{UPLOADED} === 2")
    assert insider.page.run("() => globalThis.cameBack") is False
    insider.page.ask("Network.emulateNetworkConditions", **SLOW_LINE | {"latency": 0})
    insider.fills("[name=prompt]", "A picture from the clipboard.")
    insider.clicks("#make")
    insider.sees(READY)
    sent = reelay.client.get(f"/v1/files/{newest(reelay)[0]['input']['image_url']}").json()
    assert (sent["width"], sent["height"]) == (320, 320)


def test_pictures__of_a_list_are_kept_while_others_are_on_their_way(
    insider: Person, reelay: Reelay, tmp_path: Path
) -> None:
    insider.clicks(".picker")
    insider.sees("document.activeElement.matches('dialog[open] input')")
    insider.types("multi-image")
    insider.sees("document.querySelector('[role=option]').textContent.includes('multi-image')")
    insider.presses("Enter")
    insider.page.ask("Network.emulateNetworkConditions", **SLOW_LINE)
    for number, width in enumerate((320, 640), 1):
        dropped = tmp_path / f"{number}.png"
        dropped.write_bytes(picture(size=(width, 320), kind="PNG"))
        insider.drops(dropped, f".media:nth-of-type({number}) .drop")
        insider.sees_text(dropped.name, within=f".media:nth-of-type({number}) .chip")
    insider.sees(f"{UPLOADED} === 2")
    insider.page.ask("Network.emulateNetworkConditions", **SLOW_LINE | {"latency": 0})
    insider.clicks("#make")
    insider.sees(READY)
    ids = newest(reelay)[0]["input"]["image_list"]
    sent = [reelay.client.get(f"/v1/files/{id_}").json()["width"] for id_ in ids]
    assert sent == [320, 640]


def test_link__is_copied_and_needs_no_key(insider: Person, reelay: Reelay) -> None:
    insider.fills("[name=prompt]", "A boat to be shown around.")
    insider.clicks("#make")
    insider.sees(READY)
    insider.clicks(".result button", "Copy link")
    insider.sees_text("Link copied.")
    insider.empties("[name=prompt]")
    insider.pastes()
    link = insider.sees("document.querySelector('[name=prompt]').value")
    assert link.startswith(f"{reelay.base}/v1/jobs/{newest(reelay)[0]['id']}/content?")
    answer = httpx2.get(link)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")


def test_cancel__asks_once_more(insider: Person, reelay: Reelay) -> None:
    insider.fills("[name=prompt]", "[[fault:slow=60]] A boat that never leaves.")
    insider.clicks("#make")
    insider.sees(f"{STATE} === 'Generating'")
    insider.clicks(".result button", "Cancel")
    insider.clicks(".result button", "Really cancel?")
    insider.sees(f"{STATE} === 'Canceled'")
    assert newest(reelay)[0]["status"] == "canceled"


def test_failure__says_what_to_do_and_can_be_retried(insider: Person, reelay: Reelay) -> None:
    insider.fills("[name=prompt]", "[[fault:fail*1]] A boat at the second try.")
    insider.clicks("#make")
    insider.sees(f"{STATE} === 'No video'")
    insider.sees("document.querySelector('.result .line').innerText.length > 20")
    failed = newest(reelay)[0]
    insider.clicks(".result button", "Retry")
    insider.sees(f"location.hash.startsWith('#/jobs/job_') && !location.hash.includes({json.dumps(failed['id'])})")
    insider.sees("document.activeElement.matches('main h1')")
    insider.sees(READY)
    assert newest(reelay)[0]["retried_from"] == failed["id"]


def test_four_variations__are_priced_together_and_differ(insider: Person, reelay: Reelay) -> None:
    insider.clicks(".pills label", "Four")
    insider.sees_text("4 × $2.50 = $10.00", within=".price")
    insider.clicks("#make", "Make 4 videos")
    insider.sees("document.querySelectorAll('.result video').length === 4")
    assert len({job["input"]["seed"] for job in newest(reelay, 4)}) == 4


def half_a_seed(person: Person) -> None:
    person.clicks(".more summary")
    person.fills("[name=seed]", "1.5")


@pytest.mark.parametrize(
    ("spoil", "field", "words"),
    [
        (lambda person: person.empties("[name=prompt]"), "[name=prompt]", "Describe what should happen."),
        (lambda person: person.clicks(".media button", "Remove"), "[name=image_url]", "Image is needed."),
        (half_a_seed, "[name=seed]", "'seed'"),
    ],
    ids=["prompt", "image", "seed"],
)
def test_refusal__stands_beside_its_field(
    insider: Person, reelay: Reelay, spoil: Callable[[Person], Any], field: str, words: str
) -> None:
    before = reelay.jobs()
    spoil(insider)
    insider.clicks("#make")
    insider.sees(f"document.activeElement.matches('{field}[aria-invalid=true]')")
    beside = f"document.querySelector('{field}').closest('.field').querySelector('.error')"
    assert words in insider.sees(f"{beside}?.innerText")
    assert reelay.jobs() == before


def test_expired_session__ends_at_the_door_and_keeps_what_was_typed(person: Person, reelay: Reelay) -> None:
    person.page.open(f"{reelay.base}/")
    person.clicks("#sign-in input[type=password]")
    person.types(reelay.mint(ttl_seconds=3))
    person.presses("Enter")
    person.fills("[name=prompt]", "A boat, half described")
    # The page asks for the estimate, or for news, until the token has ended.
    person.page.run(ASK_UNTIL_IT_ENDS)
    person.sees_text("was revoked, or its time is over", within="#sign-in .error")
    person.sees("document.activeElement.matches('#sign-in input')")
    person.types(reelay.key)
    person.presses("Enter")
    person.sees("document.querySelector('[name=prompt]')?.value === 'A boat, half described'")
