"""Redis users without all permissions: the messages of API, worker and `dev`, and the runs meanwhile."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import NodeLog, Thread, request
from e2e.raw_http import RawResponse, call_api
from harness.processes import EXAMPLES, Fleet, Process
from harness.waiting import until
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import permissions
from millstream.shared.redis import Client, connect

pytestmark = pytest.mark.xdist_group("permissions")

BEHAVIOUR = Path(__file__).parents[1] / "graphs" / "behaviour.json"
FULL = ["~*", "&*", "+@all", "-@dangerous"]
ENV = {
    "LEASE_SECS": "1",
    "KEEPALIVE_INTERVAL_SECS": "0.1",
    "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": "0",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A server whose users the tests create."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis"), appendonly=False, modules=False) as redis:
        yield redis


@pytest.fixture
async def admin(server: EmbeddedRedis) -> AsyncIterator[Client]:
    """A client with all permissions, on an empty database."""
    client = connect(server.url)
    await client.flushdb()
    yield client
    await client.aclose()


async def allow(admin: Client, user: str, *rules: str) -> None:
    await admin.execute_command("ACL", "SETUSER", user, "reset", "on", ">pw", *rules)  # type: ignore[no-untyped-call]


def url_of(server: EmbeddedRedis, user: str) -> str:
    return server.url_for(user, "pw")


def said(process: Process, text: str) -> list[str]:
    return [line for line in process.lines if text in line]


@contextlib.contextmanager
def processes(server: EmbeddedRedis, api: str, worker: str) -> Iterator[tuple[Process, Process]]:
    """An API and a worker, each with its own Redis user. They end with the block."""
    with Fleet(url_of(server, worker), **ENV) as fleet:
        yield fleet.api(REDIS_URL=url_of(server, api)), fleet.worker(BEHAVIOUR)


@pytest.mark.parametrize(
    ("lost", "rule"),
    [
        (["resetchannels"], "&ms:*"),
        (["-time"], "+time"),
        (["-eval", "-evalsha"], "+evalsha +eval"),
        (["resetkeys", "~ms:queue:*"], "~ms:*"),
    ],
    ids=["channels", "time", "scripts", "keys"],
)
async def test_missing_permissions_are_reported_at_start(
    server: EmbeddedRedis, admin: Client, lost: list[str], rule: str
) -> None:
    await allow(admin, "ms", *FULL, *lost)
    with processes(server, "ms", "ms") as (api, worker):
        assert worker.wait() == 1
        sentences = [line for line in worker.lines if "SETUSER" in line and "+info" not in line]
        assert len(sentences) == 1, worker.lines
        assert rule in sentences[0]
        assert not said(worker, "Traceback")
        assert not worker.ready
        url = api.wait_ready().url
        status, body = await call_api(url, "GET", "/ok")
        assert status == 503
        assert body["ok"] is False
        assert rule in body["services"]["redis"]
        assert body["services"]["workers"] == "skipped"
        status, body = await call_api(url, "POST", "/threads", {})
        assert (status == 503) == (rule != "&ms:*"), body  # that alone rings nobody
        await until(lambda: said(api, rule))
        await allow(admin, "ms", *FULL)

        async def well() -> bool:
            return (await call_api(url, "GET", "/ok"))[0] == 200

        await until(well)
        assert (await call_api(url, "POST", "/threads", {}))[0] == 200
        assert len([each for each in api.errors if rule in each["event"]]) == 1
        assert not said(api, "Traceback")


@pytest.mark.parametrize(
    "rules", [FULL, ["-@all", *permissions.acl_rules()]], ids=["usual", "least"]
)
async def test_the_usual_and_the_minimal_permissions_suffice(
    server: EmbeddedRedis, admin: Client, log: NodeLog, rules: list[str]
) -> None:
    await allow(admin, "ms", *rules)
    with processes(server, "ms", "ms") as (api, worker):
        url = api.wait_ready().url
        worker.wait_ready()
        body = (await call_api(url, "GET", "/ok"))[1]
        assert body == {"ok": True, "services": {"redis": "healthy", "workers": "healthy"}}
        thread = await Thread.create(url)
        assert await thread.ended(await thread.start("track", after_seconds=0.1)) == "success"
        async with await thread.stream("track", stream_mode="custom") as response:
            assert (await response.events())[-1].data == {"status": "success"}
        lingering = await thread.start("linger", configurable={"log": str(log)})
        await log.noted("begin")
        path = f"{thread.runs_path}/{lingering}/cancel?wait=1"
        assert (await call_api(url, "POST", path))[0] == 200
        assert await thread.ended(lingering) == "interrupted"
        for method, path in (
            ("GET", f"/threads/{thread.id}/state"),
            ("POST", f"/threads/{thread.id}/history"),
            ("POST", f"/threads/{thread.id}/copy"),
            ("POST", "/threads/search"),
            ("POST", "/assistants/search"),
            ("DELETE", f"/threads/{thread.id}"),
        ):
            status, body = await call_api(url, method, path, None if method != "POST" else {})
            assert status < 300, (path, body)
        for process in (api, worker):
            [line] = await until(lambda process=process: said(process, "SETUSER"))  # type: ignore[misc]
            assert "may not use the command INFO" in line
            assert json.loads(line)["level"] == "warning"
            assert not process.errors


@pytest.mark.parametrize("lost", [["resetchannels"], ["-time"]])
async def test_a_permission_revoked_later_is_logged_once_until_it_is_restored(
    server: EmbeddedRedis, admin: Client, lost: list[str]
) -> None:
    await allow(admin, "api", *FULL)
    await allow(admin, "worker", *FULL, "+info")
    with processes(server, "api", "worker") as (api, worker):
        url = api.wait_ready().url
        worker.wait_ready()
        thread = await Thread.create(url)
        assert await thread.ended(await thread.start("track")) == "success"
        await allow(admin, "worker", *FULL, "+info", *lost)
        waiting = await thread.start("track")

        async def workers() -> Any:
            return (await call_api(url, "GET", "/ok"))[1]["services"]["workers"]

        async def none_is_ready() -> bool:
            return str(await workers()).startswith("No worker is running")

        await until(lambda: said(worker, "without which no run can be executed"), within=20)
        await until(none_is_ready, within=20)
        assert (await call_api(url, "GET", "/ok"))[0] == 200  # a run is admitted all the same
        assert worker.process.poll() is None
        await allow(admin, "worker", *FULL, "+info")
        # A claim that published nothing has lapsed, so the run may need a process of its own: seconds of imports.
        assert await thread.ended(waiting, within=60) == "success"

        async def is_ready() -> bool:
            return bool(await workers() == "healthy")

        await until(is_ready, within=20)
        assert len(said(worker, "without which no run can be executed")) == 1, worker.lines
        assert not said(worker, "Traceback"), worker.lines
        assert len(worker.lines) < 20, worker.lines  # one line a service, not one a try


async def test_a_stream_survives_a_revoked_permission(
    server: EmbeddedRedis, admin: Client, log: NodeLog
) -> None:
    await allow(admin, "api", *FULL)
    await allow(admin, "worker", *FULL)
    with processes(server, "api", "worker") as (api, worker):
        url = api.wait_ready().url
        worker.wait_ready()
        thread = await Thread.create(url)
        knobs = {"log": str(log), "n": 4, "delay": 0.3}
        body = request("track", configurable=knobs, stream_mode=["custom"])
        async with await RawResponse.open(
            url, "POST", f"{thread.runs_path}/stream", body
        ) as response:
            await response.until_events(1, "custom")
            await allow(admin, "api", *FULL, "-@scripting", "resetchannels")
            await log.noted("end", 4)
            for _ in range(3):
                await response.until_heartbeat()
            await allow(admin, "api", *FULL)
            events = await response.events()
        assert [e.data["step"] for e in events if e.name == "custom"] == [0, 1, 2, 3]
        assert events[-1].data == {"status": "success"}
        assert not said(api, "Traceback")


async def test_a_replica_is_rejected(server: EmbeddedRedis, admin: Client) -> None:
    await allow(admin, "ms", *FULL)
    await admin.replicaof("127.0.0.1", "1")
    try:
        with processes(server, "ms", "ms") as (api, worker):
            assert worker.wait() == 1
            assert said(worker, "This Redis is a replica")
            assert not said(worker, "Traceback")
            status, body = await call_api(api.wait_ready().url, "GET", "/ok")
            assert status == 503
            assert body["services"]["redis"].startswith("This Redis is a replica")
    finally:
        await admin.replicaof("NO", "ONE")


def dev(url: str) -> "subprocess.CompletedProcess[str]":
    """Runs `millstream dev` to its end."""
    code = "from millstream.cli.main import main; raise SystemExit(main())"
    arguments = ["dev", "--config", str(EXAMPLES), "--redis-url", url, "--port", "22809"]
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


async def test_a_redis_without_memory_rejects_runs(server: EmbeddedRedis, admin: Client) -> None:
    await allow(admin, "ms", *FULL)
    with processes(server, "ms", "ms") as (api, worker):
        url = api.wait_ready().url
        worker.wait_ready()
        await admin.config_set("maxmemory", 1)
        try:
            assert (await call_api(url, "POST", "/threads", {}))[0] == 503

            async def says_so() -> bool:
                status, body = await call_api(url, "GET", "/ok")
                return status == 503 and "takes no writes" in body["services"]["redis"]

            await until(says_so)
        finally:
            await admin.config_set("maxmemory", 0)

        async def well() -> bool:
            return bool((await call_api(url, "GET", "/ok"))[1]["ok"])

        await until(well)


async def test_dev_does_not_start_without_permissions(server: EmbeddedRedis, admin: Client) -> None:
    await allow(admin, "ms", "~*", "+@all", "-@dangerous")
    ended = await asyncio.to_thread(dev, url_of(server, "ms"))
    assert ended.returncode == 1
    [line] = (ended.stdout + ended.stderr).strip().splitlines()
    assert line.endswith("ACL SETUSER ms &ms:*")
