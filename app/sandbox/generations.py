"""A bought generation: how its id looks, where it stands at a given moment, and how a poll describes it."""

import math
import random
import secrets
import string
import uuid
from typing import Any, Literal, NamedTuple

from app.sandbox.config import SandboxConfig
from app.sandbox.faults import FAILURES, Faults, number
from app.sandbox.prices import usd

Phase = Literal["queued", "generating", "completed", "error"]
Outcome = Literal["completed", "error"]

_QUEUED_SHARE = 0.1
_P90 = 1.2815515655446004  # of the standard normal distribution
_NANOID = string.ascii_letters + string.digits + "_-"
_FACE_ERROR = {
    "loc": ["body", "image_url"],
    "msg": "Could not detect face in the image",
    "type": "face_detection_error",
    "input": "image",
}
_ERRORS: dict[str, Any] = {
    "fail": {"name": "GenerationError", "message": "The model could not generate this video."},
    "fail-detail": {"detail": [_FACE_ERROR]},
    "fail-string": "Generation failed: internal model error",
    "fail-null": None,
    "fail-charged": {"name": "GenerationError", "message": "The model could not generate this video."},
}
_PACE = {"fast": 0.5, "turbo": 0.6, "lite": 0.5, "flash": 0.5, "draft": 0.4, "pro": 1.6, "master": 2.2}


class IdStyle(NamedTuple):
    """The form of a model's generation ids and the field of the submit answer that holds them."""

    form: str
    field: str


_STYLES = {
    "minimax/": IdStyle("number", "generation_id"),
    "video-01": IdStyle("number", "generation_id"),
    "pixverse/": IdStyle("nanoid", "generation_id"),
    "veo2": IdStyle("uuid-model", "id"),
    "kling": IdStyle("uuid-model", "id"),
    "alibaba/": IdStyle("nanoid", "id"),
    "openai/": IdStyle("nanoid", "id"),
}


class Generation(NamedTuple):
    """One purchase, as it is remembered; times are seconds since the epoch."""

    seq: int
    id: str
    client_request_id: str | None
    model: str
    prompt: str
    inputs: dict[str, Any]
    created: float
    ready: float
    outcome: Outcome
    price_credits: int
    faults: Faults

    @property
    def cost_credits(self) -> int:
        """What it costs in the end: a failed generation costs nothing."""
        return self.price_credits if self.outcome == "completed" else 0

    def phase(self, now: float) -> Phase:
        if now >= self.ready:
            return self.outcome
        return "queued" if now < self.created + _QUEUED_SHARE * (self.ready - self.created) else "generating"

    def status_word(self, now: float) -> str:
        """Return the word on the wire, in whatever vocabulary the faults ask for."""
        phase = self.phase(now)
        if "waiting-words" in self.faults:
            return {"queued": "waiting", "generating": "active", "completed": "succeeded"}.get(phase, phase)
        if "unknown-status" in self.faults and phase == "generating":
            return self.faults["unknown-status"] or "dreaming"
        return phase


def style_of(model_id: str, config: SandboxConfig) -> IdStyle:
    """Choose how a model's ids look: by its family, unless the configuration says otherwise."""
    style = next((s for prefix, s in _STYLES.items() if model_id.startswith(prefix)), IdStyle("uuid", "id"))
    form = style.form if config.id_form == "by-model" else config.id_form
    return IdStyle(form, style.field if config.id_field == "by-model" else config.id_field)


def new_id(form: str, model_id: str) -> str:
    """Return a fresh id of one of the documented forms."""
    match form:
        case "number":
            return str(10**14 + secrets.randbelow(9 * 10**14))
        case "nanoid":
            return "".join(secrets.choice(_NANOID) for _ in range(21))
        case "uuid-model":
            return f"{uuid.uuid4()}:{model_id}"
        case _:
            return str(uuid.uuid4())


def on_the_wire(generation_id: str) -> str | int:
    """A bare number travels as a JSON number."""
    return int(generation_id) if generation_id.isdecimal() else generation_id


def seconds_needed(model_id: str, config: SandboxConfig, faults: Faults, rng: random.Random) -> float:
    """Draw how long a generation takes: lognormal around the documented 45 s, scaled by model and by speed."""
    sigma = math.log(config.p90_seconds / config.median_seconds) / _P90
    pace = math.prod(factor for word, factor in _PACE.items() if word in model_id)
    slowness = number(faults["slow"], 10) if "slow" in faults else 1.0
    return config.median_seconds * math.exp(rng.gauss(0, sigma)) * pace * slowness / config.speed


def outcome_of(faults: Faults) -> Outcome:
    return "error" if any(name in faults for name in FAILURES) else "completed"


def usage(credits_used: int) -> dict[str, Any]:
    """Return the `meta` block that reports a cost."""
    return {"usage": {"credits_used": credits_used, "usd_spent": usd(credits_used)}}


def describe(generation: Generation, *, now: float, video: dict[str, Any] | None, report: bool) -> dict[str, Any]:
    """Return a poll's answer; `video` is shown only once finished, the cost only where it is to be reported."""
    phase = generation.phase(now)
    answer: dict[str, Any] = {"id": on_the_wire(generation.id), "status": generation.status_word(now)}
    if phase == "error":
        answer["error"] = next(_ERRORS[name] for name in FAILURES if name in generation.faults)
        if "fail-charged" in generation.faults:
            answer["meta"] = usage(generation.price_credits)
    if phase == "completed":
        answer["video"] = video
        if report:
            answer["meta"] = usage(generation.cost_credits)
    return answer
