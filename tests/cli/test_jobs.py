"""reelay jobs, models, usage: what people see and what scripts read."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.catalogue import catalogue
from tests.acceptance.processes import clean_environment
from tests.cli.conftest import SLOW, Run, Served, Started

Made = Callable[..., str]


def rows(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_list__newest_first_in_tabs_or_json(reelay: Run, made: Made) -> None:
    older, newer = made(), made()
    listed = rows(reelay("jobs", "list", "--limit", "2").stdout)
    assert [row[0] for row in listed] == [newer, older]
    assert listed[0][1:4] == ["succeeded", "100 %", "veo2"]
    assert datetime.fromisoformat(listed[0][4]).tzinfo is not None
    assert [job["id"] for job in json.loads(reelay("jobs", "list", "--limit", "2", "--json").stdout)] == [newer, older]


def test_list__goes_on_over_pages_and_narrows(reelay: Run, served: Served) -> None:
    body = {"model": "veo2", "input": {"prompt": SLOW}, "metadata": {"batch": "many"}}
    with served.client() as client, served.client(key=served.admin_key) as operator:
        operator.post("/v1/admin/upstream/pause").raise_for_status()  # what is being bought can't be canceled at once
        try:
            ids = [client.post("/v1/jobs", json=body).json()["id"] for _ in range(3)]
            for id_ in ids:
                client.post(f"/v1/jobs/{id_}/cancel").raise_for_status()
        finally:
            operator.post("/v1/admin/upstream/resume").raise_for_status()
    found = reelay("jobs", "list", "--metadata", "batch=many", "--status", "canceled", "--limit", "300", "--json")
    assert [job["id"] for job in json.loads(found.stdout)] == ids[::-1]


def test_show__a_job_with_its_timeline(reelay: Run, made: Made) -> None:
    id_ = made(prompt="A \x1b[31mboat")
    shown = reelay("jobs", "show", id_).stdout
    assert re.search(rf"^id +{id_}$", shown, re.MULTILINE)
    assert "job.succeeded" in shown and "\x1b" not in shown
    assert json.loads(reelay("jobs", "show", id_, "--json").stdout)["input"] == {"prompt": "A \x1b[31mboat"}


@pytest.mark.parametrize("command", ["show", "watch", "cancel", "retry", "download"])
def test_jobs__an_unknown_id_is_refused_in_a_sentence(reelay: Run, command: str) -> None:
    done = reelay("jobs", command, "../models")
    assert done.returncode == 1
    assert "There is no" in done.stderr and "Traceback" not in done.stderr


def test_cancel__and_watch_say_canceled(reelay: Run, made: Made) -> None:
    id_ = made(prompt=SLOW, state="generating")
    assert reelay("jobs", "cancel", id_).returncode == 0
    watched = reelay("jobs", "watch", id_, "--json")
    assert watched.returncode == 3
    [entry] = json.loads(watched.stdout)
    assert (entry["job"]["status"], entry["exit_code"], entry["error"]["code"]) == ("canceled", 3, "canceled")


def test_cancel__too_late_for_one_of_two(reelay: Run, made: Made) -> None:
    finished, running = made(), made(prompt=SLOW, state="generating")
    done = reelay("jobs", "cancel", finished, running)
    assert done.returncode == 1
    assert f"{running} canceled" in done.stdout and "nothing to cancel" in done.stderr


def test_watch__without_ids_follows_all_that_is_unfinished(reelay: Run, made: Made, served: Served) -> None:
    with served.client(key=served.admin_key) as operator:
        project = operator.get("/v1/admin/projects").raise_for_status().json()["data"][0]
        own = {"name": "watcher", "subject": "watcher"}  # which sees nothing that another test has left unfinished
        key = operator.post(f"/v1/admin/projects/{project['id']}/keys", json=own).raise_for_status().json()["key"]
    ids = {made(prompt="A boat [[fault:slow=8]]", state="generating", key=key) for _ in range(2)}
    done = reelay("jobs", "watch", environment={"REELAY_KEY": key})
    assert (done.returncode, set(done.stdout.splitlines())) == (0, ids), done.stderr


def test_retry__asks_for_consent_to_a_new_charge(reelay: Run, made: Made) -> None:
    id_ = made(prompt=SLOW, state="generating")
    assert reelay("jobs", "cancel", id_).returncode == 0
    refused = reelay("jobs", "retry", id_)
    assert (refused.returncode, "--accept-new-charge" in refused.stderr) == (1, True)
    done = reelay("jobs", "retry", id_, "--accept-new-charge")
    assert done.returncode == 0
    again = done.stdout.strip()
    assert json.loads(reelay("jobs", "show", again, "--json").stdout)["retried_from"] == id_
    assert reelay("jobs", "cancel", again).returncode == 0


def test_watch__a_restart_of_the_service_is_no_end(served: Served, made: Made, folder: Path) -> None:
    id_ = made(prompt="A boat [[fault:slow=8]]", state="generating")
    watching = Started(served, folder, "jobs", "watch", id_)
    watching.wait_for("generating")
    served.process.stop()
    watching.wait_for("does not answer")
    served.process.start()
    status, printed, _ = watching.end()
    assert (status, printed) == (0, f"{id_}\n")


def test_models__all_and_one(reelay: Run) -> None:
    listed = {row[0]: row[2] for row in rows(reelay("models").stdout)}
    assert listed["veo2/image-to-video"] == "0.50 USD per second"
    assert len(listed) == len(catalogue.load().models)
    one = reelay("models", "veo2/image-to-video")
    assert ["image_url", "required", "link or file"] in rows(one.stdout)
    assert ["duration", "5", "5, 6, 7, 8"] in rows(one.stdout)
    assert json.loads(reelay("models", "veo2", "--json").stdout)["id"] == "veo2"
    deep = {row[0]: row[2] for row in rows(reelay("models", "klingai/video-v3-pro-image-to-video").stdout)[1:]}
    assert deep["elements"] == "up to 4 of: JSON object of reference_image_urls, frontal_image_url, video_url"
    unknown = reelay("models", "veo2/image-to-vide")
    assert (unknown.returncode, "Did you mean" in unknown.stderr) == (1, True)


def test_usage__by_day_and_by_model(reelay: Run, made: Made) -> None:
    made()
    today = datetime.now(UTC).date().isoformat()
    used = reelay("usage")
    *_, day, total = rows(used.stdout)
    assert (day[0], total[0], day[1:]) == (today, "total", total[1:])
    assert day[3].endswith(" USD") and float(day[3].split()[0]) >= 2.5
    assert f"{today[:7]}: " in used.stderr
    assert "reserved; no budget is set." in used.stderr
    found = json.loads(reelay("usage", "--by", "model", "--from", today, "--to", today, "--json").stdout)
    assert (found["group_by"], found["from"][:10]) == ("model", today)
    assert "veo2" in [row["group"] for row in found["data"]]


def test_help__names_the_clients_commands_first(reelay: Run) -> None:
    shown = reelay("--help").stdout
    places = [shown.index(word) for word in ("generate ", "models ", "usage ", "jobs ", "demo ", "serve ", "keys ")]
    assert places == sorted(places)
    assert shown.index("Make videos") < shown.index("Run the service")


def test_completion__knows_the_models() -> None:
    """As a shell asks: it starts the script itself, and neither a service nor a key is needed."""
    typed = {"COMP_WORDS": "reelay generate --model google/veo-3.1-t", "COMP_CWORD": "3"}
    done = subprocess.run(
        [Path(sys.executable).with_name("reelay")],
        env=clean_environment({"_REELAY_COMPLETE": "complete_bash"} | typed),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.split() == ["google/veo-3.1-t2v", "google/veo-3.1-t2v-fast"], done.stderr
