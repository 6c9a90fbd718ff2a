"""A whole house in virtual time: projects that queue jobs, workers that claim in batches, and an upstream.

The pacing of polls is the house's own, admission a model of it (`bench.admission`), what a transaction takes was measured
(`bench.spent`). Two rows are held by one transaction at a time and so have queues: the gate, which each admission and
each settled purchase locks, and the row of a model's durations, which each finished generation locks. There is one model.
"""

import heapq
import math
import random
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from app.domain.job import Priority
from app.domain.pacing import Durations, seconds_to_next_poll
from app.workers.loop import REST_SECONDS
from app.workers.poll import BATCH
from bench import spent
from bench.admission import Admission
from bench.spent import Cost

POLL_SECONDS, SUBMIT_SECONDS = 0.5, 2.0
"""How often a worker looks if nobody wakes it: what the poller and the submitter do unless told otherwise."""
POLLERS = 32
"""So many a worker asks after at once, as the poller does."""
HIGH_SHARE = 0.1
NEVER = math.inf
BOUGHT, WATCHED, NOTICED, CLOSED = range(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """Who asks for what. The crowds queue all of theirs before the beginning, the others a few a second."""

    jobs: int = 1_000_000
    workers: int = 100
    seed: int = 1
    places: int = 10_000
    """What the upstream takes at once."""
    projects: int = 64
    crowds: int = 8
    crowded_share: float = 0.7
    arrivals_per_second: float = 15.0
    """Of all projects that are no crowds."""
    median_seconds: float = 45.0
    p90_seconds: float = 50.0
    submit_seconds: float = 1.0
    answer_seconds: float = 0.2
    """What the upstream takes for a purchase and for a poll: assumed."""
    costs: dict[str, Cost] = field(default_factory=spent.read)


class Simulation:
    """Everything as it stands at one moment."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario, self.now, count = scenario, 0.0, scenario.jobs
        self.project, self.created = array("i", [0]) * count, array("d", [0.0]) * count
        self.admitted, self.started, self.ends = (array("d", [0.0]) * count for _ in range(3))
        self.noticed = array("d", [0.0]) * count
        self.done: Counter[str] = Counter()
        """How many there were of each kind that `spent` knows."""
        self.admitted_in_crowd = [0] * scenario.crowds
        """By each crowd, until the first of them waited no more."""
        self.gate_held = self.learning_held = 0.0
        self._seconds = {name: cost.wall_ms / 1000 for name, cost in scenario.costs.items()}
        self._poll_seconds = scenario.costs["poll"].own_ms / 1000
        self._sigma = math.log(scenario.p90_seconds / scenario.median_seconds) / 1.2816
        self._mu = math.log(scenario.median_seconds)
        self._random = random.Random(scenario.seed)
        self._admission = Admission(scenario.projects, places=scenario.places)
        self._all_crowded, self._left = True, count
        self._durations = Durations()
        self._is_booked = bytearray(count)
        self._events: list[tuple[float, int, int]] = []
        self._due: list[tuple[float, int]] = []
        self._gate_free = self._learning_free = 0.0
        self._next_admission = self._next_claim = self._next_save = 0.0
        self._slots = [[0.0] * POLLERS for _ in range(scenario.workers)]
        self._core_free = [0.0] * scenario.workers
        self._turn = 0

    def run(self) -> None:
        """Let everything happen that there is."""
        arrivals = self._queued()
        arrival = next(arrivals, NEVER)
        happen = (self._bought, self._watched, self._noticed, self._closed)
        events = self._events
        while self._left:
            event = events[0][0] if events else NEVER
            self.now = now = min(event, arrival, self._next_admission, self._next_claim)
            if now == event:
                _, kind, job = heapq.heappop(events)
                happen[kind](job)
            elif now == arrival:
                arrival = next(arrivals, NEVER)
                self._wake_submitters()
            elif now == self._next_claim:
                self._claim()
            else:
                self._admit()

    def _queued(self) -> Iterator[float]:
        """Queue the crowds' jobs, then yield the time of each other one, which is queued when the next is asked for."""
        given, random_ = self.scenario, self._random
        crowded, crowds = int(given.jobs * given.crowded_share), range(given.crowds)
        owners = random_.choices(crowds, weights=[crowd + 1 for crowd in crowds], k=crowded)
        for job, crowd in enumerate(owners):
            self._queue(job, project=crowd)
        moment = 0.0
        for job in range(crowded, given.jobs):
            moment += random_.expovariate(given.arrivals_per_second)
            yield moment
            self.created[job] = moment
            self.done["create"] += 1
            self._queue(job, project=random_.randrange(given.crowds, given.projects))

    def _queue(self, job: int, *, project: int) -> None:
        self.project[job] = project
        is_high = self._random.random() < HIGH_SHARE
        self._admission.enqueue(job, project=project, priority=Priority.HIGH if is_high else Priority.NORMAL)

    def _wake_submitters(self) -> None:
        self._next_admission = min(self._next_admission, max(self.now, self._gate_free) + REST_SECONDS)

    def _hold_gate(self, seconds: float) -> float:
        """Let whoever comes now hold the gate for so long, after those before; return when it is free again."""
        self._gate_free = max(self.now, self._gate_free) + seconds
        self.gate_held += seconds
        return self._gate_free

    def _admit(self) -> None:
        """Every submitter looks, one after the other. Only the first finds something, and they all look again."""
        done, seconds, workers = self.done, self._seconds, self.scenario.workers
        occupied = self._admission.occupied
        chosen = self._admission.admit(self.now)
        done["look"] += workers
        done["count one in flight"] += workers * occupied
        done["admit one"] += len(chosen)
        look = seconds["look"] + occupied * seconds["count one in flight"]
        committed = self._hold_gate(look + len(chosen) * seconds["admit one"])
        for job, project in chosen:
            self.admitted[job] = committed
            heapq.heappush(self._events, (committed + self.scenario.submit_seconds, BOUGHT, job))
            if self._all_crowded and project < self.scenario.crowds:
                self.admitted_in_crowd[project] += 1
                self._all_crowded = self._admission.waits(project)
        self._next_admission = self._hold_gate(look * (workers - 1)) + (0 if chosen else SUBMIT_SECONDS)

    def _bought(self, job: int) -> None:
        self.started[job] = self.now
        self.ends[job] = self.now + self._random.lognormvariate(self._mu, self._sigma)
        self.done["send"] += 1
        self.done["settle a bought one"] += 1
        settled = self._hold_gate(self._seconds["settle a bought one"])
        heapq.heappush(self._events, (settled, WATCHED, job))

    def _watched(self, job: int) -> None:
        """The purchase is settled: that wakes the pollers, who book the first poll, and the submitters."""
        heapq.heappush(self._due, (self.now, job))
        self._next_claim = min(self._next_claim, self.now + REST_SECONDS)
        self._wake_submitters()

    def _claim(self) -> None:
        """Every poller claims; those that find a whole batch claim again at once."""
        due, workers, batches, claimed = self._due, self.scenario.workers, 0, 0
        while batches < workers and due and due[0][0] <= self.now:
            self._turn = (self._turn + 1) % workers
            claimed += self._poll(self._turn)
            batches += 1
        self.done["claim polls"] += workers
        self.done["claim one poll"] += claimed
        took = self._seconds["claim polls"] + BATCH * self._seconds["claim one poll"]
        is_more = bool(due) and due[0][0] <= self.now
        self._next_claim = self.now + (took if is_more else POLL_SECONDS + REST_SECONDS)

    def _poll(self, worker: int) -> int:
        """Claim a batch: book the next poll of each, and ask after those that have not only just begun."""
        due, slots, now, own = self._due, self._slots[worker], self.now, self._poll_seconds
        answer_seconds, durations = self.scenario.answer_seconds, self._durations
        begun = now + self._seconds["claim polls"] + BATCH * self._seconds["claim one poll"]
        core, claimed, asked = max(begun, self._core_free[worker]), 0, 0
        while claimed < BATCH and due and due[0][0] <= now:
            job = due[0][1]
            claimed += 1
            again = now + seconds_to_next_poll(now - self.started[job], durations)
            if not self._is_booked[job]:
                self._is_booked[job] = True
                heapq.heapreplace(due, (again, job))
                continue
            asked += 1
            core = max(core, slots[0]) + own
            answered = core + answer_seconds
            heapq.heapreplace(slots, answered)
            if self.ends[job] <= answered - answer_seconds / 2:
                heapq.heappop(due)
                heapq.heappush(self._events, (answered, NOTICED, job))
            else:
                heapq.heapreplace(due, (again, job))
        self._core_free[worker] = core
        self.done["poll"] += asked
        return claimed

    def _noticed(self, job: int) -> None:
        """The answer is final: its settle waits for those before that learn from theirs."""
        took = self._seconds["settle a finished one"]
        self._learning_free = max(self.now, self._learning_free) + took
        self.learning_held += took
        self.done["settle a finished one"] += 1
        self._durations = self._durations.observed(self.now - self.started[job])
        heapq.heappush(self._events, (self._learning_free, CLOSED, job))

    def _closed(self, job: int) -> None:
        """The job is told to be finished upstream, and its place is free; the savers are woken."""
        self.noticed[job] = self.now
        self._left -= 1
        self._admission.free(self.project[job])
        self._wake_submitters()
        self.done["claim one save"] += 1
        self.done["settle a saved one"] += 1
        if self.now >= self._next_save:
            self.done["claim saves"] += self.scenario.workers
            self._next_save = self.now + self._seconds["claim saves"] + REST_SECONDS
