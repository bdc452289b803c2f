"""`millstream queues`: lists, pauses and resumes queues, directly in Redis."""

import getpass
import json
import socket
from typing import Any, Final

import click
from rich.text import Text

from millstream.cli.errors import SetupError
from millstream.cli.redis_access import in_redis
from millstream.cli.tables import age, new_table, plain, terminal
from millstream.shared import scripts
from millstream.shared.figures import read_figures
from millstream.shared.queue_views import pause_view, queue_views
from millstream.shared.redis import Client

COLUMNS: Final = (
    "due", "oldest", "deferred", "running", "unserved", "workers",
)  # fmt: skip


def list_queues(url: str, *, as_json: bool) -> int:
    """Prints all queues; returns the exit status: 1 if due runs wait in a queue without a live worker."""
    queues = in_redis(url, _read)
    if as_json:
        click.echo(json.dumps(queues, indent=2, ensure_ascii=False))
    else:
        _print(queues)
    return int(any(_lacks_workers(queue) for queue in queues))


def pause(url: str, name: str, *, reason: str, as_json: bool) -> int:
    """Pauses a queue; returns the exit status."""
    user = _user()
    paused = in_redis(url, lambda redis: scripts.pause_queue(redis, name, by=user, reason=reason))
    if paused is None:
        raise _unknown(name)
    view = pause_view(paused)
    if as_json:
        click.echo(json.dumps({"name": name, "paused": view}, ensure_ascii=False))
    else:
        click.echo(
            f"Queue {name} is {_pause_text(view)}. Its runs wait until: millstream queues resume {name}"
        )
    return 0


def resume(url: str, name: str, *, as_json: bool) -> int:
    """Resumes a queue; returns the exit status."""
    status = in_redis(url, lambda redis: scripts.resume_queue(redis, name))
    if status == "unknown":
        raise _unknown(name)
    if as_json:
        click.echo(json.dumps({"name": name, "paused": None}))
    elif status == "resumed":
        click.echo(f"Queue {name} is resumed.")
    else:
        click.echo(f"Queue {name} was not paused.")
    return 0


async def _read(redis: Client) -> list[dict[str, Any]]:
    return queue_views(await read_figures(redis))


def _unknown(name: str) -> SetupError:
    return SetupError(
        f"Queue {name!r} is unknown: no worker has served it, no langgraph.json declares it, and no run was admitted "
        "to it. `millstream queues` lists the others."
    )


def _user() -> str:
    """Returns the user of this process and its machine, for the record of a pause."""
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (KeyError, OSError):  # a container may have no name for its user
        return socket.gethostname()


def _lacks_workers(queue: dict[str, Any]) -> bool:
    return not queue["paused"] and queue["due"] > 0 and not queue["workers"]


def _print(queues: list[dict[str, Any]]) -> None:
    """Prints a table, for a pipe without colours and with one line for each queue."""
    table = new_table()
    table.add_column("queue", style="bold")
    for name in COLUMNS:
        table.add_column(name, justify="right")
    table.add_column("graphs")
    table.add_column("state")
    for queue in queues:
        table.add_row(
            queue["name"],
            str(queue["due"]),
            age(queue["oldest_due_age_seconds"]),
            str(queue["deferred"]),
            str(queue["running"]),
            str(queue["unserved"]),
            str(queue["workers"]),
            ", ".join(queue["graphs"]),
            _state(queue),
        )
    terminal().print(table)


def _state(queue: dict[str, Any]) -> Text:
    if queue["paused"]:
        return plain(_pause_text(queue["paused"]), style="yellow")
    if _lacks_workers(queue):
        return Text("no live worker on the queue", style="bold red")
    if queue["unserved"]:
        return Text("no worker serves some of its graphs", style="red")
    return Text("")


def _pause_text(view: dict[str, Any] | None) -> str:
    if view is None:
        return ""
    by = f" by {view['by']}" if view["by"] else ""
    reason = f": {view['reason']}" if view["reason"] else ""
    return f"paused since {view['since']}{by}{reason}"
