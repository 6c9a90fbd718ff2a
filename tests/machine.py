"""What some tests need of the machine that they run on."""

import os
from typing import NoReturn

import pytest


def lacks(what: str) -> NoReturn:
    """Leave the test out, with a sentence that says what would let it run. Where `CI` is set nothing is left out."""
    if os.environ.get("CI"):
        pytest.fail(what, pytrace=False)
    pytest.skip(what)
