"""compose.yaml: valid, locked down, and in agreement with the images, nginx and the settings."""

import asyncio
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import Any, Final

import pytest

from deploy.dockerfile import environment, last, stages
from harness.nginx import OF_COMPOSE
from harness.waiting import until
from millstream.api import main as api_main
from millstream.cli.embedded import find_server
from millstream.shared.redis import connect
from millstream.shared.settings import Settings

yaml = pytest.importorskip("yaml", reason="make test installs it")

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
FILE: Final = DEPLOY / "compose.yaml"
VARIABLES: Final = {name for each in fields(Settings) for name in each.metadata["names"]}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """The services of compose.yaml."""
    return dict(yaml.safe_load(FILE.read_text())["services"])


def seconds(text: str) -> float:
    match = re.fullmatch(r"(\d+)s", text)
    assert match, text
    return float(match[1])


def number(pattern: str, text: str) -> float:
    """Returns the number that the pattern finds."""
    match = re.search(pattern, text, re.MULTILINE)
    assert match, pattern
    return float(match[1])


def test_the_file_is_valid_by_the_schema_of_compose() -> None:
    check = subprocess.run(
        [
            Path(sys.executable).with_name("check-jsonschema"),
            *("--builtin-schema", "vendor.compose-spec", FILE),
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert check.returncode == 0, check.stdout


def test_each_service_writes_only_where_it_must_and_has_no_rights(services: dict[str, Any]) -> None:
    assert set(services) == {"nginx", "api", "worker", "redis"}
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["restart"] == "unless-stopped"
        assert service["tmpfs"] == ["/tmp"]
    for name in ("nginx", "redis"):  # the other images set their user themselves
        assert not services[name]["user"].startswith("0")
    published = [name for name, service in services.items() if "ports" in service]
    assert published == ["nginx"]
    assert all(port.startswith("127.0.0.1:") for port in services["nginx"]["ports"])


def test_each_service_has_a_health_check(services: dict[str, Any]) -> None:
    for name in ("nginx", "redis"):
        assert services[name]["healthcheck"]["test"][0] == "CMD"
    for name in ("api", "worker"):
        stage = stages(ROOT / services[name]["build"]["dockerfile"])[-1]
        assert last(stage, "HEALTHCHECK").command
        assert services[name]["deploy"]["replicas"] == 2


def test_each_service_gets_the_time_that_its_stop_takes(services: dict[str, Any]) -> None:
    stops = {name: seconds(each["stop_grace_period"]) for name, each in services.items()}
    cut = number(r"worker_shutdown_timeout (\d+)s", OF_COMPOSE.read_text())
    assert stops["worker"] >= Settings().drain_grace + 10
    assert stops["api"] >= api_main.STOP_WITHIN + 5
    assert stops["nginx"] >= cut + 5
    assert services["nginx"]["stop_signal"] == "SIGQUIT"


def test_each_variable_is_a_setting(services: dict[str, Any]) -> None:
    for name in ("api", "worker"):
        environ = services[name]["environment"]
        assert environ.keys() <= VARIABLES
        defaults = {
            variable: re.sub(r"\$\{\w+:-(\w*)\}", r"\1", str(value))
            for variable, value in environ.items()
        }
        Settings.from_env(defaults)
        assert services[name]["env_file"] == [{"path": "millstream.env", "required": False}]
    assert "deploy/millstream.env" in (ROOT / ".gitignore").read_text().splitlines()
    alive_file = environment(stages(DEPLOY / "worker.Dockerfile")[-1])["MILLSTREAM_ALIVE_FILE"]
    assert str(PurePosixPath(alive_file).parent) in services["worker"]["tmpfs"]


def test_the_addresses_agree(services: dict[str, Any]) -> None:
    nginx = OF_COMPOSE.read_text()
    port = last(stages(DEPLOY / "api.Dockerfile")[-1], "EXPOSE").text
    command = last(stages(DEPLOY / "api.Dockerfile")[-1], "CMD").command
    assert command[-2:] == ["--port", port]
    assert f"server api:{port} resolve;" in nginx
    listen = int(number(r"listen (\d+);", nginx))
    assert services["nginx"]["ports"] == [f"127.0.0.1:{port}:{listen}"]
    assert services["worker"]["environment"]["MILLSTREAM_API_URL"] == f"http://nginx:{listen}"
    [mount] = services["nginx"]["volumes"]
    source, target, _ = mount.split(":")
    assert (DEPLOY / source).samefile(OF_COMPOSE)
    assert target == "/etc/nginx/nginx.conf"
    shared = set(services["api"]["networks"]) & set(services["redis"]["networks"])
    assert shared
    assert shared <= set(services["worker"]["networks"])
    assert not set(services["nginx"]["networks"]) & set(services["redis"]["networks"])


def test_the_limits_of_nginx_are_those_of_the_api() -> None:
    nginx, settings = OF_COMPOSE.read_text(), Settings()
    assert number(r"client_max_body_size (\d+)m;", nginx) * 2**20 == settings.max_body
    for timeout in ("proxy_read_timeout", "proxy_send_timeout", "send_timeout"):
        assert number(rf"^ *{timeout} (\d+)s;", nginx) >= 4 * settings.keepalive
    idle = number(r"^ *keepalive_timeout (\d+)s;", nginx)
    assert idle < api_main.KEEP_IDLE_CONNECTIONS


async def test_redis_starts_with_the_arguments_and_evicts_nothing(
    services: dict[str, Any], tmp_path: Path
) -> None:
    program, *arguments = services["redis"]["command"]
    assert program == "redis-server"
    arguments = [re.sub(r"^\$\{\w+:-(\w+)\}$", r"\1", each) for each in arguments]
    socket = tmp_path / "socket"
    arguments += ["--port", "0", "--unixsocket", str(socket), "--dir", str(tmp_path)]
    server = await asyncio.create_subprocess_exec(
        find_server().path, *arguments, stdout=subprocess.DEVNULL
    )
    redis = connect(f"unix://{socket}")
    try:
        await until(socket.exists)
        config = await redis.config_get("*")
        assert config["appendonly"] == "yes"
        assert config["appendfsync"] == "everysec"
        assert config["maxmemory-policy"] == "noeviction"
        assert int(config["maxmemory"]) == 2 * 2**30
    finally:
        await redis.aclose()
        server.terminate()
        await server.wait()
