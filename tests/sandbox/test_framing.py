"""From an input to a film: every model's choices of shape, size and length are followed."""

from pathlib import Path

import pytest

from app.catalogue.abilities import aspect_ratio_of, duration_of, frame_size_of
from app.catalogue.catalogue import Model, load
from app.sandbox.framing import order_for
from app.sandbox.prices import Price
from tests.inputs import least

MODELS = load().models


@pytest.mark.parametrize("model", MODELS.values(), ids=list(MODELS))
def test_order_for__follows_what_a_model_allows(model: Model, tmp_path: Path) -> None:
    for ability in (aspect_ratio_of(model), frame_size_of(model)):
        for option in ability.options or () if ability else ():
            order = order_for(model, least(model) | {ability.parameter: option}, tmp_path)
            assert order.width % 2 == order.height % 2 == 0
            assert 160 <= min(order.width, order.height) <= max(order.width, order.height) <= 1280
            wide, _, high = str(option).partition(":")
            if high:
                assert order.width / order.height == pytest.approx(int(wide) / int(high), rel=0.02)
    duration = duration_of(model)
    for option in duration.options or (duration.minimum or 5,) if duration else ():
        assert duration is not None
        given = least(model) | {duration.parameter: duration.fit(option)}
        assert order_for(model, given, tmp_path).seconds == float(option)
        assert Price(model).charge_credits(given) > 0


def test_order_for__sees_the_last_of_two_keyframes(tmp_path: Path) -> None:
    frames = {f"frame{n}": {"type": "image", "url": f"https://a.example/{n}.jpg"} for n in (0, 1)}
    order = order_for(MODELS["luma/ray-2"], {"prompt": "x", "keyframes": frames}, tmp_path)
    assert (order.first, order.last) == ("https://a.example/0.jpg", "https://a.example/1.jpg")
