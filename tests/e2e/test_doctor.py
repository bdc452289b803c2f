"""`millstream doctor` against broken set-ups: it names what is wrong by its text and by its exit status."""

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from redis import Redis

from contract.builders import a_spec, admit, job, make_due, running
from contract.fake_sentinel import MASTER, FakeSentinel
from e2e.test_start import ClusterModeServer, low_port
from harness.tls_proxy import Authority, tls_proxy
from harness.workers import report_worker
from millstream.cli.embedded import HOST, EmbeddedRedis
from millstream.cli.main import main
from millstream.shared import assistants, keys, workers
from millstream.shared.checks import connection, connection_reader, deployment_reader
from millstream.shared.checks.table import CHECKS
from millstream.shared.redis import Client, connect
from millstream.shared.wire import GraphInfo, WorkerRecord

pytestmark = pytest.mark.xdist_group("doctor")

NO_WORKER = "No worker is live"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A server without a problem, whose settings and data the tests change."""
    with EmbeddedRedis(tmp_path_factory.mktemp("redis"), modules=False, password="") as redis:
        yield redis


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the command runs in, without variables of Redis."""
    monkeypatch.chdir(tmp_path)
    for name in ("REDIS_URL", "REDIS_URI", "MILLSTREAM_QUEUE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(deployment_reader, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr(connection, "SLOW_MEDIAN_SECONDS", 60)  # this machine may be busy
    monkeypatch.setattr(connection, "SLOW_P99_SECONDS", 60)
    return tmp_path


@pytest.fixture
def admin(server: EmbeddedRedis) -> Iterator["Redis"]:
    """A client of the server, which has no keys and its first settings."""
    with Redis.from_url(server.url) as client:
        before = client.config_get("*")
        client.flushall()
        client.config_set("maxmemory", "200mb")
        yield client
        for name, value in client.config_get("*").items():
            if value != before[name]:
                client.config_set(name, before[name])
        client.config_resetstat()
        client.flushall()


def doctor(url: str, *arguments: str) -> Result:
    result = CliRunner().invoke(main, ["doctor", "--redis-url", url, *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def problems(url: str, *arguments: str) -> dict[str, list[dict[str, Any]]]:
    """Returns the problems by the name of their check; the exit status must follow from them."""
    result = doctor(url, "--json", *arguments)
    report = json.loads(result.output)
    reported = {each["name"]: each["problems"] for each in report["checks"] if each["problems"]}
    severities = {problem["severity"] for each in reported.values() for problem in each}
    assert result.exit_code == int(bool(severities & {"error", "warning"}))
    return reported


def require(url: str, name: str, severity: str, text: str) -> None:
    """Fails unless the check is the only one with errors or warnings, with that text, also in the printed report."""
    reported = problems(url)
    serious = {
        check: each for check, each in reported.items() if {"error", "warning"} & {p["severity"] for p in each}
    }  # fmt: skip
    assert serious.keys() == ({name} if severity != "note" else set()), serious
    assert any(p["severity"] == severity and text in p["what"] for p in reported[name]), reported
    printed = doctor(url)
    assert text in printed.output
    assert severity in printed.output
    assert "\x1b" not in printed.output  # no colours in a pipe
    assert printed.exit_code == int(severity != "note")


def on(url: str, act: Callable[[Client], Awaitable[Any]]) -> Any:
    """Does something with an asynchronous client."""

    async def do() -> Any:
        client = connect(url)
        try:
            return await act(client)
        finally:
            await client.aclose()

    return asyncio.run(do())


def test_a_server_without_a_problem_has_exit_status_0(
    server: EmbeddedRedis, admin: "Redis"
) -> None:
    assert list(problems(server.url)) == ["workers"]
    printed = doctor(server.url, "--all")
    assert printed.exit_code == 0
    assert "fine     round-trip: Measures 100 round trips" in printed.output
    assert (
        printed.output.splitlines()[-1] == f"{len(CHECKS)} checks: 1 note, {len(CHECKS) - 1} fine"
    )
    assert doctor(server.url, "--fail-on", "note").exit_code == 1
    assert not admin.keys("*")  # it has written nothing


def test_evictions_that_may_happen_and_that_have_happened(
    server: EmbeddedRedis, admin: "Redis"
) -> None:
    admin.config_set("maxmemory-policy", "allkeys-lru")
    require(
        server.url, "eviction", "warning", "Redis may evict keys (maxmemory-policy is allkeys-lru)"
    )
    info: Any = admin.info()
    admin.config_set("maxmemory", info["used_memory"] + 1024**2)
    for number in range(40):
        admin.set(f"ms:filler:{number}", b"x" * 100_000)
    reported = problems(server.url)
    assert "Redis has evicted " in reported["evicted-keys"][0]["what"]
    assert reported["evicted-keys"][0]["severity"] == "error"


@pytest.mark.parametrize(
    ("settings", "name", "severity", "text"),
    [
        ({"appendonly": "no", "save": ""}, "persistence", "warning", "Redis keeps nothing on disk"),
        ({"appendonly": "no", "save": "60 1"}, "persistence", "note", "writes snapshots alone"),
        ({"timeout": "5"}, "idle-timeout", "warning", "connections that are idle for 5 s"),
        ({"maxclients": "10"}, "connections", "warning", "Redis accepts 10 connections (maxclients)"),
        ({"client-output-buffer-limit": "pubsub 1kb 1kb 1"}, "buffers", "warning", "1,024 bytes behind"),
        ({"maxmemory": "0"}, "memory", "note", "no limit of memory"),
    ],
)  # fmt: skip
def test_a_setting_of_the_server_is_named(
    server: EmbeddedRedis, admin: "Redis", settings: dict[str, str], name: str, severity: str, text: str
) -> None:  # fmt: skip
    for setting, value in settings.items():
        admin.config_set(setting, value)
    require(server.url, name, severity, text)


def test_a_server_that_takes_no_writes_is_named(server: EmbeddedRedis, admin: "Redis") -> None:
    admin.config_set("min-replicas-to-write", "1")
    reported = problems(server.url)
    assert "it has 0 replicas and requires 1" in reported["replicas"][0]["what"]
    assert "takes no writes now: " in reported["writes"][0]["what"]
    admin.config_set("min-replicas-to-write", "0")
    admin.config_set("maxmemory", "1mb")
    reported = problems(server.url)
    assert "takes no writes now: " in reported["writes"][0]["what"]
    assert reported["memory"][0]["severity"] == "error"


def test_a_replica_is_named_and_a_master_with_a_replica_that_may_be_cut_off(
    server: EmbeddedRedis, admin: "Redis", tmp_path: Path
) -> None:
    with EmbeddedRedis(tmp_path / "replica", modules=False, password="") as replica:
        with Redis.from_url(replica.url) as client:
            client.config_set("maxmemory", "200mb")
            client.replicaof(HOST, server.port)
        require(replica.url, "replica", "error", "This Redis is a replica")
        require(server.url, "replicas", "warning", "has 1 replica, and min-replicas-to-write is 0")


def test_a_cluster_is_named_by_its_settings_and_by_its_answers(tmp_path: Path) -> None:
    with ClusterModeServer(tmp_path / "cluster", modules=False, port=low_port()) as cluster:
        reported = problems(cluster.url)
        assert reported["cluster"][0]["severity"] == "error"
        assert "This Redis is a Cluster" in reported["cluster"][0]["what"]
        with Redis.from_url(cluster.url) as client:
            client.acl_setuser("ms", enabled=True, nopass=True, keys="*", channels="*",
                               categories=["+@all"], commands=["-info"])  # fmt: skip
        reported = problems(cluster.url_for("ms", "x"))
        assert "this server answers: CLUSTERDOWN" in reported["cluster"][0]["why"]


def test_missing_permissions_are_named_and_what_they_keep_from_being_checked(
    server: EmbeddedRedis, admin: "Redis"
) -> None:
    url = server.url_for("ms", "pw")
    setup: dict[str, Any] = {"enabled": True, "passwords": ["+pw"], "keys": "*", "channels": "*"}
    admin.acl_setuser("ms", **setup, categories=["+@all"], commands=["-time", "-config"])
    reported = problems(url)
    assert reported["permissions"][0]["what"] == "The Redis user 'ms' may not use the command TIME"
    assert reported["permissions"][0]["mend"] == "ACL SETUSER ms +time"
    printed = doctor(url).output
    assert (
        "idle-timeout, buffers: the Redis user 'ms' may not use CONFIG GET (ACL SETUSER ms +config|get"
        in printed
    )
    admin.acl_setuser("ms", **setup, reset=True, categories=["+@all"], commands=["-info"])
    require(url, "info", "warning", "The Redis user 'ms' may not use the command INFO")
    assert "version, " in doctor(url).output.partition("Not checked")[2]
    admin.acl_deluser("ms")


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that accepts connections and answers nothing."""
    with socket.create_server((HOST, 0)) as listening:
        yield listening.getsockname()[1]


def test_a_redis_that_can_not_be_used_is_named_at_once(
    server: EmbeddedRedis, admin: "Redis", silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_reader, "CONNECT_SECONDS", 0.3)
    with socket.create_server((HOST, 0)) as taken:
        closed = taken.getsockname()[1]
    for url, text in {
        server.url_for("", "wrong"): "rejects the login of the user 'default'",
        f"redis://{HOST}:{closed}/0": "is unreachable",
        f"redis://{HOST}:{silent_port}/0": "does not answer in time",
        "redis://name.invalid:6379/0": "The host name of Redis",
        server.url.rpartition("/")[0] + "/99": "has no database 99",
        server.url.replace("redis://", "rediss://"): "does not answer in time",
        f"redis+sentinel://:wrong@{HOST}:{closed}/main": "name no master that can be used",
        "http://:wrong@x": "REDIS_URL is invalid",
    }.items():
        require(url, "reachable", "error", text)
        assert "wrong" not in doctor(url).output.replace("WRONGPASS", "")
    assert "version, " in doctor(url).output.partition("Not checked")[2]
    admin.config_set("maxclients", "1")
    require(server.url, "reachable", "error", "accepts no further connection")


def test_sentinels_lead_to_the_master(server: EmbeddedRedis, admin: "Redis") -> None:
    with FakeSentinel() as sentinel:
        sentinel.master = server
        url = f"redis+sentinel://{HOST}:{sentinel.port}/{MASTER}"
        require(url, "replicas", "warning", "The master has no replica")


def test_certificates_are_judged(server: EmbeddedRedis, admin: "Redis", tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    for context, options, name, text in (
        (authority.issue(HOST), "", "workers", NO_WORKER),
        (authority.issue(HOST, days=5.5), "", "certificate", "expires in 5 days"),
        (authority.issue(HOST, days=-1), "", "reachable", "is not accepted"),
        (authority.issue("other.example"), "", "reachable", "is for another host"),
        (authority.issue("other.example"), "&ssl_check_hostname=false", "certificate", "is not for the host"),
        (authority.issue(HOST), "&ssl_cert_reqs=none", "certificate", "is not verified"),
    ):  # fmt: skip
        severity = {"workers": "note", "certificate": "warning", "reachable": "error"}[name]
        with tls_proxy(server.port, context) as port:
            url = f"rediss://{HOST}:{port}/0?ssl_ca_certs={authority.file}{options}"
            require(url, name, severity, text)
    with tls_proxy(server.port, authority.issue(HOST)) as port:
        require(f"redis://{HOST}:{port}/0", "reachable", "error", "closes the connection")


def test_runs_without_a_worker_and_graphs_that_none_serves(
    server: EmbeddedRedis, admin: "Redis"
) -> None:
    async def announce(redis: Client) -> None:
        graphs = [GraphInfo(graph_id=name, queue="default") for name in ("chat", "old")]
        await assistants.announce(redis, graphs)
        await report_worker(redis, "w1", "default", calls=[keys.STORE, keys.call_queue("chat")])

    on(server.url, announce)
    require(
        server.url,
        "unserved-graphs",
        "warning",
        "No live worker serves graph 'old' (queue 'default')",
    )
    on(server.url, admit)
    gone = WorkerRecord(worker_id="w1", queues=["default"])
    on(server.url, lambda redis: workers.leave(redis, gone, [keys.call_queue("chat")]))
    reported = problems(server.url)
    assert reported["due-runs"][0]["what"] == "Queue 'default' has 1 due run and no worker"
    assert reported["due-runs"][0]["mend"] == "millstream worker --queue default"


def test_lapsed_leases_and_stuck_runs_and_threads(
    server: EmbeddedRedis, admin: "Redis", monkeypatch: pytest.MonkeyPatch
) -> None:
    async def a_lapsed_run(redis: Client) -> None:
        await report_worker(redis, "w1", "default")
        await make_due(redis, (await running(redis)).spec)
        await running(redis)  # a healthy one

    on(server.url, a_lapsed_run)
    require(server.url, "lapsed-leases", "warning", "1 lease of queue 'default' lapsed")
    admin.flushall()

    async def a_stuck_run(redis: Client) -> str:
        await report_worker(redis, "w1", "default")
        healthy, stuck = await admit(redis), await admit(redis)
        await admit(redis, a_spec(healthy.thread_id))
        await redis.zrem(keys.queue("default"), job(stuck))
        return job(stuck)

    stuck_job = on(server.url, a_stuck_run)
    require(server.url, "stuck-runs", "warning", f"1 run can't be reached by a claim: {stuck_job}")
    admin.flushall()

    async def a_stuck_thread(redis: Client) -> str:
        await report_worker(redis, "w1", "default")
        spec = await admit(redis)
        await redis.delete(keys.run(spec.thread_id, spec.run_id))
        for key in (keys.queue("default"), keys.backlog("default")):
            await redis.zrem(key, job(spec))
        await redis.srem(keys.live(), job(spec))  # type: ignore[misc]
        return spec.thread_id

    thread_id = on(server.url, a_stuck_thread)
    require(server.url, "stuck-threads", "warning", thread_id)


def test_keys_of_others_are_named(server: EmbeddedRedis, admin: "Redis") -> None:
    admin.mset({"celery-task-meta-1": "", "cache:1": "", "cache:2": "", "ms:item:1": ""})
    require(server.url, "other-keys", "note", "'cache' (2), 'celery-task-meta-1' (1)")


def test_the_project_and_its_settings_are_checked(
    server: EmbeddedRedis, admin: "Redis", folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = folder / "langgraph.json"
    config.write_text('{"graphs": ')
    require(server.url, "langgraph.json", "error", "is not valid JSON: line 1")
    config.write_text(
        json.dumps(
            {
                "graphs": {"chat": "./chat.py:graph", "gone": "./gone.py:graph"},
                "dependencies": ["./lib"],
                "env": ".env",
                "http": {"mount_prefix": "/agents"},
            }
        )
    )
    (folder / "chat.py").write_text("print('noise')\nimport no_such_module\n")
    monkeypatch.setenv("MILLSTREAM_API_URL", f"http://{HOST}:1/x")
    monkeypatch.setenv("REDIS_URI", "redis://other")
    monkeypatch.setenv("REDIS_URL", "redis://one")
    monkeypatch.setenv("KEEPALIVE_INTERVAL_SECS", "90")
    reported = problems(server.url)
    what = {name: " ".join(p["what"] for p in each) for name, each in reported.items()}
    assert "files that do not exist: ./gone.py" in what["paths"]
    assert "folders that do not exist: ./lib" in what["paths"]
    assert "there is no file .env" in what["env"]
    assert "No module named 'no_such_module'" in what["graphs"]
    assert "there is no file ./gone.py" in what["graphs"]
    assert "does not end with http.mount_prefix (/agents)" in what["api-urls"]
    assert "No API answers at MILLSTREAM_API_URL" in what["api-urls"]
    assert "REDIS_URL and REDIS_URI have different values" in what["settings"]
    assert "KEEPALIVE_INTERVAL_SECS is 90 s" in what["contradictions"]
    monkeypatch.setenv("N_JOBS_PER_WORKER", "many")
    assert "N_JOBS_PER_WORKER='many'" in problems(server.url, "--no-import")["settings"][0]["what"]


def test_a_graph_whose_import_ends_its_process_is_named(
    server: EmbeddedRedis, admin: "Redis", folder: Path
) -> None:
    (folder / "langgraph.json").write_text('{"graphs": {"chat": "./chat.py:graph"}}')
    (folder / "chat.py").write_text("import os\nprint('last words', flush=True)\nos._exit(7)\n")
    [problem] = problems(server.url)["graphs"]
    assert problem["severity"] == "error"
    assert problem["what"] == "The import of the graphs ended with status 7:\nlast words"


def test_invalid_options_have_exit_status_2(server: EmbeddedRedis) -> None:
    assert doctor(server.url, "--fail-on", "nothing").exit_code == 2
    assert doctor(server.url, "--config", "nowhere.json").exit_code == 2
