"""`python -m app.catalogue.refresh DOCUMENT...`: bring models.json up to date from the upstream's OpenAPI documents."""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from app.catalogue import facts
from app.catalogue.facts import Facts
from app.catalogue.openapi import models_of, preferred

USAGE = """\
usage: python -m app.catalogue.refresh DOCUMENT...

Each DOCUMENT is an OpenAPI document in JSON, or a folder that is searched for such documents. The models in them are
added to the catalogue or replace what it says of them; no model is removed.
"""


def refreshed(known: Iterable[Facts], found: Iterable[Facts]) -> dict[str, Facts]:
    """Return the known models, by id, with what was found in place of what was known.

    A developer stays as it is known: of a new model, it is that of the others with the same prefix.
    """
    models = {model.id: model for model in known}
    developers = {id_.partition("/")[0]: model.developer for id_, model in models.items() if "/" in id_}
    developers |= {id_: model.developer for id_, model in models.items()}
    fresh: dict[str, Facts] = {}
    for model in found:
        fresh[model.id] = preferred(fresh.get(model.id, model), model)
    for model in fresh.values():
        developer = developers.get(model.id) or developers.get(model.developer, model.developer)
        models[model.id] = replace(model, developer=developer)
    return models


def main(arguments: list[str], *, file: Path = facts.FILE) -> int:
    """Refresh the file and say what changed. Nothing is written if any document cannot be read."""
    if not arguments or arguments[0].startswith("-"):
        sys.stdout.write(USAGE)
        return 0 if arguments in (["-h"], ["--help"]) else 2
    known = {model.id: model for model in facts.read(file)}
    found: list[Facts] = []
    for path in _documents(arguments):
        try:
            found += models_of(json.loads(path.read_text("utf-8")))
        except (OSError, ValueError) as error:  # NotUsable is a ValueError, as what JSON raises is
            sys.stderr.write(f"{path}: {error}\nNothing was changed.\n")
            return 1
    if not found:
        sys.stderr.write("There is no model in these documents. Nothing was changed.\n")
        return 1
    models = refreshed(known.values(), found)
    facts.write(models.values(), file)
    for id_, model in sorted(models.items()):
        if known.get(id_) != model:
            sys.stdout.write(f"{'changed' if id_ in known else 'added'}: {id_}\n")
    sys.stdout.write(f"{len(models)} models, {len({model.id for model in found})} of them in these documents.\n")
    return 0


def _documents(arguments: list[str]) -> Iterator[Path]:
    for argument in arguments:
        path = Path(argument)
        yield from sorted(path.rglob("*.json")) if path.is_dir() else [path]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
