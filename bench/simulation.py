"""A whole house in virtual time: projects that queue jobs, workers that claim in batches, and an upstream.

Constants and the pacing of polls are the house's own, admission is a model of it (`bench.admission`), what a
transaction takes was measured (`bench.spent`). Three things are held by one transaction at a time and so have queues:
the gate, by each admission; the row of a model's durations, by those that settle finished generations, until they have
committed; and the line in which Postgres commits what is told by NOTIFY. There is one model, and nothing fails.
Workers look in step: all of them a moment after something woke them.
"""

import heapq
import math
import random
from array import array
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from app.db.together import LARGEST_BATCH
from app.domain.job import Priority
from app.domain.pacing import Durations, seconds_to_next_poll
from app.workers import poll
from app.workers.loop import REST_SECONDS
from app.workers.poll import BATCH
from app.workers.submit import Submitter
from bench import spent
from bench.admission import Admission
from bench.spent import POLLERS, Cost

POLL_SECONDS = poll.LONGEST_PAUSE_SECONDS
SUBMIT_SECONDS = Submitter.interval_seconds
"""How long a worker looks at nothing if nobody wakes it."""
HIGH_SHARE = 0.1
NEVER = math.inf
BOUGHT, WATCHED, ENDED, MOVED, WRITTEN = range(5)


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
    arrivals_per_second: float = 70.0
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
        self.most_occupied = 0
        self.gate_held = self.learning_held = self.telling_held = 0.0
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
        self._gate_free = self._learning_free = self._telling_free = 0.0
        self._next_look = self._next_claim = self._next_save = 0.0
        self._at_gate, self._next_pass = 0, NEVER
        self._slots = [[0.0] * POLLERS for _ in range(scenario.workers)]
        self._core_free = [0.0] * scenario.workers
        self._turn = 0
        self._asked_by = array("i", [0]) * count
        self._ended: list[deque[int]] = [deque() for _ in range(scenario.workers)]
        self._writing: list[list[int]] = [[] for _ in range(scenario.workers)]

    def run(self) -> None:
        """Let everything happen that there is."""
        arrivals = self._queued()
        arrival = next(arrivals, NEVER)
        happen = (self._bought, self._watched, self._hear, self._learn, self._written)
        events = self._events
        while self._left:
            event = events[0][0] if events else NEVER
            self.now = now = min(event, arrival, self._next_look, self._next_pass, self._next_claim)
            if now == event:
                _, kind, which = heapq.heappop(events)
                happen[kind](which)
            elif now == arrival:
                arrival = next(arrivals, NEVER)
                self._wake_submitters()
            elif now == self._next_claim:
                self._claim()
            elif now == self._next_pass:
                self._pass_gate()
            else:
                self._look()

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
            self._tell(moment)
            self._queue(job, project=random_.randrange(given.crowds, given.projects))

    def _queue(self, job: int, *, project: int) -> None:
        self.project[job] = project
        is_high = self._random.random() < HIGH_SHARE
        self._admission.enqueue(job, project=project, priority=Priority.HIGH if is_high else Priority.NORMAL)

    def _tell(self, ready: float) -> float:
        """Commit what is told, after all others that do; return when that is done."""
        took = self._seconds["commit"]
        self._telling_free = max(ready, self._telling_free) + took
        self.telling_held += took
        return self._telling_free

    def _wake_submitters(self) -> None:
        self._next_look = min(self._next_look, self.now + REST_SECONDS)

    def _look_seconds(self) -> float:
        return self._seconds["look"] + self._admission.occupied * self._seconds["count one in flight"]

    def _count_looks(self, looks: int) -> None:
        self.done["look"] += looks
        self.done["count one in flight"] += looks * self._admission.occupied

    def _look(self) -> None:
        """All submitters that are not at the gate look without a lock; if there is room, all of them go there."""
        idle = self.scenario.workers - self._at_gate
        self._count_looks(idle)
        self._next_look = self.now + SUBMIT_SECONDS
        if idle and self._admission.has_work:
            if not self._at_gate:
                self._next_pass = max(self._gate_free, self.now + self._look_seconds())
            self._at_gate += idle

    def _pass_gate(self) -> None:
        """The first of those at the gate counts again and takes what there is; whoever got some looks again."""
        done, seconds, admission = self.done, self._seconds, self._admission
        counted, lanes = admission.occupied, admission.waiting if admission.has_work else 0
        chosen = admission.admit(self.now)
        self.most_occupied = max(self.most_occupied, admission.occupied)
        done["pass the gate"] += 1
        done["count one in flight"] += counted
        done["look at a project"] += lanes
        done["admit one"] += len(chosen)
        took = seconds["pass the gate"] + counted * seconds["count one in flight"]
        took += lanes * seconds["look at a project"] + len(chosen) * seconds["admit one"]
        ready = self.now + took
        committed = self._tell(ready) if chosen else ready
        self.gate_held += committed - self.now
        for job, project in chosen:
            self.admitted[job] = committed
            heapq.heappush(self._events, (committed + self.scenario.submit_seconds, BOUGHT, job))
            if self._all_crowded and project < self.scenario.crowds:
                self.admitted_in_crowd[project] += 1
                self._all_crowded = admission.waits(project)
        if chosen:
            self._count_looks(1)
        if not (chosen and admission.has_work):
            self._at_gate -= 1
        self._gate_free = committed
        self._next_pass = committed if self._at_gate else NEVER

    def _bought(self, job: int) -> None:
        self.started[job] = self.now
        self.ends[job] = self.now + self._random.lognormvariate(self._mu, self._sigma)
        self.done["send"] += 1
        self.done["settle a bought one"] += 1
        settled = self._tell(self.now + self._seconds["settle a bought one"])
        heapq.heappush(self._events, (settled, WATCHED, job))

    def _watched(self, job: int) -> None:
        """The purchase is settled: that wakes the pollers, who book the first poll."""
        heapq.heappush(self._due, (self.now, job))
        self._next_claim = min(self._next_claim, self.now + REST_SECONDS)

    def _claim(self) -> None:
        """Every poller claims; those that find a whole batch claim again at once, the others when a poll is due."""
        due, workers, batches, claimed = self._due, self.scenario.workers, 0, 0
        while batches < workers and due and due[0][0] <= self.now:
            self._turn = (self._turn + 1) % workers
            claimed += self._poll(self._turn)
            batches += 1
        self.done["claim polls"] += workers
        self.done["claim one poll"] += claimed
        if due and due[0][0] <= self.now:
            self._next_claim = self.now + self._claim_seconds()
        else:
            pause = min(POLL_SECONDS, due[0][0] - self.now) if due else POLL_SECONDS
            self._next_claim = self.now + pause + REST_SECONDS

    def _claim_seconds(self) -> float:
        return self._seconds["claim polls"] + BATCH * self._seconds["claim one poll"]

    def _poll(self, worker: int) -> int:
        """Claim a batch: book the next poll of each, and ask after those that have not only just begun."""
        due, slots, now, own = self._due, self._slots[worker], self.now, self._poll_seconds
        answer_seconds, durations = self.scenario.answer_seconds, self._durations
        core, claimed, asked = max(now + self._claim_seconds(), self._core_free[worker]), 0, 0
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
                self._asked_by[job] = worker
                heapq.heappush(self._events, (answered, ENDED, job))
            else:
                heapq.heapreplace(due, (again, job))
        self._core_free[worker] = core
        self.done["poll"] += asked
        return claimed

    def _hear(self, job: int) -> None:
        """The answer is final: settled at once, or together with all that come while the worker settles others."""
        worker = self._asked_by[job]
        self._ended[worker].append(job)
        if not self._writing[worker]:
            self._write(worker)

    def _write(self, worker: int) -> None:
        """Move as many as go together; then, at the end of the transaction, the worker wants to learn from them."""
        ended = self._ended[worker]
        batch = [ended.popleft() for _ in range(min(LARGEST_BATCH, len(ended)))]
        self._writing[worker] = batch
        self.done["settle finished"] += 1
        self.done["settle a finished one"] += len(batch)
        took = self._seconds["settle finished"] + len(batch) * self._seconds["settle a finished one"]
        moved = self.now + max(0.0, took - self._seconds["learn"])
        heapq.heappush(self._events, (moved, MOVED, worker))

    def _learn(self, worker: int) -> None:
        """Wait for those that learn, then hold the durations until all of this is committed."""
        began = max(self.now, self._learning_free)
        self._learning_free = self._tell(began + self._seconds["learn"])
        self.learning_held += self._learning_free - began
        heapq.heappush(self._events, (self._learning_free, WRITTEN, worker))

    def _written(self, worker: int) -> None:
        """A batch is committed: its jobs are told to be finished, and the worker writes what came meanwhile."""
        batch, self._writing[worker] = self._writing[worker], []
        for job in batch:
            self._durations = self._durations.observed(self.now - self.started[job])
            self._closed(job)
        if self._ended[worker]:
            self._write(worker)

    def _closed(self, job: int) -> None:
        """The job is known to be finished upstream, and its place is free; the savers are woken."""
        self.noticed[job] = self.now
        self._left -= 1
        self._admission.free(self.project[job])
        self._wake_submitters()
        self.done["claim one save"] += 1
        self.done["settle a saved one"] += 1
        self._tell(self.now)
        if self.now >= self._next_save:
            self.done["claim saves"] += self.scenario.workers
            self._next_save = self.now + self._seconds["claim saves"] + REST_SECONDS
