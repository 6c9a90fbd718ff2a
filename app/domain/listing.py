"""What the upstream says it offers: the models of its public list, each by its id and its other names."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One video model of the upstream's list."""

    id: str
    aliases: tuple[str, ...] = ()
    developer: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return (self.id, *self.aliases)

    def to_json(self) -> dict[str, Any]:
        return {"id": self.id, "aliases": list(self.aliases), "developer": self.developer}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "ListedModel":
        return cls(data["id"], tuple(data["aliases"]), data["developer"])
