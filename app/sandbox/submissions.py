"""`POST` of a generation: the one call that costs money."""

import hashlib
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.catalogue.catalogue import Model
from app.sandbox.answers import CutResponse, Refused
from app.sandbox.faults import AFTER_PURCHASE, BEFORE_PURCHASE, Faults, UnknownFault, number, parse_prompt, stays
from app.sandbox.generations import Generation, new_id, on_the_wire, outcome_of, seconds_needed, style_of, usage
from app.sandbox.intake import check, invalid, keep_media, read_body
from app.sandbox.mishaps import asked_in_header, strike
from app.sandbox.prices import usd
from app.sandbox.sandbox import CANONICAL, Sandbox, client_request_id, new_inference_id, new_request_id, of
from app.sandbox.store import LogRow


@dataclass
class Submission:
    """One paid request on its way in; it learns its model and its faults as it is read."""

    created: float
    client_request_id: str | None
    request_id: str
    inference_id: str
    model_name: str = "unknown"


async def submit(request: Request) -> Response:
    """Sell a generation: refusals cost nothing and are logged as failed, everything past `buy` is bought."""
    box = of(request)
    box.requests["submit"] += 1
    box.check_key(request)
    submission = Submission(box.now, client_request_id(request), new_request_id(), new_inference_id())
    request.state.inference_id = submission.inference_id
    try:
        model, inputs, faults = await _read(request, box, submission)
        for name in [name for name in faults if name in BEFORE_PURCHASE]:
            box.faults.note(name)
            await strike(request, name.removesuffix("-before"), faults[name])
        earlier = box.store.latest() if "repeat-id" in faults else None
        generation = _buy(box, submission, model, inputs, faults)
    except Refused as refused:
        _log_refusal(box, submission, refused)
        raise
    named = earlier or generation
    request.state.inference_id = named.id
    return await _answer(request, generation, named, faults)


async def _read(request: Request, box: Sandbox, submission: Submission) -> tuple[Model, dict[str, Any], Faults]:
    """Return what is asked for, and what is to go wrong; raise Refused for what the upstream would not take."""
    raw = await _body(request, box.config.max_body_bytes)
    body = read_body(raw)
    submission.model_name = body.pop("model")
    model = box.model(submission.model_name)
    submission.model_name = CANONICAL.get(model.id, model.id)
    inputs = await keep_media(model, check(model, body), box.studio.stills)
    prompt = str(inputs.get("prompt") or "")
    subject = hashlib.sha256(prompt.encode("utf-8", "replace")).hexdigest()
    try:
        asked = box.faults.granted(parse_prompt(prompt), subject=subject)
    except UnknownFault as unknown:
        raise invalid(str(unknown)) from None
    return model, inputs, box.faults.drawn(area=None) | asked | asked_in_header(request)


async def _body(request: Request, limit: int) -> bytes:
    """Return the body; raise Refused (413) as soon as it is too large."""
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > limit:
            raise Refused(413, "request entity too large")
    return bytes(raw)


def _buy(box: Sandbox, submission: Submission, model: Model, inputs: dict[str, Any], faults: Faults) -> Generation:
    """Check the limits and record the purchase, with nothing in between: no two submissions take the last slot."""
    price = box.prices[model.id].charge_credits(inputs)
    box.admit(price)
    staying = {name: value for name, value in faults.items() if stays(name)}
    now = box.now
    generation = Generation(
        seq=0,
        id=new_id(style_of(model.id, box.config).form, model.id),
        client_request_id=submission.client_request_id,
        model=model.id,
        prompt=str(inputs.get("prompt") or ""),
        inputs=inputs,
        created=now,
        ready=now + seconds_needed(model.id, box.config, faults, box.rng),
        outcome=outcome_of(faults),
        price_credits=price,
        faults=staying,
    )
    for name in staying:
        box.faults.note(name)
    status = "succeeded" if generation.outcome == "completed" else "failed"
    return box.buy(generation, _row(submission, status, generation.id, generation.cost_credits, generation.ready))


async def _answer(request: Request, generation: Generation, named: Generation, faults: Faults) -> Response:
    """Answer a purchase, unless one of the faults that strike after it does so instead."""
    box = of(request)
    answer = _bought(box, generation, named, vendor_path="/generate/" in request.url.path)
    for name in [name for name in faults if name in AFTER_PURCHASE]:
        box.faults.note(name)
        if name == "truncate":
            half = len(answer.body) // 2
            return CutResponse(answer, keep=int(number(faults[name], half)))
        if name != "repeat-id":
            await strike(request, name.removesuffix("-after"), faults[name])
    return answer


def _bought(box: Sandbox, generation: Generation, named: Generation, *, vendor_path: bool) -> Response:
    style = style_of(generation.model, box.config)
    status = "waiting" if "waiting-words" in generation.faults else "queued"
    answer: dict[str, Any] = {style.field: on_the_wire(named.id), "status": status}
    headers = {}
    if "no-credits" not in generation.faults:
        if box.config.credits_reported in ("submit", "both"):
            answer["meta"] = usage(generation.price_credits)
        if box.config.cost_headers:
            headers["x-aimlapi-credits-used"] = str(generation.price_credits)
            headers["x-aimlapi-usd-spent"] = f"{usd(generation.price_credits):.9f}"
    return JSONResponse(answer, status_code=201 if vendor_path else 200, headers=headers)


def _log_refusal(box: Sandbox, submission: Submission, refused: Refused) -> None:
    """Log a request that bought nothing; one without a good key belongs to nobody's log."""
    if refused.status != 401:
        box.store.log(_row(submission, "failed", submission.inference_id, 0, box.now))


def _row(submission: Submission, status: str, inference_id: str, credits_used: int, visible: float) -> LogRow:
    return LogRow(
        submission.created,
        visible,
        status,
        submission.model_name,
        credits_used,
        submission.request_id,
        inference_id,
        submission.client_request_id,
    )
