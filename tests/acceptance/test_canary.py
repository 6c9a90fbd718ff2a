"""A service with the upstream key, asked for all that it answers and made to fail: nothing shows the key."""

from pathlib import Path

import httpx2

from tests import canary
from tests.acceptance.processes import Deployment, sandbox
from tests.canary import UPSTREAM_KEY
from tests.factories import picture

PROMPTS = ("A boat", "A boat [[fault:fail]]", "A boat [[fault:out-of-credits=1]]", "A boat [[fault:reset-before]]")


def test_service__shows_the_key_nowhere(folder: Path) -> None:
    with sandbox(folder, "--speed", "60") as upstream:
        house = Deployment(folder, upstream_url=upstream, database_url=None, log_level="debug")
        try:
            process, url = house.serve()
            key = house.new_key(scopes="admin")
            with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
                ids = [
                    client.post("/v1/jobs", data={"prompt": prompt}, files={"image": picture()}).json()["id"]
                    for prompt in PROMPTS
                ]
                client.get(f"/v1/jobs/{ids[0]}", params={"wait": 30})
                document = client.get("/openapi.json").json()
                asked = [path for path, methods in document["paths"].items() if "get" in methods]
                for path in [*asked, "/", "/metrics", "/nowhere"]:
                    client.get(path.replace("{job_id}", ids[0]))
                client.get("/v1/jobs", headers={"Authorization": f"Bearer {UPSTREAM_KEY}"[:-1] + "x"})
            house.run("doctor", "--json")
            process.stop()
        finally:
            house.close()
    assert len(asked) > 10
    assert canary.in_files(folder) == []
    assert (folder / "data" / "reelay.db").stat().st_size > 0
