"""The command line: the processes that it starts, and its error messages."""

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import ModuleSpec
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from millstream.cli.embedded import EmbeddedRedis
from millstream.cli.main import main
from millstream.cli.processes import operator_redis_url
from millstream.shared.langgraph_json import EXAMPLE
from millstream.shared.settings import DEFAULT_REDIS_URL

Started = list[tuple[list[str], Mapping[str, str]]]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test runs in the folder of a project, in an environment without REDIS_URL."""
    (tmp_path / "langgraph.json").write_text(EXAMPLE)
    monkeypatch.chdir(tmp_path)
    for name in ("REDIS_URL", "REDIS_URI", "MILLSTREAM_QUEUE", "N_JOBS_PER_WORKER"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Started:
    """The calls of `exec` that the command made, without executing them."""
    calls: Started = []

    def execve(path: str, argv: list[str], environ: Mapping[str, str]) -> None:
        assert path == argv[0] == sys.executable
        calls.append((argv[1:], environ))

    monkeypatch.setattr(os, "execve", execve)
    return calls


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_version_prints_the_version() -> None:
    assert run("--version").output == f"millstream {version('millstream')}\n"


@pytest.mark.parametrize("command", ["dev", "api", "worker"])
def test_help_shows_the_defaults(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "--redis-url URL" in result.output
    assert ("2024" in result.output) is (command != "worker")


def test_the_api_command_becomes_the_api_process(started: Started, folder: Path) -> None:
    assert run("api").exit_code == 0
    assert run("api", "--host", "::1", "--port", "80").exit_code == 0
    api = ["-P", "-m", "millstream.api"]
    assert [argv for argv, _ in started] == [
        [*api, "--host", "127.0.0.1", "--port", "2024"],
        [*api, "--host", "::1", "--port", "80"],
    ]


def test_the_worker_command_becomes_the_worker_process(
    started: Started, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("worker").exit_code == 0
    monkeypatch.setenv("MILLSTREAM_QUEUE", "slow")
    assert run("worker").exit_code == 0
    assert run("worker", "--queue", "fast").exit_code == 0
    assert run("worker", "--queue", "fast", "--queue", "slow,cheap").exit_code == 0
    assert run("worker", "--queue", "FAST").exit_code == 2
    config = str(folder / "langgraph.json")
    worker = ["-P", "-m", "millstream.worker", "--config", config, "--queue"]
    assert [argv for argv, _ in started] == [
        [*worker, "default"],
        [*worker, "slow"],
        [*worker, "fast"],
        [*worker, "fast", "--queue", "slow", "--queue", "cheap"],
    ]


def test_an_option_overrides_the_environment(
    started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("api")
    monkeypatch.setenv("REDIS_URI", "redis://alias")
    run("worker")
    monkeypatch.setenv("REDIS_URL", "redis://environment")
    run("api")
    run("worker", "--redis-url", "redis://option")
    assert [environ.get("REDIS_URL") for _, environ in started] == [
        None,
        "redis://alias",
        "redis://environment",
        "redis://option",
    ]


@pytest.mark.parametrize("command", ["dev", "worker"])
def test_a_missing_project_is_an_error(command: str, folder: Path, started: Started) -> None:
    (folder / "langgraph.json").unlink()
    result = run(command)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: There is no langgraph.json in {folder}.")
    assert EXAMPLE in result.stderr
    assert not started


def test_dev_refuses_a_public_address_without_authentication(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AUTH_TYPE", raising=False)
    result = run("dev", "--host", "0.0.0.0")
    assert result.exit_code == 2
    assert "would listen on 0.0.0.0 without authentication" in result.stderr
    assert "AUTH_TYPE=noop" in result.stderr
    assert not (folder / ".millstream").exists()


@pytest.mark.parametrize("command", ["dev", "worker"])
def test_an_invalid_project_is_an_error(command: str, folder: Path, started: Started) -> None:
    (folder / "langgraph.json").write_text('{"graphs": }')
    result = run(command)
    assert result.exit_code == 2
    assert "is not valid JSON: line 1, column 12" in result.stderr
    assert not started


@pytest.mark.parametrize("command", ["dev", "api", "worker"])
def test_an_invalid_setting_is_an_error(
    command: str, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("N_JOBS_PER_WORKER", "many")
    result = run(command)
    assert result.exit_code == 2
    assert result.stderr == "Error: N_JOBS_PER_WORKER='many' is not a whole number.\n"
    assert not started


@pytest.mark.parametrize(
    ("command", "package", "extra"),
    [
        ("api", "starlette", "api"),
        ("worker", "langgraph", "worker"),
        ("dev", "starlette", "api"),
        ("dev", "langgraph", "worker"),
    ],
)
def test_a_missing_extra_is_an_error(
    command: str, package: str, extra: str, started: Started, monkeypatch: pytest.MonkeyPatch
) -> None:
    find: Callable[..., ModuleSpec | None] = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == package else find(name)
    )
    result = run(command)
    assert result.exit_code == 1
    assert f'pip install "millstream[{extra}]"' in result.stderr
    assert not started


def test_dev_reports_a_taken_port(taken_port: int) -> None:
    result = run("dev", "--port", str(taken_port))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: Port {taken_port} is already in use.")


def test_dev_reports_an_unreachable_redis(folder: Path) -> None:
    with socket.socket() as closed:  # bound, but not listening
        closed.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        result = run("dev", "--redis-url", f"redis://:secret@{address}", *free_port())
    assert result.exit_code == 1
    assert result.stderr.startswith(f"Error: No Redis answers at redis://:***@{address}: ")
    assert "secret" not in result.output
    assert not (folder / ".millstream").exists()


def test_dev_reports_an_invalid_redis_url() -> None:
    result = run("dev", "--redis-url", "localhost:6379", *free_port())
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: localhost:6379 is not a Redis URL: ")


def free_port() -> tuple[str, str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return "--port", str(probe.getsockname()[1])


def test_the_command_imports_neither_side() -> None:
    program = (
        "import sys, millstream.cli.main, millstream.cli.dev\n"
        "heavy = {'starlette', 'uvicorn', 'pydantic', 'langgraph', 'langchain_core', 'arq'}\n"
        "heavy |= {'millstream.api', 'millstream.worker', 'watchfiles'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"[]\n"


def test_operators_reach_the_redis_of_dev_in_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert operator_redis_url(None, {}) == DEFAULT_REDIS_URL
    with EmbeddedRedis(tmp_path / ".millstream", modules=False) as server:
        assert operator_redis_url(None, {}) == server.url
        assert operator_redis_url(None, {"REDIS_URI": "redis://other"}) == "redis://other"
        assert operator_redis_url("redis://mine", {"REDIS_URI": "redis://other"}) == "redis://mine"
    assert operator_redis_url(None, {}) == DEFAULT_REDIS_URL
