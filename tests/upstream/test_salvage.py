"""An id from an answer that broke off: the true one or none, wherever it is cut."""

import json
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.upstream import wire

BARE = httpx2.Headers()
UUID = "0c4b5b2e-7f1d-4c7e-9d5c-1f5b8f1e2a3b"

ANSWERS = [
    (b'{"id":"0c4b5b2e-7f1d-4c7e","status":"queued"}', "0c4b5b2e-7f1d-4c7e"),
    (b'{"status":"queued","id":"0c4b5b2e:veo2"}', "0c4b5b2e:veo2"),
    (b'{"generation_id":"V1StGXR8_Z5jdHi6B-myT"}', "V1StGXR8_Z5jdHi6B-myT"),
    (b'{"id":1234567890}', "1234567890"),
    (b'{"status":"queued","id": 1234567890 ,"meta":{"usage":{"credits_used":5}}}', "1234567890"),
    (b'{"id":12345678901234567890123}', "12345678901234567890123"),
    (b'{"id":"a\\u0062\\"c\\\\d\\/e"}', 'ab"c\\d/e'),
    (b'{"id":"\\ud83c\\udfa5 reel"}', "\U0001f3a5 reel"),
    ('{"prompt":"é€\U0001f3a5","id":"é€\U0001f3a5"}'.encode(), "é€\U0001f3a5"),
    (b'{"meta":{"id":"inner","generation_id":9},"list":[{"id":"inner"}],"id":"outer"}', "outer"),
    (b'{"prompt":"\\"id\\":\\"quoted\\"","note":"{\\"id\\": 5}","id":"outer"}', "outer"),
    (b'\xef\xbb\xbf \r\n{ "id" :\t"spaced" }', "spaced"),
    (b'{"id":null,"generation_id":"second"}', "second"),
    (b'{"generation_id":"first","id":"other"}', "first"),
    (b'{"id":"first","generation_id":77}', "first"),
]


@pytest.mark.parametrize(("answer", "generation_id"), ANSWERS)
def test_salvage__cut_anywhere_gives_the_id_or_nothing(answer: bytes, generation_id: str) -> None:
    found = [wire.salvage(answer[:length], BARE) for length in range(len(answer) + 1)]
    assert set(found) == {None, generation_id}
    assert found[-1] == generation_id
    # Once it can be told, more bytes don't unsay it.
    assert found == sorted(found, key=lambda one: one is not None)


@pytest.mark.parametrize(("answer", "generation_id"), ANSWERS)
def test_salvage__agrees_with_the_whole_answer(answer: bytes, generation_id: str) -> None:
    assert wire.stated_id(json.loads(answer.decode("utf-8-sig"))) == generation_id


@pytest.mark.parametrize(
    ("answer", "generation_id"),
    [
        (b'{"id":"abc"', "abc"),
        (b'{"id":"ab', None),
        (b'{"id":"abc\\"', None),
        (b'{"id":123', None),
        (b'{"id":123 ', None),
        (b'{"id":123,', "123"),
        (b'{"id":123.', None),
        (b'{"id":123e4,', None),
        (b'{"id":-', None),
        (b'{"id":tru', None),
        (b'{"a":[{"id":"inner"}', None),
        (b'{"a":{"id":"inner"}', None),
        (b'"id":"abc"', None),
        (b'[{"id":"abc"}]', None),
        (b'<html>{"id":"abc"}</html>', None),
        (b'{"id":"abc"} and more', "abc"),
        (b'{"prompt":"line\nbreak","id":"abc"', "abc"),
        (b'{"prompt":"\xff\xfe","id":"abc"', "abc"),
        (b'{"id":"ab\xffc","status":"queued"}', None),
        (b'{"id":"' + b"x" * 256 + b'"', None),
        (b'{"id"="abc"}', None),
        (b"{'id':'abc'}", None),
        (b'{"a":' + b"[" * 100_000, None),
        (b'{"a":' + b"9" * 10_000 + b',"id":"abc"', None),
        (b"", None),
        (b"{", None),
    ],
)
def test_salvage__takes_only_what_is_certain(answer: bytes, generation_id: str | None) -> None:
    assert wire.salvage(answer, BARE) == generation_id


def test_salvage__header_comes_first() -> None:
    headers = httpx2.Headers({"X-Inference-Id": UUID})
    assert wire.salvage(b"", headers) == UUID
    assert wire.salvage(b'{"id":"abc"}', headers) == UUID


def test_salvage__headers_that_disagree_say_nothing() -> None:
    assert wire.salvage(b"", httpx2.Headers([("x-inference-id", "a"), ("x-inference-id", "b")])) is None
    assert wire.salvage(b"", httpx2.Headers([("x-inference-id", "a"), ("x-inference-id", "a")])) == "a"
    assert wire.salvage(b"", httpx2.Headers({"x-inference-id": ""})) is None


@given(
    st.one_of(st.text(min_size=1, max_size=40), st.integers(0, 10**30)),
    st.dictionaries(st.text(max_size=5), st.none() | st.text(max_size=10) | st.integers(), max_size=3),
    st.booleans(),
)
def test_salvage__any_answer_cut_anywhere(value: str | int, others: dict[str, Any], ascii_only: bool) -> None:
    others.pop("id", None)
    others.pop("generation_id", None)
    answer = json.dumps(others | {"id": value}, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    true_id = wire.usable_id(value)
    assert {wire.salvage(answer[:length], BARE) for length in range(len(answer) + 1)} <= {None, true_id}
