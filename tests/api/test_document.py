"""The OpenAPI document: complete, true, and held against the running application by schemathesis."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import FailedHealthCheck, Unsatisfiable
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from app.api import routes
from app.api.callers import Caller
from app.api.deps import House
from app.catalogue.catalogue import DEFAULT_MODEL, Catalogue
from app.db import delivery_log, tokens, webhooks
from app.db.engine import Database
from app.db.tokens import Grant
from app.domain.sealing import Sealer
from app.domain.secrets import Scope
from app.domain.states import JobState
from tests.api.conftest import CATALOGUE, ClientFor
from tests.factories import VIDEO, make_caller, make_job, picture


@pytest.fixture
def database_kind() -> str:
    """The document is about the front door; what lies behind it has its tests on both databases."""
    return "sqlite"


@pytest.fixture
async def document(client_for: ClientFor) -> dict[str, Any]:
    found: dict[str, Any] = (await client_for().get("/openapi.json")).json()
    return found


async def test_document__declares_every_refusal(document: dict[str, Any]) -> None:
    operations = [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if path.startswith("/v1/")
    ]
    assert len(operations) == 56
    for method, path, operation in operations:
        declared = set(operation["responses"])
        assert operation["summary"] and operation["description"]
        assert {"400", "401", "403", "503"} <= declared, (method, path)
        takes_key = "Idempotency-Key" in {parameter["name"] for parameter in operation.get("parameters", ())}
        creates = "201" in declared or (method == "post" and path.startswith("/v1/videos"))  # OpenAI answers 200
        assert takes_key == ({"410", "422"} <= declared) == creates, (method, path)
        assert takes_key or not {"410", "422"} & declared, (method, path)
        assert ("404" in declared) == ("{" in path)
        assert ({"413", "415"} <= declared) == ("requestBody" in operation)
        assert {"key": []} in operation["security"]
        for status in declared - {"200", "201", "202", "204", "206", "302", "304"}:
            schema = operation["responses"][status]["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/ErrorBody"}


async def test_document__ties_each_model_to_its_input(document: dict[str, Any]) -> None:
    request = document["components"]["schemas"]["JobRequest"]
    assert request["properties"]["model"]["enum"] == list(CATALOGUE.models)
    assert {variant["properties"]["model"]["const"] for variant in request["anyOf"]} == set(CATALOGUE.models)
    for variant in request["anyOf"]:
        name = variant["properties"]["input"]["$ref"].rpartition("/")[2]
        assert document["components"]["schemas"][name]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("path", "what"),
    [("/v1/jobs", "job"), ("/v1/jobs/{job_id}/retry", "job"), ("/v1/files", "file"), ("/v1/admin/projects", "project")],
)
async def test_document__says_what_was_made(document: dict[str, Any], path: str, what: str) -> None:
    headers = document["paths"][path]["post"]["responses"]["201"]["headers"]
    assert headers["Location"]["description"] == f"The {what}'s address."
    assert f"The {what} was made" in headers["Idempotent-Replayed"]["description"]


async def test_document__examples_work(document: dict[str, Any], client: httpx2.AsyncClient) -> None:
    content = document["paths"]["/v1/jobs"]["post"]["requestBody"]["content"]
    example = content["application/json"]["example"] | {"max_cost_usd": None}
    assert (await client.post("/v1/jobs", json=example)).status_code == 201
    assert set(content) == {"application/json", "multipart/form-data"}


bounded = settings(
    max_examples=8,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=set(HealthCheck) - {HealthCheck.filter_too_much},
)


def strategies(operation: Any, known: dict[str, list[Any]]) -> Iterator[tuple[bool, Any]]:
    """Right and wrong requests, with whether they are right; where the path holds an id, half name one that exists."""
    for mode in schemathesis.GenerationMode:
        yield mode.is_positive, operation.as_strategy(generation_mode=mode)
        for name, ids in known.items():
            if f"{{{name}}}" in operation.path:
                yield (
                    mode.is_positive,
                    st.sampled_from(ids).flatmap(
                        lambda id_, name=name, mode=mode: operation.as_strategy(
                            generation_mode=mode, path_parameters=filled(operation.path, name, id_)
                        )
                    ),
                )


def filled(path: str, name: str, id_: Any) -> dict[str, str]:
    """Return the path's parameters; an id within another's comes with that."""
    ids: dict[str, str] = id_ if isinstance(id_, dict) else {name: id_}
    return {name: value for name, value in ids.items() if f"{{{name}}}" in path}


BEYOND_A_SCHEMA = {
    *("invalid_cursor", "invalid_file", "invalid_image", "invalid_audio", "invalid_range"),
    *("price_unknown", "seed_required", "idempotency_key_reused", "video_not_ready", "unknown_model"),
    "invalid_webhook_url",
}
"""Refusals of requests that are right by the document: for what only decoding, or the database, tells."""


def code_of(response: schemathesis.Response) -> str | None:
    """Return the error's code; the AI/ML API has none."""
    return response.json().get("error", {}).get("code")


FOREIGN = {
    *("POST /v1/videos", "POST /v1/videos/{video_id}/remix"),
    *("POST /v2/video/generations", "GET /v2/video/generations"),
}
"""Faces of other APIs: their bodies are described as those do it, without what each model takes."""


def misjudging(case: schemathesis.Case, response: schemathesis.Response) -> Iterator[Any]:
    """Yield the checks that would be wrong about this answer."""
    if case.operation.label in FOREIGN and response.status_code in (400, 422):
        yield positive_data_acceptance
    if response.status_code in (400, 422) and response.content and code_of(response) in BEYOND_A_SCHEMA:
        yield positive_data_acceptance
    if case.media_type == "multipart/form-data" and response.status_code == 201:
        yield negative_data_rejection  # a form has only text: `false`, where a text belongs, is one


SEVERAL = (
    DEFAULT_MODEL,
    "veo2",
    "google/veo-3.1-first-last-image-to-video",
    "klingai/v2.5-turbo/pro/image-to-video",
    "openai/sora-2-i2v",
    "klingai/avatar-pro",
    "kling-video/v1.6/standard/multi-image-to-video",
)
"""Of each kind of form one: with all models the forms are more than schemathesis can make requests from."""


async def uploaded(app: FastAPI, headers: dict[str, str]) -> str:
    """Upload a file and return its id."""
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="https://reelay.test", headers=headers) as client:
        made = await client.post("/v1/files", files={"file": ("a.jpg", picture())})
    file_id: str = made.json()["id"]
    return file_id


def endpoints(database: Database, me: Caller) -> tuple[list[str], list[dict[str, str]]]:
    """Make webhook endpoints with a delivery each, and return what paths name of them."""
    with database.transaction() as conn:
        now = database.now(conn)
        made = [
            webhooks.create(conn, me.key, url="https://93.184.216.34/", events=None, sealer=Sealer(b"s"), now=now)[0]
            for _ in range(15)
        ]
        owed = [{"webhook_id": hook.id, "delivery_id": delivery_log.owe_test(conn, hook, now=now).id} for hook in made]
    return [hook.id for hook in made], owed


def test_document__is_kept(house: House, database: Database) -> None:
    """Every route, with right and with wrong requests: no failure, nothing undeclared, nothing wrong let through."""
    house = replace(house, catalogue=Catalogue({name: CATALOGUE.models[name] for name in SEVERAL}))
    app = routes.build(house)
    house.closing.set()  # nobody is kept waiting
    me, secret = make_caller(database, scopes=frozenset({Scope.ADMIN}))
    states = [*JobState, *[JobState.SUCCEEDED] * 9, *[JobState.UNCONFIRMED] * 3]
    ids = [make_job(database, me, state=state).id for state in states]
    others = [make_job(database, me, state=state).id for state in states]
    for id_ in [*ids, *others]:
        asyncio.run(house.store.put_bytes(f"videos/{id_}.mp4", VIDEO, content_type="video/mp4"))
    key = {"Authorization": f"Bearer {secret}"}
    config = schemathesis.Config()
    # What no database holds has its own tests; and the key is given, not made up.
    config.projects.default.generation.update(allow_x00=False, with_security_parameters=False)
    documented = schemathesis.openapi.from_asgi("/openapi.json", app, config=config)
    answered: dict[str, set[int]] = defaultdict(set)

    def require_kept(case: schemathesis.Case) -> None:
        response = case.call(headers=key)
        answered[case.operation.label].add(response.status_code // 100)
        case.validate_response(response, headers=key, excluded_checks=list(misjudging(case, response)))

    with database.transaction() as conn:
        grant, now = Grant(lifetime=timedelta(hours=1)), database.now(conn)
        minted = [tokens.mint(conn, me.key, grant, now=now)[0].id for _ in states]
    kept = [asyncio.run(uploaded(app, key)) for _ in range(4)]
    hooks, owed = endpoints(database, me)
    strangers = [make_caller(database, project=f"other {number}") for number in range(4)]
    known = {
        "file_id": kept,
        "job_id": ids,
        "video_id": [id_.replace("job_", "video_") for id_ in others],
        "model_id": list(SEVERAL),
        "token_id": minted,
        "webhook_id": hooks,
        "delivery_id": owed,
        "project_id": [other.project.id for other, _ in strangers],
        "key_id": [other.key.id for other, _ in strangers],
    }
    operations = [result.ok() for result in documented.get_all_operations()]
    for operation in sorted(operations, key=lambda operation: operation.method == "delete"):
        for is_right, strategy in strategies(operation, known):
            # Some routes take nothing that could be wrong; there is always something right.
            with nullcontext() if is_right else suppress(Unsatisfiable, FailedHealthCheck):
                bounded(given(case=strategy)(require_kept))()
    assert len(answered) == 61
    # No bytes made up by chance are a picture, or an address.
    hopeless = FOREIGN | {"POST /v1/files", "POST /v1/webhooks"}
    assert [label for label, classes in answered.items() if 2 not in classes and label not in hopeless] == []
    assert not any(5 in classes for classes in answered.values())
