"""Facts of a deployment without a problem, and changes that break one thing."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace as replace_struct

from millstream.shared.api_keys.records import ApiKey
from millstream.shared.checks.facts import (
    ApiAnswer,
    Certificate,
    Environment,
    Fact,
    Facts,
    GraphImport,
    GraphState,
    IssuerState,
    KeyRing,
    Latency,
    OtherKeys,
    ProjectState,
    ServerInfo,
    Stuck,
    Target,
)
from millstream.shared.checks.table import Result, judge
from millstream.shared.figures import Backlog, Figures, QueueFigures
from millstream.shared.langgraph_json import ProjectConfig, ProjectFile
from millstream.shared.permissions import DeniedPermissions
from millstream.shared.settings import Settings
from millstream.shared.wire import PROTOCOL, WorkerRecord
from millstream.shared.workers import Worker, WorkerState

INFO: dict[str, Any] = {
    "redis_version": "7.2.4",
    "cluster_enabled": 0,
    "role": "master",
    "connected_slaves": 0,
    "maxmemory_policy": "noeviction",
    "evicted_keys": 0,
    "used_memory": 100 * 1024**2,
    "maxmemory": 1024**3,
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "aof_last_bgrewrite_status": "ok",
    "rdb_last_bgsave_status": "ok",
    "latest_fork_usec": 800,
    "maxclients": 10_000,
    "connected_clients": 30,
    "rejected_connections": 0,
}
CONFIG = {
    "save": "3600 1",
    "timeout": "0",
    "maxclients": "10000",
    "client-output-buffer-limit": "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
    "min-replicas-to-write": "0",
}
TARGET = Target(url="rediss://redis:6379/0", user="ms", is_tls=True, verifies_host=True)
QUEUE = QueueFigures(due=1, running=2, oldest_due_age=0.2, workers=2)
WORKER = WorkerRecord(
    worker_id="w1", version="0.1.0", langgraph="1.0.1", protocol=PROTOCOL, queues=["default"]
)
FIGURES = Figures(
    queues={"default": QUEUE},
    workers=[
        Worker(replace_struct(WORKER, worker_id="w2"), WorkerState.LIVE),
        Worker(WORKER, WorkerState.DRAINING),
        Worker(WorkerRecord(worker_id="w3"), WorkerState.LOST),
    ],
    graphs={},
    waiting=0,
    threads={},
    call_queues={},
    webhooks=Backlog(0, 0.0),
    crons=Backlog(1, 0.4),
    garbage=0,
    memory={},
)


def project_file(content: dict[str, Any] | None = None) -> ProjectFile:
    """Returns a langgraph.json with one graph and further keys."""
    content = {"graphs": {"chat": "./chat.py:graph"}, **(content or {})}
    return ProjectFile(Path("langgraph.json"), content, msgspec.convert(content, ProjectConfig))


NOW_US = 1_800_000_000_000_000


def a_key(name: str, *, expires_in_days: float, rotated_to: str | None = None) -> ApiKey:
    """Returns the record of an API key."""
    return ApiKey(
        key_id="k" * 12,
        digest=b"",
        name=name,
        identity="ann",
        scopes=("read",),
        created_at=NOW_US - 1,
        expires_at=NOW_US + int(expires_in_days * 86_400_000_000),
        rotated_to=rotated_to,
    )


FINE = Facts(
    environment=Fact(Environment(Settings())),
    target=Fact(TARGET),
    failure=Fact(False),
    latency=Fact(Latency((0.0002,) * 49 + (0.02,), 0.1)),
    certificate=Fact(Certificate(90 * 86400.0, "redis", fits_host=True)),
    info=Fact(ServerInfo(INFO)),
    config=Fact(CONFIG),
    slots=Fact(""),
    permissions=Fact(DeniedPermissions()),
    figures=Fact(FIGURES),
    graphs=Fact((GraphState("chat", "default", is_served=True),)),
    lapsed=Fact(()),
    stuck=Fact(Stuck()),
    other_keys=Fact(OtherKeys({}, 500)),
    project=Fact(ProjectState(project_file())),
    graph_import=Fact(GraphImport()),
    api_answers=Fact(
        (ApiAnswer("MILLSTREAM_API_URL", "http://api", status=200, is_millstream=True),)
    ),
    issuer=Fact(IssuerState("https://id.example")),
    api_keys=Fact(
        KeyRing(
            (
                a_key("ci", expires_in_days=30),
                a_key("rotated", expires_in_days=1, rotated_to="c" * 12),
                a_key("past", expires_in_days=-1),
            ),
            NOW_US,
        )
    ),
)


def with_facts(**facts: Any) -> Facts:
    """Returns the fine facts with other values of these."""
    changes: Any = {name: Fact(value) for name, value in facts.items()}
    return replace(FINE, **changes)


def with_info(**values: Any) -> Facts:
    """Returns the fine facts with other fields of INFO."""
    return with_facts(info=ServerInfo(INFO | values))


def with_config(**values: str) -> Facts:
    """Returns the fine facts with other settings of the server; `_` stands for `-`."""
    return with_facts(
        config=CONFIG | {name.replace("_", "-"): value for name, value in values.items()}
    )


def with_target(**values: Any) -> Facts:
    """Returns the fine facts with another REDIS_URL."""
    return with_facts(target=replace(TARGET, **values))


def with_queue(**values: Any) -> Facts:
    """Returns the fine facts with another state of the queue; with `workers=0` there is no worker."""
    workers = FIGURES.workers if values.get("workers", 1) else []
    queues = {"default": replace(QUEUE, **values)}
    return with_facts(figures=replace(FIGURES, queues=queues, workers=workers))


def with_worker(**values: Any) -> Facts:
    """Returns the fine facts with one more live worker of the queue, whose record has these values."""
    worker = Worker(replace_struct(WORKER, worker_id="w4", **values), WorkerState.LIVE)
    queue = replace(QUEUE, workers=QUEUE.workers + 1)
    return with_facts(
        figures=replace(FIGURES, workers=[*FIGURES.workers, worker], queues={"default": queue})
    )


def with_settings(**values: Any) -> Facts:
    """Returns the fine facts with other settings of Millstream."""
    return with_facts(environment=Environment(Settings(**values)))


def not_fine(facts: Facts) -> list[Result]:
    """Returns the results of the checks that are not fine."""
    return [result for result in judge(facts) if result.status != "fine"]
