"""reelay generate: images in, videos out, and what scripts can rely on."""

import hashlib
import json
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import FAILING, SLOW, Run, Served, Started
from tests.clips import clip, sound
from tests.tcp import free_port


def read(done: "subprocess.CompletedProcess[str]") -> Any:
    return json.loads(done.stdout)


def left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name.endswith(".part"))


def test_generate__saves_the_very_video(reelay: Run, folder: Path) -> None:
    done = reelay(
        "generate", "cat.jpg", "--prompt", "A cat", "--param", "duration=6", "--metadata", "order=A-17", "--json"
    )
    assert done.returncode == 0, done.stderr
    [entry] = read(done)
    job = entry["job"]
    assert (entry["label"], entry["file"], entry["error"], entry["exit_code"]) == ("cat.jpg", "cat.mp4", None, 0)
    assert (job["status"], job["input"]["duration"], job["metadata"]) == ("succeeded", 6, {"order": "A-17"})
    assert hashlib.sha256((folder / "cat.mp4").read_bytes()).hexdigest() == job["video"]["sha256"]
    assert left_over(folder) == []


def test_generate__one_that_fails_stops_no_other(reelay: Run, folder: Path) -> None:
    done = reelay("generate", "cat.jpg", "bad.jpg", "dog.png", "-p", "A pet", "-o", "videos/")
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["videos/cat.mp4", "videos/dog.mp4"]
    assert sorted(path.name for path in (folder / "videos").iterdir()) == ["cat.mp4", "dog.mp4"]
    assert "bad.jpg: This is not an image" in done.stderr


def test_generate__without_a_terminal_prints_plain_lines(reelay: Run) -> None:
    done = reelay("generate", "cat.jpg", "-p", "A cat")
    assert done.stdout == "cat.mp4\n"
    lines = done.stderr.splitlines()
    assert lines[0] == "cat.jpg  sending"
    assert re.fullmatch(r"cat\.jpg  succeeded   100 %", lines[-1])
    assert "\x1b" not in done.stdout + done.stderr and "━" not in done.stderr


def test_generate__a_job_that_fails_says_why(reelay: Run, folder: Path) -> None:
    done = reelay("generate", "cat.jpg", "-p", FAILING, "--json")
    assert done.returncode == 1
    [entry] = read(done)
    assert (entry["job"]["status"], entry["file"]) == ("failed", None)
    assert entry["error"] == {"code": "upstream_failed", "message": entry["job"]["error"]["message"]}
    assert not (folder / "cat.mp4").exists()


def test_generate__needs_no_image_where_the_model_needs_none(reelay: Run, folder: Path) -> None:
    done = reelay("generate", "--model", "veo2", "-p", "A boat")
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"job_[0-9a-f]{32}\.mp4\n", done.stdout)
    assert (folder / done.stdout.strip()).stat().st_size > 1000


def test_generate__takes_links_data_uris_and_files_for_parameters(reelay: Run) -> None:
    link, data = "https://pictures.example/deep/boat.png?x=1", "data:image/jpeg;base64,bm8="
    done = reelay("generate", link, data, "-p", "x", "--param", "tail_image_url=@cat.jpg", "-d", "--json")
    taken, refused = read(done)
    assert taken["job"]["input"]["image_url"] == link
    assert taken["job"]["input"]["tail_image_url"].startswith("file_")
    assert refused["error"]["code"] == "invalid_image"


def test_generate__takes_videos_and_sounds_by_path_and_objects_as_json(reelay: Run, folder: Path) -> None:
    (folder / "clip.mp4").write_bytes(clip())
    (folder / "voice.wav").write_bytes(sound())
    edit = ["--model", "klingai/video-o1-video-to-video-edit", "-p", "x", "-d", "--json"]
    element = {"frontal_image_url": "https://a.example/a.jpg", "reference_image_urls": ["https://a.example/b.jpg"]}
    [edited] = read(reelay("generate", "clip.mp4", *edit, "--param", f"elements={json.dumps(element)}"))
    assert edited["job"]["input"]["video_url"].startswith("file_")
    assert edited["job"]["input"]["elements"] == [element]
    talk = ["--model", "klingai/avatar-pro", "--param", "audio_url=@voice.wav", "-d", "--json"]
    [talked] = read(reelay("generate", "cat.jpg", *talk))
    assert [talked["job"]["input"][name][:5] for name in ("image_url", "audio_url")] == ["file_", "file_"]
    [linked] = read(reelay("generate", "https://a.example/clip.mp4", *edit))
    assert linked["job"]["input"]["video_url"] == "https://a.example/clip.mp4"


def test_generate__takes_a_file_id(reelay: Run) -> None:
    [first] = read(reelay("generate", "cat.jpg", "-p", "x", "-d", "--json"))
    id_ = first["job"]["input"]["image_url"]
    [again] = read(reelay("generate", id_, "-p", "x", "-d", "--json"))
    assert (id_[:5], again["job"]["input"]["image_url"]) == ("file_", id_)


def test_dry_run__prices_and_spends_nothing(reelay: Run, served: Served, folder: Path) -> None:
    newest = served.newest()
    done = reelay("generate", "cat.jpg", "dog.png", "-p", "A pet", "--dry-run")
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert [(row[0], row[1], row[4]) for row in rows] == [
        ("cat.jpg", "2.50 USD", "yes"),
        ("dog.png", "2.50 USD", "yes"),
    ]
    assert "5.00 USD together" in done.stderr
    assert served.newest() == newest
    assert not list(folder.glob("*.mp4"))


def test_dry_run__tells_what_would_be_refused(reelay: Run) -> None:
    done = reelay("generate", "cat.jpg", "bad.jpg", "-p", "x", "--dry-run", "--max-cost-usd", "2.49", "--json")
    assert done.returncode == 1
    dear, bad = read(done)
    assert (dear["valid"], dear["cost"]["estimated_usd"], dear["error"]) == (False, 2.5, None)
    assert (bad["valid"], bad["error"]["param"]) == (False, "input.image_url")


def test_generate__refuses_above_the_limit(reelay: Run, served: Served) -> None:
    newest = served.newest()
    done = reelay("generate", "cat.jpg", "-p", "x", "--max-cost-usd", "2.49")
    assert (done.returncode, served.newest()) == (1, newest)
    assert "above its 'max_cost_usd'" in done.stderr


def test_detach__prints_ids_and_does_not_wait(reelay: Run, served: Served) -> None:
    done = reelay("generate", "cat.jpg", "-p", SLOW, "--detach")
    id_ = done.stdout.strip()
    with served.client() as client:
        assert client.get(f"/v1/jobs/{id_}").json()["status"] in ("queued", "in_progress")
        client.post(f"/v1/jobs/{id_}/cancel")


def test_generate__never_overwrites_unless_told(reelay: Run, served: Served, folder: Path) -> None:
    (folder / "cat.mp4").write_text("mine")
    newest = served.newest()
    refused = reelay("generate", "cat.jpg", "-p", "A cat")
    assert (refused.returncode, served.newest()) == (2, newest)
    assert "cat.mp4 exists" in refused.stderr and "--force" in refused.stderr
    assert (folder / "cat.mp4").read_text() == "mine"
    assert reelay("generate", "cat.jpg", "-p", "A cat", "--force").returncode == 0
    assert (folder / "cat.mp4").read_bytes()[4:8] == b"ftyp"


@pytest.mark.parametrize(
    ("environment", "code", "says"),
    [
        ({"REELAY_KEY": "rly_wrong"}, 2, "REELAY_KEY: This key does not work"),
        ({"REELAY_KEY": ""}, 2, "REELAY_KEY is not set"),
        ({"REELAY_URL": "localhost:8000"}, 2, "REELAY_URL"),
        ({"REELAY_KEY_FILE": "nowhere"}, 2, "REELAY_KEY_FILE: nowhere cannot be read"),
    ],
)
@pytest.mark.parametrize("arguments", [["models"], ["generate", "cat.jpg", "-p", "x"]])
def test_connect__says_which_setting_is_wrong(
    reelay: Run, arguments: list[str], environment: dict[str, str], code: int, says: str
) -> None:
    done = reelay(*arguments, environment=environment)
    assert (done.returncode, done.stdout) == (code, "")
    assert says in done.stderr


def test_connect__reads_the_key_from_a_file(reelay: Run, served: Served, folder: Path) -> None:
    (folder / "key").write_text(served.key + "\n")
    assert reelay("models", environment={"REELAY_KEY_FILE": "key", "REELAY_KEY": ""}).returncode == 0


def test_connect__a_service_that_is_away_is_another_code(reelay: Run) -> None:
    done = reelay("models", environment={"REELAY_URL": f"http://127.0.0.1:{free_port()}"})
    assert (done.returncode, done.stdout) == (4, "")
    assert "does not answer" in done.stderr and "REELAY_URL" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.jpg"], "nowhere.jpg cannot be read"),
        (["cat.jpg", "--param", "duration"], "write name=value"),
        (["cat.jpg", "--param", "tail_image_url=@nowhere.png"], "nowhere.png cannot be read"),
        (["cat.jpg", "dog.png", "-o", "one.mp4"], "one file for 2 videos"),
        (["cat.jpg", "./cat.jpg"], "{n}-{name}.mp4"),
        (["cat.jpg", "-o", "{what}.mp4"], "{what} is unknown"),
        (["cat.jpg", "-o", "cat.jpg/x.mp4"], "cannot be made"),
    ],
)
def test_generate__refuses_before_it_buys(reelay: Run, served: Served, arguments: list[str], says: str) -> None:
    newest = served.newest()
    done = reelay("generate", *arguments, "-p", "x")
    assert (done.returncode, served.newest()) == (2, newest)
    assert says in done.stderr.replace("\n", " ")


def test_interrupt__without_a_terminal_names_the_jobs_and_how_to_resume(served: Served, folder: Path) -> None:
    generating = Started(served, folder, "generate", "cat.jpg", "-p", SLOW)
    generating.wait_for("generating")
    generating.process.send_signal(signal.SIGINT)
    status, _, rest = generating.end()
    assert status == 130
    [id_] = re.findall(r"reelay jobs download (job_[0-9a-f]{32})", rest)
    with served.client() as client:
        assert client.get(f"/v1/jobs/{id_}").json()["state"] == "generating"
        client.post(f"/v1/jobs/{id_}/cancel")


def test_download__resumes_what_was_left(reelay: Run, made: Callable[..., str], folder: Path) -> None:
    id_ = made(state="generating")
    done = reelay("jobs", "download", id_)
    assert (done.returncode, done.stdout) == (0, f"{id_}.mp4\n"), done.stderr
    assert (folder / f"{id_}.mp4").read_bytes()[4:8] == b"ftyp"
