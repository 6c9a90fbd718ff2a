"""Which models can be asked for: those of the catalogue by any of their names and, if allowed, what is new upstream."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from app.api.deps import House
from app.api.wire import LONGEST_NAME
from app.catalogue.catalogue import Catalogue, Model, no_such_model
from app.db import deployment
from app.domain.errors import InvalidRequest, UnknownModel
from app.domain.listing import ListedModel


@dataclass(frozen=True)
class Offer:
    """The catalogue beside the upstream's list. `listed` is None while that has not been read."""

    catalogue: Catalogue
    listed: Sequence[ListedModel] | None
    allow_unknown: bool

    @cached_property
    def _by_name(self) -> dict[str, ListedModel]:
        """The listed models by every name. An id goes before an alias, and the first before a later one."""
        found: dict[str, ListedModel] = {}
        for listed in self.listed or ():
            found.setdefault(listed.id, listed)
        for listed in self.listed or ():
            for alias in listed.aliases:
                found.setdefault(alias, listed)
        return found

    def get(self, name: str) -> Model:
        """Return the model of that name; raise UnknownModel, with what to do."""
        if model := self.catalogue.models.get(name):
            return model
        listed = self._by_name.get(name)
        if listed is None:
            raise no_such_model(name, [*self.catalogue.models, *(self._by_name if self.allow_unknown else ())])
        if model := self._known(listed):
            return model
        if not self.allow_unknown:
            raise UnknownModel(
                f"The upstream lists {name!r}, but this build does not know what it takes. The operator can let it be "
                "used unchecked with REELAY_ALLOW_UNKNOWN_MODELS=true.",
                param="model",
            )
        return Model.unknown(listed.id, developer=listed.developer)

    def models(self) -> list[Model]:
        """Return every model that a job can be made with."""
        known = list(self.catalogue.models.values())
        if not self.allow_unknown:
            return known
        new = (listed for listed in self.listed or () if self._by_name[listed.id] is listed and not self._known(listed))
        return known + [Model.unknown(listed.id, developer=listed.developer) for listed in new]

    def is_available(self, model: Model) -> bool | None:
        """Tell whether the upstream lists the model now; None while its list has not been read."""
        return None if self.listed is None else model.id in self._by_name

    def aliases(self, model: Model) -> list[str]:
        """Return the other names by which the upstream knows the model."""
        listed = self._by_name.get(model.id)
        return [] if listed is None else [name for name in listed.names if name != model.id]

    def _known(self, listed: ListedModel) -> Model | None:
        return next((model for name in listed.names if (model := self.catalogue.models.get(name))), None)


def ids_of(names: list[str], offer: Offer) -> list[str]:
    """Return the ids of the models in a request's `models`; raise InvalidRequest naming the place of a wrong one."""
    found = []
    for place, name in enumerate(names):
        try:
            found.append(offer.get(name[:LONGEST_NAME]).id)
        except UnknownModel as error:
            raise InvalidRequest(error.message, code=error.code, param=f"models.{place}") from None
    return found


async def offer(house: House) -> Offer:
    """Return what is offered; the upstream's list is at most half a minute older than in the database."""

    async def load() -> list[ListedModel]:
        return await house.db.read(deployment.read_listing) or []

    listed = await house.listing.get(load)
    return Offer(house.catalogue, listed or None, house.allow_unknown_models)
