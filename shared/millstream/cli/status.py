"""`millstream status`: queues, workers, and the runs that run long or do not move, directly from Redis."""

import asyncio
import json
import sys
from contextlib import suppress
from typing import Any, Final

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from millstream.cli.redis_access import in_redis
from millstream.cli.tables import age, new_table, plain, terminal
from millstream.shared.figures import read_figures
from millstream.shared.queue import redis_time
from millstream.shared.queue_views import queue_views
from millstream.shared.redis import OUTAGE_ERRORS, Client
from millstream.shared.runs.explain import explanation_to_json
from millstream.shared.runs.json_view import iso_time
from millstream.shared.runs.lookup import find_stuck
from millstream.shared.worker_views import worker_view
from millstream.shared.workers import WorkerState

EVERY: Final = 2.0  # s between two reads of the live table
MAX_RUNS: Final = 10  # of each kind that the table has
STYLES: Final = {"live": "green", "draining": "yellow", "lost": "bold red"}
Status = dict[str, Any]


def run(url: str, *, once: bool, as_json: bool) -> int:
    """Prints the status, in a terminal again and again until Ctrl-C.

    Returns the exit status: 1 if a worker is lost, or runs do not move.
    """
    if once or as_json or not sys.stdout.isatty():
        status = in_redis(url, read_status)
        if as_json:
            click.echo(json.dumps(status, indent=2, ensure_ascii=False))
        else:
            terminal().print(render(status))
        return int(is_wrong(status))
    with suppress(KeyboardInterrupt):
        in_redis(url, _watch)
    return 0


async def _watch(redis: Client) -> None:
    status = await read_status(redis)
    with Live(render(status), console=terminal(), auto_refresh=False, screen=True) as live:
        while True:
            await asyncio.sleep(EVERY)
            try:
                status, problem = await read_status(redis), ""
            except OUTAGE_ERRORS as error:
                problem = f"Redis can't be read: {error}"
            live.update(Group(plain(problem, style="bold red"), render(status)), refresh=True)


async def read_status(redis: Client) -> Status:
    """Returns everything that the command prints, with a bound on the runs."""
    figures = await read_figures(redis)
    stuck = await find_stuck(redis, sorted(figures.queues), limit=MAX_RUNS)
    return {
        "at": iso_time(int(await redis_time(redis) * 1_000_000)),
        "waiting": figures.waiting,
        "slots": figures.total.slots,
        "busy_slots": figures.total.busy_slots,
        "queues": queue_views(figures),
        "workers": [worker_view(worker) for worker in figures.workers],
        "stuck": [explanation_to_json(situation) for situation in stuck],
    }


def is_wrong(status: Status) -> bool:
    """Returns whether a worker is lost or runs do not move, beside those of a paused queue."""
    stuck = [run for run in status["stuck"] if run["reason"] != "queue_paused"]
    return bool(stuck) or any(each["state"] == WorkerState.LOST for each in status["workers"])


def render(status: Status) -> RenderableType:
    """Returns the status as tables."""
    parts: list[RenderableType] = [
        plain(
            f"{status['at'][:19]} UTC   {status['busy_slots']} of {status['slots']} slots busy   "
            f"{status['waiting']} runs wait for their thread",
            style="bold",
        )
    ]
    for title, table in (
        ("queues", _queues(status["queues"])),
        ("workers", _workers(status["workers"])),
        ("longest running", _running(status)),
        ("do not move", _stuck(status["stuck"])),
    ):
        parts += [Text(f"\n{title}", style="bold cyan"), table or Text("none", style="dim")]
    return Group(*parts)


def _queues(queues: list[dict[str, Any]]) -> RenderableType | None:
    table = new_table("queue", "due", "oldest", "deferred", "running", "unserved", "workers", "")
    for queue in queues:
        table.add_row(
            plain(queue["name"]),
            str(queue["due"]),
            age(queue["oldest_due_age_seconds"]),
            *(str(queue[name]) for name in ("deferred", "running", "unserved", "workers")),
            plain("paused" if queue["paused"] else "", style="yellow"),
        )
    return table if queues else None


def _workers(workers: list[dict[str, Any]]) -> RenderableType | None:
    table = new_table("worker", "state", "host", "pid", "version", "queues", "slots", "graphs")
    for worker in workers:
        graphs = worker["graphs"]
        more = f" and {len(graphs) - 3} more" if len(graphs) > 3 else ""
        table.add_row(
            plain(worker["worker_id"]),
            plain(worker["state"], style=STYLES.get(worker["state"], "")),
            plain(worker["host"]),
            str(worker["pid"]),
            plain(worker["version"]),
            plain(", ".join(worker["queues"])),
            f"{len(worker['runs'])}/{worker['slots']}",
            plain(", ".join(graphs[:3]) + more),
        )
    return table if workers else None


def _running(status: Status) -> RenderableType | None:
    runs = [
        {**slot, "worker_id": worker["worker_id"]}
        for worker in status["workers"]
        for slot in worker["runs"]
    ]
    table = new_table("run", "thread", "graph", "attempt", "since", "worker")
    for slot in sorted(runs, key=lambda each: str(each["since"]))[:MAX_RUNS]:
        table.add_row(
            plain(slot["run_id"]),
            plain(slot["thread_id"]),
            plain(slot["graph_id"]),
            str(slot["attempt"]),
            slot["since"][:19],
            plain(slot["worker_id"]),
        )
    return table if runs else None


def _stuck(stuck: list[dict[str, Any]]) -> RenderableType | None:
    table = new_table("run", "thread", "reason", "")
    for each in stuck:
        table.add_row(
            plain(each["run_id"]),
            plain(each["thread_id"]),
            plain(each["reason"], style="red"),
            plain(each["message"]),
        )
    return table if stuck else None
