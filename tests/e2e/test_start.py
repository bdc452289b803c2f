"""The messages of processes about their Redis when they start."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from e2e.raw_http import call_api
from harness.processes import Fleet, Process
from harness.waiting import until
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared.redis import masked

EVICTS = "Redis may evict keys (maxmemory-policy is allkeys-lru)"
FORGETS = "Redis keeps nothing on disk"


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[EmbeddedRedis]:
    """A server without persistence."""
    with EmbeddedRedis(tmp_path / "redis", appendonly=False, modules=False) as server:
        yield server


@contextlib.contextmanager
def configured(server: EmbeddedRedis, **settings: Any) -> Iterator["Redis"]:
    """Changes settings of the server. Yields a client with all permissions."""
    with Redis.from_url(server.url) as client:
        for name, value in settings.items():
            client.config_set(name.replace("_", "-"), value)
        yield client


def said(process: Process, text: str) -> list[str]:
    """Returns the lines of a process that contain a text."""
    return [line for line in process.lines if text in line]


async def test_eviction_and_missing_persistence_are_warnings(bare: EmbeddedRedis) -> None:
    with (
        configured(bare, maxmemory="100mb", maxmemory_policy="allkeys-lru", save=""),
        Fleet(bare.url) as fleet,
    ):
        for process in (fleet.api(), fleet.worker()):
            process.wait_ready()
            for text in (EVICTS, FORGETS):
                [line] = await until(partial(said, process, text), what=text)
                assert json.loads(line)["level"] == "warning"
                assert "redis-cli CONFIG SET " in line
            assert not process.errors


async def test_a_persistent_redis_starts_without_warnings(bare: EmbeddedRedis) -> None:
    with configured(bare, appendonly="yes") as client, Fleet(bare.url) as fleet:
        worker, api = fleet.worker().wait_ready(), fleet.api().wait_ready()
        await until(lambda: server_was_checked(client))
        assert not said(worker, "Redis ")
        assert not said(api, "Redis ")


async def test_a_redis_that_hides_its_settings_starts_without_warnings(bare: EmbeddedRedis) -> None:
    with configured(bare) as client:
        client.acl_setuser("bob", enabled=True, passwords=["+pw"], keys="*", channels="*",
                           categories=["+@all"], commands=["-config", "-info"])  # fmt: skip
        with Fleet(bare.url_for("bob", "pw")) as fleet:
            worker, api = fleet.worker().wait_ready(), fleet.api().wait_ready()
            assert (await call_api(api.url, "GET", "/ok"))[0] == 200
            await until(lambda: server_was_checked(client, "cmdstat_info", "rejected_calls", 2))
            assert not said(worker, FORGETS)
            assert not said(api, FORGETS)


def server_was_checked(client: "Redis", command: str = "cmdstat_config|get", what: str = "calls",
          times: int = 2) -> bool:  # fmt: skip
    """Returns whether both processes have checked the server."""
    stats: Any = client.info("commandstats")
    return int(stats.get(command, {}).get(what, 0)) >= times


async def test_an_api_started_without_redis_warns_once_it_connects(bare: EmbeddedRedis) -> None:
    bare.kill()
    with Fleet(bare.url) as fleet:
        api = fleet.api().wait_ready()
        worker = fleet.worker()
        assert worker.wait() == 1
        assert said(worker, f"Redis can't be reached at {masked(bare.url)}: ")
        assert (await call_api(api.url, "GET", "/ok"))[0] == 503
        assert not said(api, FORGETS)
        bare.start()
        await until(lambda: said(api, FORGETS))
        assert (await call_api(api.url, "GET", "/ok"))[0] == 200


class ClusterModeServer(EmbeddedRedis):
    """A server in cluster mode."""

    def _options(self) -> list[str]:
        return [*super()._options(), "--cluster-enabled", "yes"]


def low_port() -> int:
    """Returns a port p such that p and p + 10,000 are free: a cluster uses both.

    Both are below the range of ephemeral ports.
    """
    for port in range(11_000 + os.getpid() % 5_000, 22_000):
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", port))
            other.bind(("127.0.0.1", port + 10_000))
            return port
    raise AssertionError("no port is free")


async def test_a_redis_cluster_is_rejected(tmp_path: Path) -> None:
    cluster = ClusterModeServer(tmp_path / "cluster", modules=False, port=low_port())
    with cluster as server, Fleet(server.url) as fleet:
        worker, api = fleet.worker(), fleet.api().wait_ready()
        assert worker.wait() == 1
        [line] = said(worker, "Cluster, which is not supported yet")
        assert line.startswith("This Redis is a Cluster")  # a sentence, no traceback
        assert not said(worker, "Traceback")
        [line] = await until(lambda: said(api, "Cluster, which is not supported yet"))
        assert json.loads(line)["level"] == "error"


@pytest.mark.parametrize(
    "url", ["redis+sentinel://:secret@127.0.0.1:1", "http://:secret@x", "bob:secret@127.0.0.1:1/0"]
)
async def test_an_invalid_redis_url_ends_both_processes_with_one_sentence(url: str) -> None:
    with Fleet(url) as fleet:
        for process in (fleet.api(), fleet.worker()):
            assert process.wait() == 1
            assert len(process.lines) == 1, process.lines
            assert "is not a Redis URL: " in process.lines[0]
            assert "redis+sentinel://[user:password@]host:26379" in process.lines[0]
            assert "secret" not in process.lines[0]
