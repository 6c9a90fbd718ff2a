"""/client.js in a page of another origin, over a wire that harms what passes."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.browser.chromium import Page
from tests.browser.conftest import Reelay
from tests.browser.sites import Site
from tests.browser.wire import (
    Wire,
    bad_gateway,
    beheaded,
    cut_after,
    disguised,
    held_back,
    lost,
    open_wire,
    silent_after,
)

ORDER = {"input": {"prompt": "The sailboat drifts on.", "image_url": "https://example.com/boat.jpg"}}
SLOW, LONG = ({"input": ORDER["input"] | {"prompt": f"A boat. [[fault:slow={times}]]"}} for times in (3, 8))
STAGES = ["queued", "submitting", "generating", "saving", "succeeded"]
STEPS = ["job.created", "job.submitting", "job.started", "job.saving", "job.succeeded"]
BEGIN = """async (home, base, secrets) => {
  window.asked = [];
  const { Reelay } = await import(`${home}/client.js`);
  const credential = async ({ refused }) => {
    asked.push(refused);
    return secrets.length > 1 ? secrets.shift() : secrets[0];
  };
  const brief = (url, options) => fetch(url.replace("?wait=10", "?wait=1"), options); // jobs take seconds here
  window.reelay = new Reelay({ baseUrl: base, credential, fetch: brief });
}"""
WATCH = """async (id) => {
  const seen = [];
  for await (const { state, progress, ...told } of reelay.watch(id)) seen.push([state, progress, JSON.stringify(told)]);
  return seen;
}"""


@pytest.fixture
def wire(reelay: Reelay) -> Iterator[Wire]:
    with open_wire(reelay.base) as laid:
        yield laid


@pytest.fixture
def visit(shop_page: Page, reelay: Reelay, wire: Wire) -> Page:
    """A page of the shop that has imported the client from the service, and reaches it over the wire."""
    shop_page.run(BEGIN, reelay.base, wire.base, [reelay.key])
    return shop_page


@pytest.fixture
def job(reelay: Reelay) -> str:
    made: str = reelay.post("/v1/jobs", SLOW)["id"]
    return made


def require_each_stage_once(seen: list[list[Any]]) -> None:
    states = [state for state, *_ in seen]
    distinct = list(dict.fromkeys(states))
    assert states == sorted(states, key=STAGES.index)  # none comes back
    assert distinct == [stage for stage in STAGES if stage in distinct]
    assert "generating" in distinct  # a stage that was over when it was looked at is not shown
    assert distinct[-1] == "succeeded"
    progress = [percent for _, percent, _ in seen]
    assert progress == sorted(progress)
    assert len(seen) == len({tuple(each) for each in seen})


def test_create__is_one_job_though_its_answers_are_lost(visit: Page, reelay: Reelay, wire: Wire) -> None:
    wire.troubles += [("POST /v1/jobs ", lost), ("POST /v1/jobs ", bad_gateway)]
    before = reelay.jobs()
    made = visit.run(
        """async () => {
          const image = await fetch("sample.jpg").then((answer) => answer.blob());
          const input = { prompt: "The sailboat drifts on.", image_url: image, duration: 6 };
          return reelay.create({ input, metadata: { order: "A-21" }, max_cost_usd: 3.5 });
        }"""
    )
    assert set(reelay.jobs()) - set(before) == {made["id"]}
    assert (made["input"]["duration"], made["metadata"]) == (6, {"order": "A-21"})
    sent = wire.passed("POST /v1/jobs ")
    assert len(sent) == 3
    assert len({asked.headers["idempotency-key"] for asked in sent}) == 1


def test_create__is_not_sent_again_where_that_would_not_help(visit: Page, wire: Wire) -> None:
    seen = visit.run(
        """() => reelay.create({ input: { prompt: "A boat.", duration: 9 } })
          .catch(({ name, status, code, param, message }) => ({ name, status, code, param, message }))"""
    )
    assert seen.pop("message").startswith("'duration': must be one of")
    assert seen == {"name": "ReelayError", "status": 400, "code": "invalid_input", "param": "input.duration"}
    assert len(wire.passed("POST /v1/jobs ")) == 1


def test_watch__sees_each_stage_once_over_cut_streams(visit: Page, reelay: Reelay, wire: Wire) -> None:
    job = reelay.post("/v1/jobs", LONG)["id"]  # so long that there is something to cut each time
    wire.troubles += [(f"GET /v1/jobs/{job}/events", cut_after(b"event: job.")) for _ in range(3)]
    require_each_stage_once(visit.run(WATCH, job))
    streams = wire.passed(f"GET /v1/jobs/{job}/events")
    assert len(streams) == 4
    resumed = [int(asked.headers["last-event-id"]) for asked in streams]
    assert resumed == sorted(resumed)
    wire.wait_open(0)


@pytest.mark.parametrize("trouble", [held_back, disguised])
def test_watch__polls_where_streams_do_not_pass(visit: Page, wire: Wire, job: str, trouble: Any) -> None:
    wire.troubles += [(f"GET /v1/jobs/{job}/events", trouble)]
    # The eight seconds that a stream is given to begin would outlast the job.
    visit.run("() => { const set = setTimeout; window.setTimeout = (f, ms) => set(f, ms === 8000 ? 200 : ms); }")
    seen = visit.run(WATCH, job)
    require_each_stage_once(seen)
    assert len(seen) > len({state for state, *_ in seen})  # it also moved within a stage
    assert len(wire.passed(f"GET /v1/jobs/{job}/events")) == 1
    assert 4 <= len(wire.passed(f"GET /v1/jobs/{job}?wait=")) <= 20
    wire.wait_open(0)


def test_watch__comes_again_where_a_stream_has_fallen_silent(visit: Page, wire: Wire, job: str) -> None:
    wire.troubles += [(f"GET /v1/jobs/{job}/events", silent_after(b"retry: "))]
    # The forty seconds after which a stream counts as dead would outlast the job.
    visit.run("() => { const set = setTimeout; window.setTimeout = (f, ms) => set(f, ms === 40000 ? 1500 : ms); }")
    require_each_stage_once(visit.run(WATCH, job))
    assert len(wire.passed(f"GET /v1/jobs/{job}/events")) > 1
    assert wire.passed(f"GET /v1/jobs/{job}?wait=") == []
    wire.wait_open(0)


def test_watch__goes_on_with_a_new_credential_where_the_old_one_has_ended(
    shop_page: Page, reelay: Reelay, wire: Wire
) -> None:
    prompt = "The sailboat drifts on. [[fault:slow=40]]"
    token = reelay.post("/v1/tokens", {})
    as_shopper = {"Authorization": f"Bearer {token['token']}"}
    order = {"input": ORDER["input"] | {"prompt": prompt}}
    job = reelay.client.post("/v1/jobs", json=order, headers=as_shopper).raise_for_status().json()["id"]
    shop_page.run(BEGIN, reelay.base, wire.base, [token["token"], reelay.key])
    shop_page.run(f"(id) => {{ window.watching = ({WATCH})(id); }}", job)
    wire.wait_answered(f"GET /v1/jobs/{job}/events")
    reelay.client.delete(f"/v1/tokens/{token['id']}").raise_for_status()
    asked_again = "() => asked.length > 1 && asked"
    shop_page.run(f"async () => {{ while (!({asked_again})()) await new Promise((go) => setTimeout(go, 20)); }}")
    reelay.post(f"/v1/jobs/{job}/cancel", {})
    states = [state for state, *_ in shop_page.run("() => watching")]
    assert list(dict.fromkeys(states)) == sorted(set(states), key=states.index) and states[-1] == "abandoned"
    assert states.count("abandoned") == 1
    assert shop_page.run("() => asked") == [False, True]


def rest(reelay: Reelay) -> None:
    """Wait until every job has ended: the project's stream must tell of no other one's end."""
    for job in reelay.client.get("/v1/jobs", params={"limit": 100}).raise_for_status().json()["data"]:
        reelay.client.get(f"/v1/jobs/{job['id']}", params={"wait": 60}).raise_for_status()


def told_of(job: str, visit: Page) -> list[str]:
    return [type_ for id_, type_ in visit.run("() => following") if id_ == job]


def test_events__come_once_each_though_the_stream_is_cut(visit: Page, reelay: Reelay, wire: Wire) -> None:
    rest(reelay)
    # Cut before the first event, it must know where it began; cut again, where it was.
    wire.troubles += [("GET /v1/events", cut_after(words)) for words in (b"event: job.cr", b"event: job.started\ndata")]
    visit.run(
        """() => {
          const follow = async () => {
            const seen = [];
            for await (const { type, data } of reelay.events()) {
              seen.push([data.job_id, type]);
              if (type === "job.succeeded") return seen;
            }
          };
          window.following = follow();
        }"""
    )
    wire.wait_answered("GET /v1/events")
    job = reelay.post("/v1/jobs", ORDER)["id"]
    assert told_of(job, visit) == STEPS
    assert len(wire.passed("GET /v1/events")) == 3
    wire.wait_open(0)


def test_events__none_is_missed_though_nothing_of_the_first_stream_arrived(
    visit: Page, reelay: Reelay, wire: Wire
) -> None:
    wire.troubles += [("GET /v1/events", beheaded)]
    visit.run(
        """() => {
          window.following = (async () => {
            for await (const { type, data } of reelay.events()) if (type === "job.created") return data.job_id;
          })();
        }"""
    )
    wire.wait_answered("GET /v1/events")
    job = reelay.post("/v1/jobs", ORDER)["id"]
    assert visit.run("() => following") == job


def test_events__are_polled_where_streams_do_not_pass(visit: Page, reelay: Reelay, wire: Wire) -> None:
    rest(reelay)
    wire.troubles += [("GET /v1/events", disguised)]
    visit.run(
        """() => {
          const set = setTimeout;
          window.setTimeout = (f, ms) => set(f, ms === 3000 ? 100 : ms); // between polls
          window.following = (async () => {
            const seen = [];
            for await (const { type, data } of reelay.events()) {
              seen.push([data.job_id, type]);
              if (type === "job.succeeded") return seen;
            }
          })();
        }"""
    )
    wire.wait_answered("GET /v1/events?after=evt_")
    job = reelay.post("/v1/jobs", ORDER)["id"]
    assert told_of(job, visit) == STEPS


def test_client__can_be_imported_by_any_page_and_says_what_is_missing(
    strange_page: Page, stranger: Site, reelay: Reelay, wire: Wire
) -> None:
    strange_page.run(BEGIN, reelay.base, wire.base, [reelay.key])
    told = strange_page.run(
        "() => reelay.request('POST', '/v1/jobs/estimate').catch(({ status, message }) => [status, message])"
    )
    assert told[0] == 0
    assert f"lists {stranger.origin} in REELAY_CORS_ORIGINS" in told[1]


def test_credential__is_asked_once_for_all_that_are_refused(
    shop_page: Page, reelay: Reelay, wire: Wire, job: str
) -> None:
    shop_page.run(BEGIN, reelay.base, wire.base, ["rlt_that_has_ended", reelay.key])
    states = shop_page.run("(id) => Promise.all([1, 2, 3].map(() => reelay.get(id))).then((all) => all.length)", job)
    assert states == 3
    assert shop_page.run("() => asked") == [False, True]
    assert len(wire.passed(f"GET /v1/jobs/{job} ")) == 6
    shop_page.run(BEGIN, reelay.base, wire.base, ["rlt_that_has_ended"])
    assert shop_page.run("(id) => reelay.get(id).catch(({ status }) => status)", job) == 401
    assert shop_page.run("() => asked") == [False, True]


def test_watch__whoever_leaves_leaves_no_connection_open(visit: Page, reelay: Reelay, wire: Wire, job: str) -> None:
    broken_off = """async (id) => {
      for await (const { progress } of reelay.watch(id)) if (progress > 10) return progress;
    }"""
    assert 10 < visit.run(broken_off, job) < 95  # it came live: no event tells of it
    wire.wait_open(0)
    assert reelay.client.get(f"/v1/jobs/{job}").json()["state"] == "generating"
    visit.run(
        """() => {
          window.leaving = new AbortController();
          window.left = reelay.events({ signal: leaving.signal }).next().catch((error) => error.name);
        }"""
    )
    wire.wait_answered("GET /v1/events")
    assert visit.run("() => { leaving.abort(); return left; }") == "AbortError"
    wire.wait_open(0)


def test_watch__ends_where_there_is_no_such_job(visit: Page, wire: Wire) -> None:
    assert visit.run("() => reelay.watch('job_0').next().catch(({ status }) => status)") == 404
    assert len(wire.passed("GET ")) == 1
