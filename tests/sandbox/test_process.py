"""The sandbox as a process of its own."""

import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from app.sandbox.__main__ import main


def test_process__announces_itself_serves_and_ends_with_its_parent(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "app.sandbox", "--port", "0", "--data-dir", str(tmp_path), "--exit-with-parent",
               "--tiny", "--speed", "100", "--key", "k1", "--fault", "fail-null=1", "--max-in-flight", "7"]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        line = process.stdout.readline()
        assert line.startswith("sandbox listening on http://127.0.0.1:")
        with httpx2.Client(base_url=line.split()[-1], headers={"authorization": "Bearer k1"}) as http:
            bought = http.post("/v2/video/generations", json={"model": "veo2", "prompt": "x"})
            assert bought.status_code == 200
            assert http.get("/_sandbox/ledger").json()["purchases"][0]["faults"] == {"fail-null": None}
        process.stdin.close()
        assert process.wait(10) == 0
        assert process.stdout.read() == ""


@pytest.mark.parametrize(
    "wrong", [["--speed", "0"], ["--fault", "nonsense=1"], ["--fault", "429=often"], ["--fault", "429=2"], []]
)
def test_main__refuses_bad_arguments(tmp_path: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*wrong, "--data-dir", str(tmp_path)] if wrong else [])
    assert "error" in capsys.readouterr().err
