"""`millstream runs`: lists, explains and cancels runs, directly in Redis."""

import json
from datetime import datetime
from typing import Any, Final

import click
from rich.text import Text

from millstream.cli.errors import SetupError
from millstream.cli.redis_access import in_redis
from millstream.cli.tables import new_table, plain, terminal
from millstream.shared import runs
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import TERMINAL, RunStatus
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.runs import RunRecord
from millstream.shared.runs.explain import explanation_to_json
from millstream.shared.runs.json_view import iso_time
from millstream.shared.runs.lookup import find_thread, list_live
from millstream.shared.runs.situation import Situation, read_situation

WIDTH: Final = 32  # characters of the timeline
ONGOING: Final = "runs"  # the outcome of an attempt that has not ended


def list_runs(url: str, *, status: RunStatus | None, limit: int, as_json: bool) -> int:
    """Prints runs that have not ended; returns the exit status."""
    records, total = in_redis(url, lambda redis: list_live(redis, status=status, limit=limit))
    rows = [_row(record) for record in records]
    if as_json:
        click.echo(json.dumps({"runs": rows, "live": total}, indent=2, ensure_ascii=False))
        return 0
    console, table = terminal(), new_table(*(name.removesuffix("_id") for name in _NAMES))
    for row in rows:
        table.add_row(*(plain(row[name]) for name in _NAMES))
    console.print(table)
    console.print(f"{len(rows)} of {total} runs that have not ended", style="dim")
    return 0


_NAMES: Final = ("run_id", "thread_id", "graph_id", "queue", "status", "attempt", "created_at")


def _row(record: RunRecord) -> dict[str, Any]:
    spec = record.spec
    return {
        "run_id": spec.run_id,
        "thread_id": spec.thread_id,
        "graph_id": spec.graph_id,
        "queue": spec.queue,
        "status": record.status.value,
        "attempt": record.attempt,
        "created_at": iso_time(record.created_at),
    }


def explain(url: str, run: str, *, thread_id: str | None, as_json: bool) -> int:
    """Prints why a run does not move, and its attempts; returns the exit status."""

    async def read(redis: Client) -> Situation | None:
        ids = await _ids(redis, run, thread_id)
        return await read_situation(redis, *ids) if ids else None

    situation = in_redis(url, read)
    if situation is None:
        raise _unknown(run)
    view = explanation_to_json(situation)
    if as_json:
        click.echo(json.dumps(view, indent=2, ensure_ascii=False))
        return 0
    console = terminal()
    console.print(plain(f"Run {view['run_id']} on thread {view['thread_id']}: {view['status']}"))
    console.print(Text(f"\n{view['reason']}", style="bold"))
    console.print(plain(f"  {view['message']}"))
    console.print(plain(f"  {view['next_step']}"))
    if view["attempts"]:
        console.print(Text("\nattempts", style="bold"))
        if not view["complete"]:
            console.print(Text("the oldest ones are not known any more", style="dim"))
        table = new_table("", "claimed", "waited", "", "outcome", "worker")
        for attempt, bar in zip(view["attempts"], _bars(view), strict=True):
            outcome = attempt["outcome"] or ONGOING
            detail = f" ({attempt['detail']})" if attempt["detail"] else ""
            table.add_row(
                str(attempt["attempt"]),
                attempt["claimed_at"][:19],
                f"{attempt['waited_seconds']:g}s",
                Text(bar, style="cyan"),
                plain(outcome + detail),
                plain(attempt["worker_id"]),
            )
        console.print(table)
    return 0


def cancel(
    url: str, run: str, *, thread_id: str | None, action: CancelAction, stream_ttl: int
) -> int:
    """Requests the cancel of a run; returns the exit status."""

    async def act(redis: Client) -> RunStatus | None:
        ids = await _ids(redis, run, thread_id)
        if ids is None:
            return None
        return await runs.cancel(redis, *ids, action=action, stream_ttl=stream_ttl)

    status = in_redis(url, act)
    if status is None:
        raise _unknown(run)
    if status in TERMINAL:
        click.echo(f"The run had ended as {status}; nothing changed.")
    elif status is RunStatus.RUNNING:
        click.echo(f"A cancel ({action}) is requested; the run's worker ends it.")
    else:
        click.echo(f"The run is cancelled ({action}).")
    return 0


async def _ids(redis: Client, run: str, thread_id: str | None) -> tuple[str, str] | None:
    """Returns thread id and run id of a run, which may be given as `thread/run`."""
    thread, slash, run_id = run.rpartition("/")
    if slash:
        return thread, run_id
    thread_id = thread_id or await find_thread(redis, run_id)
    return None if thread_id is None else (thread_id, run_id)


def _unknown(run: str) -> SetupError:
    return SetupError(
        f"Run {run!r} is unknown. If it has ended and stored no checkpoint, give its thread: --thread ID."
    )


def _bars(view: dict[str, Any]) -> list[str]:
    """Returns a bar for each attempt, on one time axis: `·` waits for a worker, `█` is held by it."""
    attempts = view["attempts"]
    now = _seconds(view["at"])
    spans = [
        (
            _seconds(each["claimed_at"]) - each["waited_seconds"],
            _seconds(each["claimed_at"]),
            _seconds(each["ended_at"]) if each["ended_at"] else now,
        )
        for each in attempts
    ]
    begin, end = min(span[0] for span in spans), max(span[2] for span in spans)
    scale = WIDTH / (end - begin) if end > begin else 0.0

    def column(time: float) -> int:
        return int((time - begin) * scale)

    bars = []
    for due, claimed, ended in spans:
        held = max(1, column(ended) - column(claimed))
        bar = " " * column(due) + "·" * (column(claimed) - column(due)) + "█" * held
        bars.append(bar.ljust(WIDTH))
    return bars


def _seconds(iso: str) -> float:
    return datetime.fromisoformat(iso).timestamp()
