"""Which models there are, what they take, cost and how long they take."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter
from starlette.responses import Response

from app.api import describing, estimating, offering
from app.api.deps import House, HouseDep, Reader
from app.api.offering import Offer
from app.api.schemas import ModelList, ModelView
from app.catalogue.catalogue import Model
from app.db import durations
from app.domain.errors import NotFound, UnknownModel
from app.domain.pacing import Durations

router = APIRouter(prefix="/v1/models", tags=["models"])
CREATED = 1_793_491_200
"""OpenAI's clients want a number here: the first of November 2026, when the catalogue was read."""


@router.get("", summary="List the models", response_model=ModelList, responses=describing.answers(400, 401, 403, 503))
async def list_models(caller: Reader, house: HouseDep) -> Response:
    """Every model with the schema of its input."""
    offer = await offering.offer(house)
    views = await _views(offer.models(), offer=offer, house=house)
    return Response(ModelList(data=views).model_dump_json(), media_type="application/json")


@router.get(
    "/{model_id:path}",
    summary="Read a model",
    response_model=ModelView,
    responses=describing.answers(400, 401, 403, 404, 503),
)
async def read_model(model_id: str, caller: Reader, house: HouseDep) -> Response:
    """One model; its id may hold slashes."""
    offer = await offering.offer(house)
    try:
        model = offer.get(model_id)
    except UnknownModel as error:
        raise NotFound(error.message, code="unknown_model") from None
    [view] = await _views([model], offer=offer, house=house)
    return Response(view.model_dump_json(), media_type="application/json")


async def _views(models: list[Model], *, offer: Offer, house: House) -> list[ModelView]:
    rules = await estimating.rules(house)
    learned = await house.db.read(durations.read_all)
    return [_view(model, offer=offer, rules=rules, learned=learned.of_model(model.id)) for model in models]


def _view(model: Model, *, offer: Offer, rules: Mapping[str, Any], learned: Durations | None) -> ModelView:
    return ModelView(
        id=model.id,
        created=CREATED,
        owned_by=model.developer,
        aliases=offer.aliases(model),
        known=model.known,
        available=offer.is_available(model),
        input_schema=model.strict_schema if model.known else None,
        pricing=rules.get(model.id),
        typical_seconds=None if learned is None else round(learned.typical_seconds, 1),
    )
