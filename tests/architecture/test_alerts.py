"""The alerts, the dashboard and the pages about them name what the service exports, and each other."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from app import exposition
from app.domain.figures import Backlog, Books, Crowd, Doubts, Ended, Figures
from app.domain.states import JobState

ROOT = Path(__file__).parents[2]
RULES, TESTS = (ROOT / "ops" / "prometheus" / f"reelay.rules{kind}.yml" for kind in ("", ".test"))
DASHBOARD = ROOT / "ops" / "grafana" / "reelay.json"
OPERATIONS = (ROOT / "docs" / "operations.md").read_text("utf-8")
T0 = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
EVERYTHING = Figures(
    at=T0,
    live=[Crowd(JobState.QUEUED, "veo2", 1, T0)],
    ended=[Ended(JobState.FAILED, "veo2", 1)],
    doubts=Doubts(1, 1, 1),
    parked=1,
    strays=1,
    hold="upstream_failing",
    model_holds={"veo2": "model_forbidden"},
    pace_per_minute=30.0,
    books=Books(1, 1, 1),
    backlog=Backlog(1, T0, T0),
    beat_at=T0,
    log_read_at=T0,
)


def exported() -> dict[str, Metric]:
    text = exposition.written(EVERYTHING, folder=ROOT).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def series() -> set[str]:
    """Every name that a query may use."""
    endings = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
    return {f"{name}{end}" for name, family in exported().items() for end in endings.get(family.type, ("",))}


def alerts() -> list[dict[str, Any]]:
    [group] = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def named(text: str) -> set[str]:
    return set(re.findall(r"\b(?:reelay|process)_[a-z0-9_]+", text))


def test_queries__use_only_what_is_exported() -> None:
    board = json.loads(DASHBOARD.read_text("utf-8"))
    asked = " ".join(target["expr"] for panel in board["panels"] for target in panel.get("targets", ()))
    in_rules = named(" ".join(rule["expr"] for rule in alerts()))
    assert in_rules and in_rules <= series()
    assert named(TESTS.read_text("utf-8")) <= series()
    # The dashboard shows all of ours.
    ours = {name for name, family in exported().items() if name.startswith("reelay_")}
    shown = {name for name in ours if any(used.startswith(name) for used in named(asked))}
    assert named(asked) <= series()
    assert shown == ours


def test_alerts__each_has_a_paragraph_and_a_test() -> None:
    names = [rule["alert"] for rule in alerts()]
    headings = re.findall(r"^### (Reelay\w+)\n\n\S", OPERATIONS, re.MULTILINE)
    assert headings == names
    assert [rule["annotations"]["runbook"] for rule in alerts()] == [f"docs/operations.md#{n.lower()}" for n in names]
    expected = yaml.safe_load(TESTS.read_text("utf-8"))["tests"]
    samples = [
        s["labels"] for test in expected for query in test["promql_expr_test"] for s in query.get("exp_samples", ())
    ]
    assert {re.findall(r'alertname="(\w+)"', labels)[0] for labels in samples} == set(names)


def test_page__lists_every_metric_with_its_labels() -> None:
    table = OPERATIONS.partition("## Metrics\n")[2].partition("## Alerts\n")[0]
    listed: dict[str, set[str]] = {}
    for names, labels in re.findall(r"^\| (`reelay_[^|]+) \| ([^|]*)\|", table, re.MULTILINE):
        listed |= {name: set(re.findall(r"`(\w+)`", labels)) for name in re.findall(r"`(\w+)`", names)}
    ours = {name: family for name, family in exported().items() if name.startswith("reelay_")}
    assert listed.keys() == {f"{name}_total" if family.type == "counter" else name for name, family in ours.items()}
    for name, family in ours.items():
        used = {label for sample in family.samples for label in sample.labels} - {"le"}
        assert used <= listed[f"{name}_total" if family.type == "counter" else name], name
