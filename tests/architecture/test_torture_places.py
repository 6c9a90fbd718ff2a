"""The torture's fault points keep up with the code: a new commit or a new call is never left out unseen."""

import inspect

import pytest

from app.media.store import Store
from app.upstream.client import UpstreamClient
from torture.places import all_points
from torture.points import WRAPPED

MOVE_NO_JOB = {"aclose", "check", "link", "link_origin", "open_file", "size"}
"""Closing, looking, and handing out what is kept already."""


@pytest.mark.parametrize("owner", [UpstreamClient, Store])
def test_doors__every_call_that_may_move_a_job_is_wrapped(owner: type) -> None:
    calls = {name for name, _ in inspect.getmembers(owner, inspect.iscoroutinefunction) if not name.startswith("_")}
    assert calls - MOVE_NO_JOB == set(WRAPPED[owner])


@pytest.mark.parametrize(
    "commit",
    [
        "Submitter._admit",  # a method
        "Submitter._send",  # a lambda in a method
        "Submitter._give_back.withdraw",  # a function in a method
        "Reconciler._conclude",  # a partial of a method
        "delete_job.scrub",  # a function in an endpoint
        "buried",  # a partial of another module's function
    ],
)
def test_all_points__knows_the_commits_of_every_form(commit: str) -> None:
    assert {f"commit {commit} before", f"commit {commit} after"} <= all_points()
