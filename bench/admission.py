"""A small model of `app.db.claims.admit`: who is admitted next, without a database.

A test leads both through the same hundreds of jobs and compares each admission.
"""

from collections import deque
from collections.abc import Mapping

from app.db.claims import LARGEST_ADMISSION


class Admission:
    """The queues of some projects, each of which knows priorities, and the places they take upstream.

    Projects are numbered in the order of their ids, jobs in the order of theirs.
    """

    def __init__(self, projects: int, *, places: int, limits: Mapping[int, int] | None = None) -> None:
        self.places = places
        self.occupied = 0
        self._limits = dict(limits or {})
        self._taken = [0] * projects
        self._last = [-1.0] * projects
        self._queues: list[dict[int, deque[int]]] = [{} for _ in range(projects)]
        self._waiting: set[int] = set()

    def enqueue(self, job: int, *, project: int, priority: int) -> None:
        self._queues[project].setdefault(priority, deque()).append(job)
        self._waiting.add(project)

    def free(self, project: int) -> None:
        """A job of the project gives its place back."""
        self._taken[project] -= 1
        self.occupied -= 1

    @property
    def has_work(self) -> bool:
        """Whether there is room and somebody waits for it."""
        return self.occupied < self.places and bool(self._waiting)

    @property
    def waiting(self) -> int:
        """How many projects wait."""
        return len(self._waiting)

    def waits(self, project: int) -> bool:
        return project in self._waiting

    def admit(self, now: float) -> list[tuple[int, int]]:
        """Return the jobs that go now, each with its project: one of each in turn, the longest waiting first."""
        room = min(LARGEST_ADMISSION, self.places - self.occupied)
        turn = sorted(self._waiting, key=lambda project: (self._last[project], project))
        chosen: list[tuple[int, int]] = []
        while turn and room > len(chosen):
            turn = [project for project in turn if self._may_go(project)]
            chosen += [(self._take(project), project) for project in turn[: room - len(chosen)]]
        for _, project in chosen:
            self._last[project] = now
        return chosen

    def _may_go(self, project: int) -> bool:
        limit = self._limits.get(project)
        return project in self._waiting and (limit is None or self._taken[project] < limit)

    def _take(self, project: int) -> int:
        queues = self._queues[project]
        first = queues[min(priority for priority, queue in queues.items() if queue)]
        job = first.popleft()
        if not any(queues.values()):
            self._waiting.discard(project)
        self._taken[project] += 1
        self.occupied += 1
        return job
