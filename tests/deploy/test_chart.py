"""The Helm chart: it renders for three sets of values, and every object is valid."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

pytest.importorskip("yaml", reason="make test installs it")
pytest.importorskip("helm_python", reason="make test installs it")

import yaml
from helm_python import errors
from helm_python.chart import lint

from deploy import manifests
from deploy.manifests import CHART, KUSTOMIZE, ROOT, VALUES, example, objects, render
from deploy.validation import problems, restricted_problems

EXAMPLES: Final = ["default", "production", "pools"]
OVERLAYS: Final = ["dev", "production"]
STYLE: Final = (
    "{extends: default, rules: {line-length: {max: 130}, document-start: disable, braces: {max-spaces-inside: 1},"
    " comments: {min-spaces-from-content: 1}, truthy: {check-keys: false}, indentation: {indent-sequences: true}}}"
)


def overlay(name: str) -> list[dict[str, Any]]:
    """Returns the objects of an overlay of kustomize."""
    build = subprocess.run(
        [Path(sys.executable).with_name("kubectl"), "kustomize", KUSTOMIZE / "overlays" / name],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert build.returncode == 0, build.stderr
    return [each for each in yaml.safe_load_all(build.stdout) if each]


def pods(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        each["spec"]["template"]["spec"]
        for each in resources
        if each["kind"] in ("Deployment", "StatefulSet")
    ]


def kinds(resources: list[dict[str, Any]]) -> dict[str, int]:
    names = [each["kind"] for each in resources]
    return {name: names.count(name) for name in sorted(set(names))}


def test_the_chart_has_no_errors_and_no_warnings() -> None:
    for name in EXAMPLES:
        values = {} if name == "default" else yaml.safe_load((VALUES / f"{name}.yaml").read_text())
        report = lint(CHART, values, strict=True)
        assert report["errors"] == []
        assert [each["error"] for each in report["messages"]] == ["icon is recommended"]


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_object_of_the_chart_is_valid(name: str) -> None:
    resources = example(name)
    assert [problem for each in resources for problem in problems(each)] == []
    assert [problem for pod in pods(resources) for problem in restricted_problems(pod)] == []
    ids = [(each["kind"], each["metadata"]["name"]) for each in resources]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("name", OVERLAYS)
def test_each_object_of_an_overlay_is_valid(name: str) -> None:
    resources = overlay(name)
    assert [problem for each in resources for problem in problems(each)] == []
    assert [problem for pod in pods(resources) for problem in restricted_problems(pod)] == []
    namespace = {
        each["metadata"].get("namespace") for each in resources if each["kind"] != "Namespace"
    }
    assert len(namespace) == 1
    [worker] = [
        each
        for each in resources
        if each["metadata"]["name"].endswith("-default") and each["kind"] == "Deployment"
    ]
    scaled = kinds(resources).get("ScaledObject", 0)
    assert ("replicas" in worker["spec"]) is (scaled == 0)


def test_the_examples_have_the_kinds_that_they_are_for() -> None:
    always = {"Deployment", "Service", "ServiceAccount", "NetworkPolicy", "PodDisruptionBudget"}
    assert set(kinds(example("default"))) == {*always, "HorizontalPodAutoscaler"}
    assert set(kinds(example("production"))) == {
        *always, "HorizontalPodAutoscaler", "ScaledObject", "Ingress",
        "ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap",
    }  # fmt: skip
    pools = kinds(example("pools"))
    assert pools["Deployment"] == 4
    assert pools["ScaledObject"] == 3
    assert pools["HTTPRoute"] == 1


def test_the_rules_and_the_dashboard_are_those_of_the_repository() -> None:
    by_kind = {each["kind"]: each for each in example("production")}
    monitoring = ROOT / "deploy" / "monitoring"
    assert by_kind["PrometheusRule"]["spec"] == yaml.safe_load(
        (monitoring / "alerts.yaml").read_text()
    )
    dashboard = by_kind["ConfigMap"]["data"]["millstream.json"]
    assert json.loads(dashboard) == json.loads((monitoring / "dashboard.json").read_text())


def test_the_checks_notice_what_is_wrong() -> None:
    [deployment] = [
        each
        for each in example("default")
        if each["metadata"]["name"] == "millstream-api" and each["kind"] == "Deployment"
    ]
    broken = copy.deepcopy(deployment)
    broken["spec"]["template"]["spec"]["containers"][0]["livenessProb"] = {}
    assert problems(broken)
    broken = copy.deepcopy(deployment)
    del broken["spec"]["template"]["spec"]["securityContext"]
    assert len(restricted_problems(broken["spec"]["template"]["spec"])) == 2
    [scaled] = [each for each in example("production") if each["kind"] == "ScaledObject"]
    broken = copy.deepcopy(scaled)
    broken["spec"]["triggers"][0]["metadata"]["targetValue"] = 10
    broken["spec"]["cooldown"] = 3
    assert len(problems(broken)) == 2


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"api": {"replica": 3}}, "replica"),
        ({"workers": [{"queues": ["a"]}]}, "name"),
        ({"workers": [{"name": "a", "queues": []}]}, "queues"),
        ({"workers": [{"name": "a", "settings": {"N_JOBS_PER_WORKER": "3"}}]}, "N_JOBS_PER_WORKER"),
        ({"settings": {"LEASE_SECS": 20}}, "LEASE_SECS"),
        ({"auth": {"type": "none"}}, "auth.type"),
        ({"auth": {"type": "noop,api_key"}}, "auth.type"),
        ({"api": {"settings": {"AUTH_TYPE": "noop"}}}, "AUTH_TYPE"),
        ({"monitoring": {"credentials": {"name": "x"}}}, "credentials"),
        ({"ingress": {"enabled": True}}, "ingress.host"),
        ({"gateway": {"enabled": True}}, "gateway.parentRefs"),
    ],
)
def test_an_invalid_value_is_an_error_that_names_it(values: dict[str, Any], text: str) -> None:
    with pytest.raises(errors.HelmError, match=text):
        render(values)


def test_a_value_of_a_pool_wins_over_that_of_all_pools() -> None:
    resources = objects(
        render(
            {
                "workerDefaults": {"slots": 3, "settings": {"LOG_LEVEL": "DEBUG"}},
                "workers": [
                    {"name": "a"},
                    {"name": "b", "slots": 4, "settings": {"LEASE_SECS": "20"}},
                ],
            },
            name="prod",
        )
    )
    environments = {
        each["metadata"]["name"]: {
            variable["name"]: variable.get("value")
            for variable in each["spec"]["template"]["spec"]["containers"][0]["env"]
        }
        for each in resources
        if each["kind"] == "Deployment"
    }
    first, second = (
        environments["prod-millstream-worker-a"],
        environments["prod-millstream-worker-b"],
    )
    assert [first["N_JOBS_PER_WORKER"], second["N_JOBS_PER_WORKER"]] == ["3", "4"]
    assert [first["LOG_LEVEL"], second["LOG_LEVEL"]] == ["DEBUG", "DEBUG"]
    assert second["LEASE_SECS"] == "20"
    assert "LEASE_SECS" not in first
    assert "LOG_LEVEL" not in environments["prod-millstream-api"]


def test_the_notes_say_what_to_do_next() -> None:
    notes = render({})["NOTES.txt"]
    assert "create secret generic millstream" in notes
    assert "WARNING" not in notes
    assert "millstream keys create me" in notes
    open_notes = render({"auth": {"type": "noop"}})["NOTES.txt"]
    assert "WARNING: auth.type is noop" in open_notes
    assert "keys create" not in open_notes
    scaled = {"workerDefaults": {"autoscaling": {"enabled": True}}, "monitoring": {"enabled": True}}
    for text in (
        "KEDA can't read the figures of pool default",
        "Prometheus can't read the metrics",
    ):
        assert text in render(scaled)["NOTES.txt"]
        assert text not in render({**scaled, "auth": {"type": "noop"}})["NOTES.txt"]
    values = {"workerDefaults": {"autoscaling": {"enabled": True, "minReplicas": 0}}}
    assert "WARNING: all pools may have no worker" in render(values)["NOTES.txt"]


def test_the_kustomization_is_made_from_the_chart() -> None:
    for path, text in manifests.kustomize_files().items():
        assert path.read_text() == text, f"{path.relative_to(ROOT)}: run `make manifests`"


def test_the_yaml_is_tidy() -> None:
    files = [*VALUES.glob("*.yaml"), CHART / "values.yaml", CHART / "Chart.yaml"]
    files += [*KUSTOMIZE.rglob("*.yaml"), ROOT / "deploy" / "compose.yaml"]
    run = subprocess.run(
        [Path(sys.executable).with_name("yamllint"), "--strict", "-d", STYLE, *files],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout
