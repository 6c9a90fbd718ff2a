"""The answer to a scrape: what this process counted, and the figures of the whole deployment."""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry

from app.domain.figures import Figures
from app.metrics import REGISTRY

__all__ = ["CONTENT_TYPE_LATEST", "written"]


def written(figures: Figures | None, *, folder: Path | None) -> bytes:
    """Return the text of a scrape; `figures` None says that the database is away, `folder` is the data folder."""
    shared = CollectorRegistry()
    shared.register(_Snapshot(figures, folder))
    return generate_latest(REGISTRY) + generate_latest(shared)


class _Snapshot(Collector):
    """The figures as gauges. Every replica says the same of them: take `max`, not `sum`."""

    def __init__(self, figures: Figures | None, folder: Path | None) -> None:
        self._figures = figures
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        yield _labelled("reelay_build_info", "Which version runs.", ("version",), [((version("reelay"),), 1)])
        yield from _disk(self._folder)
        yield _one("reelay_database_up", "Whether the database answered this scrape.", int(self._figures is not None))
        if self._figures is not None:
            yield from _jobs(self._figures)
            yield from _trouble(self._figures)
            yield from _sums(self._figures)


def _disk(folder: Path | None) -> Iterator[Metric]:
    if folder is None:
        return
    try:
        usage = shutil.disk_usage(folder)
    except OSError:
        return
    yield _one("reelay_data_free_bytes", "Free space where the data folder is.", usage.free)
    yield _one("reelay_data_size_bytes", "Size of the disk where the data folder is.", usage.total)


def _jobs(figures: Figures) -> Iterator[Metric]:
    live, ended = Counter[tuple[str, ...]](), Counter[tuple[str, ...]]()
    for crowd in figures.live:
        live[crowd.state, crowd.model] += crowd.count
    for end in figures.ended:
        ended[end.state, end.model] += end.count
    by = ("state", "model")
    yield _labelled("reelay_jobs", "Jobs that are not final.", by, live.items())
    yield _labelled("reelay_jobs_ended_lately", "Jobs that became final within ten minutes.", by, ended.items())
    oldest = _age(figures, figures.oldest_queued_at) or 0.0
    yield _one("reelay_queue_oldest_seconds", "Age of the job that has been queued for longest.", oldest)


def _trouble(figures: Figures) -> Iterator[Metric]:
    doubts = figures.doubts
    yield _one("reelay_unconfirmed_jobs", "Jobs that may have been bought unseen.", doubts.jobs)
    yield _one("reelay_unconfirmed_usd", "What these may cost.", doubts.micros / 1e6)
    yield _one("reelay_unresolved_jobs", "Those of them that a person must decide about.", doubts.unresolved)
    yield _one("reelay_parked_jobs", "Jobs of a restored database that are not bought yet.", figures.parked)
    yield _one("reelay_stray_purchases", "Purchases that no job carries.", figures.strays)
    held = [] if figures.hold is None else [((figures.hold,), 1)]
    yield _labelled("reelay_submissions_held", "1 while all submissions hold.", ("reason",), held)
    models = [(pair, 1) for pair in sorted(figures.model_holds.items())]
    yield _labelled("reelay_model_held", "1 while submissions of a model hold.", ("model", "reason"), models)
    yield from _ages(figures)


def _ages(figures: Figures) -> Iterator[Metric]:
    if (silent := _age(figures, figures.beat_at)) is not None:
        yield _one("reelay_worker_silent_seconds", "Since any worker last said that it lives.", silent)
    if (age := _age(figures, figures.log_read_at)) is not None:
        yield _one("reelay_usage_log_age_seconds", "Since the upstream's usage log was read to its end.", age)
    if figures.pace_per_minute is not None:
        yield _one("reelay_pace_per_minute", "Submissions a minute after a rate limit.", figures.pace_per_minute)


def _sums(figures: Figures) -> Iterator[Metric]:
    books, backlog = figures.books, figures.backlog
    yield _one("reelay_month_spent_usd", "Spent this month, by all projects.", books.spent_micros / 1e6)
    yield _one("reelay_month_reserved_usd", "Reserved this month, by all projects.", books.reserved_micros / 1e6)
    yield _one("reelay_projects_near_budget", "Projects with nine tenths of their budget used.", books.nearly_spent)
    yield _one("reelay_deliveries_owed", "Webhook deliveries that are owed.", backlog.owed)
    oldest = _age(figures, backlog.oldest_at) or 0.0
    yield _one("reelay_deliveries_oldest_seconds", "Age of the event that has been owed for longest.", oldest)


def _age(figures: Figures, moment: datetime | None) -> float | None:
    return None if moment is None else max(0.0, (figures.at - moment).total_seconds())


def _one(name: str, says: str, value: float) -> Metric:
    return GaugeMetricFamily(name, says, value=value)


def _labelled(name: str, says: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    family = GaugeMetricFamily(name, says, labels=labels)
    for named, value in values:
        family.add_metric(named, value)
    return family
