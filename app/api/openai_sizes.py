"""`size` and `seconds`, as the OpenAI SDK sends and shows them, in a model's own parameters and back."""

from collections.abc import Iterator
from typing import Any

from app.catalogue import abilities
from app.catalogue.abilities import Ability
from app.catalogue.catalogue import Model
from app.domain.errors import InvalidRequest

LINES_WITHOUT_A_CHOICE = 720
"""The shorter side that a model is taken to make where it lets nobody choose."""
_ROUNDED = 0.01
"""By how much the sides of a size may miss its ratio: 854x480 stands for 16:9."""
Input = dict[str, Any]


def with_size(model: Model, given: Input, size: str) -> Input:
    """Return the input with the parameters that make videos of this size; raise InvalidRequest if none do."""
    sides = abilities.shape(size)
    if sides is None or "x" not in size.lower():
        raise _refused("size", "'size' must be WIDTHxHEIGHT, such as 1280x720.")
    fitting = [chosen for chosen in _choices(model) if _makes(chosen, model, sides)]
    if not fitting:
        raise _refused("size", f"{model.id} makes no videos of {size}. {_what_it_makes(model)}")
    return _joined(given, fitting[0], name="size")


def with_seconds(model: Model, given: Input, seconds: str) -> Input:
    """Return the input with the parameter that makes videos of this length; raise InvalidRequest if none does."""
    ability = abilities.duration_of(model)
    if ability is None:
        raise _refused("seconds", f"{model.id} decides itself how long its videos are: leave 'seconds' out.")
    value = ability.fit(seconds)
    if value is None:
        raise _refused("seconds", f"{model.id} makes no videos of {seconds[:20]} seconds. {_lengths(ability)}")
    return _joined(given, {ability.parameter: value}, name="seconds")


def size_of(model: Model, given: Input) -> str | None:
    """Return the size that this input asks for; None where it does not say."""
    chosen = model.effective(given)
    if framed := _value(chosen, abilities.frame_size_of(model)):
        sides = abilities.shape(framed)
        return f"{sides[0]}x{sides[1]}" if sides else None
    ratio = abilities.shape(_value(chosen, abilities.aspect_ratio_of(model)))
    return _named(ratio, _lines(_value(chosen, abilities.resolution_of(model)))) if ratio else None


def seconds_of(model: Model, given: Input) -> str | None:
    """Return the length that this input asks for; None where it does not say."""
    value = _value(model.effective(given), abilities.duration_of(model))
    return None if value is None else str(value)


def _value(chosen: Input, ability: Ability | None) -> Any:
    return None if ability is None else chosen.get(ability.parameter)


def _choices(model: Model) -> Iterator[Input]:
    """Yield what can be chosen about the size, the model's own defaults first."""
    frame_size = abilities.frame_size_of(model)
    if frame_size is not None:
        yield from ({frame_size.parameter: option} for option in _options(frame_size))
        return
    ratio, resolution = abilities.aspect_ratio_of(model), abilities.resolution_of(model)
    for shape in _options(ratio) if ratio else (None,):
        for lines in _options(resolution) if resolution else (None,):
            shaped = {ratio.parameter: shape} if ratio else {}
            yield shaped | ({resolution.parameter: lines} if resolution else {})


def _options(ability: Ability) -> list[Any]:
    options = list(ability.options or ())
    return sorted(options, key=lambda option: option != ability.default)


def _makes(chosen: Input, model: Model, sides: tuple[int, int]) -> bool:
    """Tell whether a video made so has these sides."""
    width, height = sides
    if framed := _value(chosen, abilities.frame_size_of(model)):
        return abilities.shape(framed) == sides
    ratio, resolution = abilities.aspect_ratio_of(model), abilities.resolution_of(model)
    if ratio is None and resolution is None:
        return False
    if min(sides) != _lines(_value(chosen, resolution)):
        return False
    shape = abilities.shape(_value(chosen, ratio))
    if shape is None:
        return ratio is None  # the image gives the shape
    return abs(width * shape[1] / (height * shape[0]) - 1) < _ROUNDED


def _lines(resolution: Any) -> int:
    return LINES_WITHOUT_A_CHOICE if resolution is None else abilities.lines(resolution) or LINES_WITHOUT_A_CHOICE


def _named(ratio: tuple[int, int], lines: int) -> str:
    """Return the size of this ratio whose shorter side has so many pixels; the longer one is even."""
    longer = 2 * round(lines * max(ratio) / min(ratio) / 2)
    return f"{longer}x{lines}" if ratio[0] > ratio[1] else f"{lines}x{longer}"


def _what_it_makes(model: Model) -> str:
    if abilities.aspect_ratio_of(model) is None and abilities.frame_size_of(model) is None:
        resolution = abilities.resolution_of(model)
        if resolution is None:
            return "It decides itself how large they are: leave 'size' out."
        sides = sorted({_lines(option) for option in _options(resolution)})
        return f"The image gives the shape; the shorter side may have {_listed(sides)} pixels."
    sizes = dict.fromkeys(filter(None, (size_of(model, chosen) for chosen in _choices(model))))
    return f"It makes: {_listed(sizes)}."


def _lengths(ability: Ability) -> str:
    if ability.options is not None:
        return f"It makes: {_listed(ability.options)}."
    least, most = ability.minimum, ability.maximum
    bounds = [f"at least {least:g}" if least is not None else "", f"at most {most:g}" if most is not None else ""]
    return f"It makes {' and '.join(filter(None, bounds)) or 'whole numbers'}."


def _listed(values: Any) -> str:
    return ", ".join(map(str, values))


def _joined(given: Input, chosen: Input, *, name: str) -> Input:
    """Add what was chosen; what the caller named itself must not say something else."""
    for parameter, value in chosen.items():
        if str(given.get(parameter, value)) != str(value):
            raise _refused(name, f"{name!r} and {parameter!r} contradict each other: leave one of them out.")
    return given | chosen


def _refused(param: str, message: str) -> InvalidRequest:
    return InvalidRequest(message, code="invalid_input", param=param)
