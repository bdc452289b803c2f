"""The alert rules and the dashboard: each expression is valid and names metrics that a real API and worker expose."""

import asyncio
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from conftest import System
from harness.scraping import Scrape
from millstream.shared.metrics.catalogue import of

yaml = pytest.importorskip("yaml", reason="make test installs it")
pytest.importorskip("promql_parser", reason="make test installs it")

from deploy.promql import selectors, summed

ROOT: Final = Path(__file__).parents[2]
MONITORING: Final = ROOT / "deploy" / "monitoring"
RULES: Final[list[dict[str, Any]]] = [
    rule
    for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"]
    for rule in group["rules"]
]
DASHBOARD: Final[dict[str, Any]] = json.loads((MONITORING / "dashboard.json").read_text())
PANELS: Final = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
# .ci/run unpacks Debian's package into build/.
PROMTOOL: Final = shutil.which(
    "promtool", path=os.pathsep.join([os.environ["PATH"], str(ROOT / "build/prometheus/usr/bin")])
)
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed (Debian: the package prometheus)"
)
OF_PROMETHEUS: Final = {"job", "instance", "le"}  # labels that no process exposes


def promtool(*arguments: str, text: str = "") -> None:
    """Runs promtool. Fails with its output."""
    assert PROMTOOL is not None
    result = subprocess.run(
        [PROMTOOL, *arguments], input=text, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert not result.stderr, result.stderr


def expressions() -> Iterator[tuple[str, str]]:
    """Yields each expression, with what it belongs to."""
    for rule in RULES:
        yield rule["alert"], rule["expr"]
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


@pytest.fixture(scope="module")
def exposed(system: System) -> dict[str, set[str]]:
    """The labels of each series of an API and a worker."""
    labels: dict[str, set[str]] = {}
    # The first is a request, so that the second has the series of HTTP.
    for url in (system.url, system.url, system.worker_url):
        for family in asyncio.run(Scrape.of(url)).families.values():
            for sample in family.samples:
                labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


@pytest.mark.parametrize(("title", "expression"), [*expressions()])
def test_each_expression_names_series_and_labels_that_exist(
    exposed: dict[str, set[str]], title: str, expression: str
) -> None:
    series = list(selectors(expression))
    assert series, title
    for name, labels in series:
        assert name in exposed, f"{title}: {name}"
        assert labels <= exposed[name] | OF_PROMETHEUS, f"{title}: {name} has no {labels}"
    grouped = re.findall(r"\b(?:by|on|without|ignoring) \(([\w, ]*)\)", expression)
    known = set().union(*(exposed[name] for name, _ in series)) | OF_PROMETHEUS
    assert {label for each in grouped for label in re.findall(r"\w+", each)} <= known, title


def test_the_state_of_the_deployment_is_never_summed_over_apis() -> None:
    """Each API reads the same from Redis: `sum(max by (queue) (…))` counts it once, `sum(…)` once for each API."""
    shared = {metric.name for metric in of("redis")}
    assert {*summed("sum by (queue) (rate(a[5m])) / max(b)")} == {"a"}
    for title, expression in expressions():
        assert not shared & {*summed(expression)}, title


def test_each_alert_has_a_severity_a_summary_and_a_paragraph_that_says_what_to_do() -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    paragraphs = dict(
        re.findall(r"^### (Millstream\w+)\n\n(.+?)\n(?=\n#)", page, re.MULTILINE | re.DOTALL)
    )
    assert {*paragraphs} == {rule["alert"] for rule in RULES}
    for rule in RULES:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["runbook"] == f"docs/metrics.md#{rule['alert'].lower()}"
        assert len(paragraphs[rule["alert"]]) > 100


def test_each_alert_has_a_test_in_which_it_is_raised() -> None:
    tests = yaml.safe_load((MONITORING / "alerts_test.yaml").read_text())["tests"]
    raised = {
        each["alertname"]
        for test in tests
        for each in test["alert_rule_test"]
        if each["exp_alerts"]
    }
    assert raised == {rule["alert"] for rule in RULES}


@needs_promtool
def test_promtool_accepts_the_rules_and_their_tests() -> None:
    promtool("check", "rules", str(MONITORING / "alerts.yaml"))
    promtool("test", "rules", str(MONITORING / "alerts_test.yaml"))


@needs_promtool
def test_promtool_accepts_what_an_api_and_a_worker_expose(system: System) -> None:
    for url in (system.url, system.worker_url):
        promtool("check", "metrics", text=asyncio.run(Scrape.of(url)).text)


def test_grafana_can_import_the_dashboard() -> None:
    assert (DASHBOARD["uid"], DASHBOARD["schemaVersion"]) == ("millstream", 39)
    assert "id" not in DASHBOARD  # Grafana would replace the dashboard that has it
    variables = {each["name"] for each in DASHBOARD["templating"]["list"]}
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len({*ids})
    cells = set[tuple[int, int]]()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        covered = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not covered & cells, panel["title"]
        cells |= covered
    for panel in PANELS:
        assert panel["datasource"]["uid"] == "${datasource}"
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            used = {*re.findall(r"\$(\w+)", target["expr"])} - {"__rate_interval"}
            assert used <= variables
    rows = [panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"]
    assert rows == ["Overview", "Queues", "Workers", "Latency", "Streams", "Redis"]
