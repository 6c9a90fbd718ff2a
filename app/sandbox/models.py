"""The public model list with its prices, and how long models take: both read without a key."""

import hashlib
import json
from collections import defaultdict
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.catalogue.catalogue import Model
from app.sandbox.answers import timestamp
from app.sandbox.sandbox import CANONICAL, Sandbox, of

_SECTIONS = ("pricing", "modalities", "capabilities")
_TYPE = "internal/video-generations/submit"
_METRICS_WINDOW_SECONDS = 300
_PERCENTILES = (50, 75, 90, 99)
_CAPABILITY_OF = {"image": "image_to_video", "video": "video_to_video", "audio": "audio_to_video"}


async def models(request: Request) -> Response:
    """List the models that match, with the sections asked for; 304 when the caller has this very list."""
    box = of(request)
    sections = _values(request, "include")
    if "all" in sections or request.query_params.get("details") == "true":
        sections = set(_SECTIONS)
    entries = [_entry(box, model) for model in box.catalogue.models.values()]
    data = [
        {key: value for key, value in entry.items() if key not in _SECTIONS or key in sections}
        for entry in entries
        if _matches(request, entry)
    ]
    body = json.dumps({"object": "list", "data": data}).encode()
    etag = f'W/"{len(body):x}-{hashlib.sha256(body).hexdigest()[:27]}"'
    known = {tag.strip() for tag in request.headers.get("if-none-match", "").split(",")}
    if etag in known or "*" in known:
        return Response(status_code=304, headers={"etag": etag})
    return Response(body, media_type="application/json", headers={"etag": etag})


def _entry(box: Sandbox, model: Model) -> dict[str, Any]:
    kinds = sorted(set(model.media_parameters.values()))
    needs_media = any(name in model.required for name in model.media_parameters)
    capabilities = [_CAPABILITY_OF[kind] for kind in kinds] + ([] if needs_media else ["text_to_video"])
    canonical = CANONICAL.get(model.id, model.id)
    return {
        "id": canonical,
        "aliases": [model.id] if canonical != model.id else [],
        "type": _TYPE,
        "info": {"name": model.id, "developer": model.developer},
        "tags": ["playground:video"],
        "modalities": {"input": [*(["text"] if "prompt" in model.properties else []), *kinds], "output": ["video"]},
        "capabilities": capabilities,
        "pricing": box.prices[model.id].as_listed(),
    }


def _matches(request: Request, entry: dict[str, Any]) -> bool:
    """Apply the documented filters: any value of one parameter, all parameters together, case aside."""
    inputs, outputs = entry["modalities"]["input"], entry["modalities"]["output"]
    found = {
        "id": [entry["id"], *entry["aliases"]],
        "type": [entry["type"]],
        "tags": entry["tags"],
        "modalities": [*inputs, *outputs],
        "input_modalities": inputs,
        "output_modalities": outputs,
        "capabilities": entry["capabilities"],
    }
    return all(
        wanted & {name.lower() for name in found[parameter]}
        for parameter in found
        if (wanted := _values(request, parameter))
    )


def _values(request: Request, parameter: str) -> set[str]:
    """Return a parameter's values, repeated or comma-separated."""
    joined = ",".join(request.query_params.getlist(parameter))
    return {value.strip().lower() for value in joined.split(",") if value.strip()}


async def metrics(request: Request) -> Response:
    """Report how long generations took within the last minutes; a model without any is absent."""
    box = of(request)
    wanted = set(request.query_params.getlist("aliases"))
    taken: dict[str, list[float]] = defaultdict(list)
    for model, seconds in box.store.durations(since=box.now - _METRICS_WINDOW_SECONDS, until=box.now):
        if not wanted or {model, CANONICAL.get(model, model)} & wanted:
            taken[model].append(seconds * 1000)
    rows = [
        {"alias": model, "endpoint": "/v2/video/generations", "metrics": {"duration_ms": _percentiles(sorted(values))}}
        for model, values in sorted(taken.items())
    ]
    generated_at = timestamp(box.now)
    return JSONResponse({"window_seconds": _METRICS_WINDOW_SECONDS, "generated_at": generated_at, "models": rows})


def _percentiles(values: list[float]) -> dict[str, float]:
    """Return nearest-rank percentiles of ascending values."""
    return {f"p{p}": round(values[max(0, -(-len(values) * p // 100) - 1)], 1) for p in _PERCENTILES}
