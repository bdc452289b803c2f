"""The manifests agree with the code: its routes, settings, times, ports, commands and files."""

import json
import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

pytest.importorskip("yaml", reason="make test installs it")
pytest.importorskip("helm_python", reason="make test installs it")

from conftest import System
from deploy.dockerfile import environment, last, stages
from deploy.keda import desired, triggers
from deploy.manifests import ROOT, example
from deploy.validation import OLDEST
from harness.processes import EXAMPLES, Fleet
from harness.waiting import until
from millstream.api import main as api_main
from millstream.api.ops.schemas import QueueScaling
from millstream.api.routes import ENDPOINTS
from millstream.cli.main import main as command_line
from millstream.shared.rules.auth_kinds import AuthKind, choose_auth_kinds
from millstream.shared.settings import Settings
from millstream.worker.maintenance import alive_file

SETS: Final = ["default", "production", "pools"]
VARIABLES: Final = {name for each in fields(Settings) for name in each.metadata["names"]}
PATHS: Final = {endpoint.path for endpoint in ENDPOINTS if endpoint.method == "GET"}
DEFAULTS: Final = Settings()


class Release:
    """The objects of one set of values."""

    def __init__(self, name: str) -> None:
        self.objects = example(name)

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.objects if each["kind"] == kind]

    def one(self, kind: str, suffix: str = "") -> dict[str, Any]:
        [match] = [each for each in self.of_kind(kind) if each["metadata"]["name"].endswith(suffix)]
        return match

    @property
    def pods(self) -> dict[str, dict[str, Any]]:
        """The pod templates by the name of their Deployment."""
        return {
            each["metadata"]["name"]: each["spec"]["template"]
            for each in self.of_kind("Deployment")
        }

    @property
    def workers(self) -> dict[str, dict[str, Any]]:
        """The pods of workers."""
        return {name: pod for name, pod in self.pods.items() if "-worker-" in name}


def container(pod: dict[str, Any]) -> dict[str, Any]:
    [only] = pod["spec"]["containers"]
    return dict(only)


def environ(pod: dict[str, Any]) -> dict[str, str]:
    """Returns the variables of a pod; those from Secrets have the URL of a Redis."""
    return {
        each["name"]: each.get("value", "redis://redis:6379/0") for each in container(pod)["env"]
    }


@pytest.fixture(params=SETS)
def release(request: pytest.FixtureRequest) -> Release:
    """The objects of each set of values."""
    return Release(request.param)


def test_each_variable_is_a_setting_with_a_valid_value(release: Release) -> None:
    for pod in release.pods.values():
        assert environ(pod).keys() <= VARIABLES
        Settings.from_env(environ(pod))


def test_a_pod_gets_longer_than_its_drain(release: Release) -> None:
    for pod in release.workers.values():
        drain = Settings.from_env(environ(pod)).drain_grace
        assert pod["spec"]["terminationGracePeriodSeconds"] >= drain + 20
    api = release.pods["millstream-api"]
    [_, pause] = container(api)["lifecycle"]["preStop"]["exec"]["command"]
    assert api["spec"]["terminationGracePeriodSeconds"] >= int(pause) + api_main.STOP_WITHIN + 10


def test_the_defaults_are_those_of_the_code() -> None:
    [pod] = Release("default").workers.values()
    settings = Settings.from_env(environ(pod))
    assert settings.drain_grace == DEFAULTS.drain_grace
    assert settings.jobs_per_worker == DEFAULTS.jobs_per_worker
    command = container(pod)["command"]
    assert command[command.index("--queue") + 1] == DEFAULTS.queue


def test_each_api_says_which_credentials_it_accepts(release: Release) -> None:
    """It listens on all addresses, so it would not start otherwise."""
    variables = environ(release.pods["millstream-api"])
    settings = Settings.from_env(variables)
    kinds = choose_auth_kinds(
        settings.auth_type, "0.0.0.0", has_custom=False, has_jwt=settings.has_jwt
    )
    assert AuthKind.NOOP not in kinds
    image = environment(stages(ROOT / "deploy/api.Dockerfile")[-1])
    assert image["AUTH_TYPE"] == AuthKind.API_KEY


def test_the_commands_are_those_of_the_images(release: Release) -> None:
    for name, pod in release.pods.items():
        image = "api" if name.endswith("-api") else "worker"
        command = container(pod)["command"] + container(pod).get("args", [])
        stage = stages(ROOT / "deploy" / f"{image}.Dockerfile")[-1]
        in_image = last(stage, "CMD").command
        assert command[:2] == in_image[:2]
        if image == "api":
            assert command[: len(in_image)] == in_image
        else:
            config = PurePosixPath(last(stage, "WORKDIR").text) / in_image[-1]
            assert command[2:4] == ["--config", str(config)]
        user, group = last(stage, "USER").text.split(":")
        security = pod["spec"]["securityContext"]
        assert [security["runAsUser"], security["runAsGroup"]] == [int(user), int(group)]
        command_line.commands[image].make_context(image, command[2:])


def test_each_probe_asks_what_the_code_serves(release: Release) -> None:
    api = container(release.pods["millstream-api"])
    prefix = "/agents" if "--config" in api.get("args", []) else ""
    [port] = api["ports"]
    assert (
        str(port["containerPort"])
        == last(stages(ROOT / "deploy/api.Dockerfile")[-1], "EXPOSE").text
    )
    for name in ("startupProbe", "readinessProbe", "livenessProbe"):
        probe = api[name]
        request = probe.get("httpGet") or probe["tcpSocket"]
        assert request["port"] == port["name"]
        if path := request.get("path"):
            assert path.removeprefix(prefix) in PATHS
    for pod in release.workers.values():
        worker = container(pod)
        command = worker["startupProbe"]["exec"]["command"]
        stage = stages(ROOT / "deploy/worker.Dockerfile")[-1]
        assert command == last(stage, "HEALTHCHECK").command
        assert worker["livenessProbe"]["exec"]["command"] == command
        path = environ(pod)["MILLSTREAM_ALIVE_FILE"]
        assert path == environment(stage)["MILLSTREAM_ALIVE_FILE"]
        [mount] = worker["volumeMounts"]
        assert str(PurePosixPath(path).parent) == mount["mountPath"]
        assert int(command[-1].rpartition(" ")[2]) >= 10 * alive_file.EVERY


def test_an_api_without_redis_is_alive_and_not_ready() -> None:
    probes = [
        container(Release("default").pods["millstream-api"])[name]["httpGet"]
        for name in ("readinessProbe", "livenessProbe")
    ]
    with Fleet("redis://127.0.0.1:1") as fleet:
        url = (
            fleet.api(MILLSTREAM_ALLOWED_HOSTS="agents.example.com,millstream-api").wait_ready().url
        )

        def status(probe: dict[str, Any]) -> int:
            headers = {each["name"]: each["value"] for each in probe["httpHeaders"]}
            return httpx.get(url + probe["path"], headers=headers).status_code

        assert [status(probe) for probe in probes] == [503, 200]
        assert httpx.get(url + probes[1]["path"]).status_code >= 400  # by its address


def test_selectors_select_the_pods_that_they_are_for(release: Release) -> None:
    def selected(selector: dict[str, str]) -> set[str]:
        assert selector
        return {
            name
            for name, pod in release.pods.items()
            if selector.items() <= pod["metadata"]["labels"].items()
        }

    for kind in ("Deployment", "PodDisruptionBudget"):
        for each in release.of_kind(kind):
            assert selected(each["spec"]["selector"]["matchLabels"]) == {each["metadata"]["name"]}
    service = release.one("Service")
    assert selected(service["spec"]["selector"]) == {service["metadata"]["name"]}
    policies = [
        selected(e["spec"]["podSelector"]["matchLabels"]) for e in release.of_kind("NetworkPolicy")
    ]
    assert policies == [{"millstream-api"}, set(release.workers)]
    for kind in ("HorizontalPodAutoscaler", "ScaledObject"):
        for each in release.of_kind(kind):
            assert each["spec"]["scaleTargetRef"]["name"] in release.pods
    for pod in release.pods.values():
        for spread in pod["spec"]["topologySpreadConstraints"]:
            assert (
                spread["labelSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
            )


def test_ports_are_named_once_and_used_by_name(release: Release) -> None:
    names = {
        name: {port["name"] for port in container(pod).get("ports", [])}
        for name, pod in release.pods.items()
    }
    [port] = release.one("Service")["spec"]["ports"]
    assert port["targetPort"] in names["millstream-api"]
    policies = {each["metadata"]["name"]: each for each in release.of_kind("NetworkPolicy")}
    for name, ports_of_pod in names.items():
        policy = policies["millstream-worker" if name in release.workers else name]
        allowed = {each["port"] for rule in policy["spec"]["ingress"] for each in rule["ports"]}
        assert allowed == ports_of_pod
    monitors = [
        endpoint
        for kind, field in (("ServiceMonitor", "endpoints"), ("PodMonitor", "podMetricsEndpoints"))
        for each in release.of_kind(kind)
        for endpoint in each["spec"][field]
    ]
    assert {endpoint["path"] for endpoint in monitors} <= PATHS & {"/metrics"}
    for each in release.of_kind("ServiceMonitor"):
        assert {endpoint["port"] for endpoint in each["spec"]["endpoints"]} == {port["name"]}
    for each in release.of_kind("PodMonitor"):
        ports = {endpoint["port"] for endpoint in each["spec"]["podMetricsEndpoints"]}
        assert all(ports <= names[name] for name in release.workers)
    stage = stages(ROOT / "deploy/worker.Dockerfile")[-1]
    for pod in release.workers.values():
        [metrics] = container(pod)["ports"]
        number = str(metrics["containerPort"])
        assert number == environ(pod)["METRICS_PORT"]
        assert number == environment(stage)["METRICS_PORT"] == last(stage, "EXPOSE").text


def test_the_limits_of_the_ingress_are_those_of_the_api() -> None:
    prefix = "nginx.ingress.kubernetes.io/proxy-"
    annotations = Release("production").one("Ingress")["metadata"]["annotations"]
    assert annotations[f"{prefix}body-size"] == f"{DEFAULTS.max_body // 2**20}m"
    assert annotations[f"{prefix}buffering"] == annotations[f"{prefix}request-buffering"] == "off"
    for timeout in ("read-timeout", "send-timeout"):
        assert float(annotations[prefix + timeout]) >= 4 * DEFAULTS.keepalive


# ── Scaling ──────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("name", ["production", "pools"])
def test_each_pool_is_scaled_by_the_figures_of_its_queues(name: str) -> None:
    release = Release(name)
    scaled = {each["metadata"]["name"]: each for each in release.of_kind("ScaledObject")}
    assert scaled.keys() == release.workers.keys()
    for pool, pod in release.workers.items():
        command = container(pod)["command"]
        queues = [command[at + 1] for at, option in enumerate(command) if option == "--queue"]
        figures: dict[str, tuple[float, str]] = {}
        for trigger in triggers(scaled[pool]):
            query = parse_qs(urlsplit(trigger.path).query)
            assert trigger.location in QueueScaling.model_fields
            assert trigger.activation == 0
            path = urlsplit(trigger.path).path.removeprefix("/agents")
            assert path in PATHS
            [parameters] = [each.query for each in ENDPOINTS if each.path == path]
            assert parameters is not None
            assert parameters.model_validate({key: value[0] for key, value in query.items()})
            assert query.keys() <= parameters.model_fields.keys()
            assert query["queue"] == [",".join(queues)]
            figures[trigger.location] = (trigger.target, trigger.kind)
        slots = Settings.from_env(environ(pod)).jobs_per_worker
        assert figures["in_flight"] == (slots, "AverageValue")
        assert figures["oldest_due_age_seconds"][1] == "Value"
        assert "replicas" not in next(
            each["spec"]
            for each in release.of_kind("Deployment")
            if each["metadata"]["name"] == pool
        )
        host = urlsplit(scaled[pool]["spec"]["triggers"][0]["metadata"]["url"])
        service = release.one("Service")
        assert host.hostname == service["metadata"]["name"]
        assert host.port == service["spec"]["ports"][0]["port"]


def test_an_api_that_does_not_answer_stops_no_worker() -> None:
    for each in Release("pools").of_kind("ScaledObject"):
        fallback = each["spec"]["fallback"]
        assert fallback["replicas"] >= 1
        assert fallback["behavior"] == "currentReplicasIfHigher"
        # Two figures of one process are at most 2 s old, so more polls would read the same ones.
        assert each["spec"]["pollingInterval"] >= 2


async def test_keda_reads_the_figures_of_a_running_api(system: System) -> None:
    [scaled] = Release("production").of_kind("ScaledObject")
    async with httpx.AsyncClient(base_url=system.url) as client:
        for trigger in triggers(scaled):
            response = await client.get(trigger.path)
            assert isinstance(response.json()[trigger.location], int | float)


def test_the_number_of_workers_follows_from_the_figures() -> None:
    [_, slow, _] = Release("pools").of_kind(
        "ScaledObject"
    )  # 10 runs on each worker, and a wait of 60 s

    def workers(current: int, in_flight: int, age: float = 0.0) -> int:
        figures = {"in_flight": in_flight, "oldest_due_age_seconds": age}
        return desired(slow, current, lambda trigger: figures[trigger.location])

    assert workers(0, 0) == 0
    assert workers(0, 1) == 1  # below the target, and nevertheless the first worker starts
    assert workers(1, 10) == 1
    assert workers(1, 35) == 4
    assert workers(4, 35) == 4
    assert (
        workers(2, 20, age=180) == 6
    )  # they are full, and the oldest run waits for 3 times as long as it may
    assert workers(4, 12) == 2
    assert workers(2, 0) == 0
    assert workers(5, 100_000) == slow["spec"]["maxReplicaCount"]


# ── For real ─────────────────────────────────────────────────────────────────


async def test_the_command_of_the_chart_starts_a_worker_that_its_probe_finds_alive(
    system: System, tmp_path: Path
) -> None:
    pod = Release("pools").workers["millstream-worker-default"]
    worker = container(pod)
    alive = tmp_path / "alive"
    env = environ(pod) | {
        "REDIS_URL": system.fleet.redis_url,
        "MILLSTREAM_ALIVE_FILE": str(alive),
        "METRICS_PORT": "0",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    command = [
        str(EXAMPLES) if each.startswith("/project/") else each for each in worker["command"]
    ]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:  # noqa: ASYNC220
        try:
            probe = worker["startupProbe"]["exec"]["command"]

            def is_alive() -> bool:
                assert process.poll() is None
                return (
                    subprocess.run(probe, env=env, capture_output=True, check=False).returncode == 0
                )

            assert not is_alive()
            await until(is_alive, within=60)
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline().removeprefix("millstream-ready "))
            assert ready["jobs"] == int(env["N_JOBS_PER_WORKER"])
            assert ready["queues"] == ["default", "mail"]
            assert ready["pid"] == process.pid  # SIGTERM of the container reaches the worker itself
            process.terminate()
            await until(lambda: process.poll() is not None, within=30)
            assert process.returncode == 0
        finally:
            process.kill()


def test_the_oldest_kubernetes_is_that_of_the_chart() -> None:
    text = (ROOT / "deploy/helm/millstream/Chart.yaml").read_text()
    assert f'kubeVersion: ">={OLDEST}.0-0"' in text
