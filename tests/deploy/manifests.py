"""Renders the chart, and writes the files of deploy/kustomize that are made from it (`make manifests`)."""

import re
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from helm_python.chart import Chart

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "deploy" / "helm" / "millstream"
VALUES: Final = ROOT / "deploy" / "helm" / "values"
KUSTOMIZE: Final = ROOT / "deploy" / "kustomize"
# Of Helm alone: with them, each version of the chart would change every object.
HELM_LABELS: Final = re.compile(
    r"^ *(?:helm\.sh/chart|app\.kubernetes\.io/managed-by):.*\n", re.MULTILINE
)
TRAILING_SPACES: Final = re.compile(r" +$", re.MULTILINE)
# The file in deploy/kustomize, the template, and the values that it is made with.
FILES: Final[list[tuple[str, str, dict[str, Any]]]] = [
    ("base/serviceaccount.yaml", "serviceaccount.yaml", {}),
    ("base/api.yaml", "api.yaml", {}),
    ("base/workers.yaml", "workers.yaml", {}),
    ("base/networkpolicy.yaml", "networkpolicy.yaml", {}),
    (
        "components/keda/scaling.yaml",
        "scaling.yaml",
        {"workerDefaults": {"autoscaling": {"enabled": True}}},
    ),
    ("components/monitoring/monitoring.yaml", "monitoring.yaml", {"monitoring": {"enabled": True}}),
    (
        "components/ingress/ingress.yaml",
        "ingress.yaml",
        {"ingress": {"enabled": True, "host": "agents.example.com", "tlsSecret": "millstream-tls"}},
    ),
]


@cache
def _chart() -> Chart:
    return Chart.load(CHART)


def render(values: dict[str, Any], name: str = "millstream") -> dict[str, str]:
    """Returns the text of each template. Raises the library's HelmError for invalid values."""
    rendered = _chart().render(values, name=name, namespace="agents")
    return {path.rpartition("/")[2]: text for path, text in rendered.items()}


def objects(texts: dict[str, str]) -> list[dict[str, Any]]:
    """Returns the objects of Kubernetes in rendered templates."""
    return [
        each
        for name, text in texts.items()
        if name.endswith(".yaml")
        for each in yaml.safe_load_all(text)
        if each
    ]


@cache
def example(name: str) -> list[dict[str, Any]]:
    """Returns the objects for a file of deploy/helm/values, or for the default values."""
    path = VALUES / f"{name}.yaml"
    return objects(render(yaml.safe_load(path.read_text()) if name != "default" else {}))


def kustomize_files() -> dict[Path, str]:
    """Returns the text of each file of deploy/kustomize that is made from the chart."""
    result = {}
    for path, template, values in FILES:
        text = TRAILING_SPACES.sub("", HELM_LABELS.sub("", render(values)[template]))
        result[KUSTOMIZE / path] = text.strip().removeprefix("---\n") + "\n"
    return result


if __name__ == "__main__":
    for file, content in kustomize_files().items():
        file.write_text(content)
