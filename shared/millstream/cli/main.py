"""The command line of Millstream."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from millstream.cli.key_commands import keys
from millstream.cli.options import as_json as as_json_option
from millstream.cli.options import redis_url as redis_url_option
from millstream.cli.processes import (
    api_command,
    environment,
    find_redis_url,
    is_set,
    operator_redis_url,
    read_settings,
    require_extra,
    worker_command,
)
from millstream.cli.project import read_project
from millstream.shared.langgraph_json import CONFIG
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.rules.queue_names import queue_name_error, split_queue_names

_PORT = click.IntRange(1, 65535)
_CONFIG = click.Path(path_type=Path)

_host = click.option(
    "--host", default="127.0.0.1", show_default=True, help="The address to listen on."
)
_port = click.option(
    "--port", type=_PORT, default=2024, show_default=True, help="The port to listen on."
)


def _read_queues(_: click.Context, parameter: click.Parameter, values: Sequence[str]) -> list[str]:
    names = split_queue_names(values)
    if reason := next(filter(None, map(queue_name_error, names)), ""):
        raise click.BadParameter(reason, param=parameter)
    return list(names)


def _read_queue(_: click.Context, parameter: click.Parameter, name: str) -> str:
    if reason := queue_name_error(name):
        raise click.BadParameter(reason, param=parameter)
    return name


_queues = click.option(
    "--queue",
    "queues",
    multiple=True,
    callback=_read_queues,
    metavar="NAME",
    help="A queue to serve; may be repeated. Wins over MILLSTREAM_QUEUE.",
)
_config = click.option(
    "--config",
    type=_CONFIG,
    default=Path(CONFIG),
    show_default=True,
    help="The project's langgraph.json, or its folder.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="millstream", message="millstream %(version)s")
def main() -> None:
    """Run LangGraph graphs behind an HTTP API, with Redis alone."""


@main.command()
@_config
@_host
@_port
@click.option(
    "--redis-url",
    metavar="URL",
    help="Use this Redis (wins over REDIS_URL). Without either, one is started for you.",
)
@click.option(
    "--reload/--no-reload",
    default=True,
    show_default=True,
    help="Restart the worker when a .py file, langgraph.json or the env file changes.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="How many worker processes to run.",
)
@_queues
def dev(
    config: Path,
    host: str,
    port: int,
    redis_url: str | None,
    reload: bool,
    workers: int,
    queues: list[str],
) -> None:
    """Run everything on this machine: Redis, the API and the workers.

    Works in any folder that has a langgraph.json. Data is kept in .millstream/ beside that
    file. Ctrl-C stops everything. Without --queue and MILLSTREAM_QUEUE, the workers serve all
    queues that langgraph.json names.
    """
    # Imported here, because `api` and `worker` start faster without it.
    from millstream.cli.dev import DevOptions, run

    url = find_redis_url(redis_url, os.environ)
    settings = read_settings(environment(os.environ, url))
    if not queues and is_set("queue", os.environ):
        queues = list(settings.queues)
    options = DevOptions(config, host, port, url, queues, workers, reload)
    sys.exit(run(options, os.environ))


@main.command()
@_host
@_port
@redis_url_option
@click.option(
    "--config",
    type=_CONFIG,
    help="A langgraph.json, or its folder: the API serves what its `http` section says.",
)
def api(host: str, port: int, redis_url: str | None, config: Path | None) -> None:
    """Run one API process: HTTP in, events out. It never runs a graph."""
    require_extra("api")
    file = None if config is None else read_project(config).config
    _become(api_command(host, port, file), redis_url)


@main.command()
@_queues
@_config
@redis_url_option
def worker(queues: list[str], config: Path, redis_url: str | None) -> None:
    """Run one worker process: it takes runs from its queues and executes their graphs."""
    require_extra("worker")
    queues = queues or list(read_settings(os.environ).queues)
    _become(worker_command(read_project(config).config, queues), redis_url)


_queue_name = click.argument("name", callback=_read_queue)


@main.group(invoke_without_command=True)
@redis_url_option
@as_json_option
@click.pass_context
def queues(context: click.Context, redis_url: str | None, as_json: bool) -> None:
    """List all queues; pause or resume one.

    The exit status of the list is 1 if due runs wait in a queue without a live worker.
    """
    from millstream.cli import queues as command

    context.obj = operator_redis_url(redis_url, os.environ)
    if context.invoked_subcommand is None:
        sys.exit(command.list_queues(context.obj, as_json=as_json))


@queues.command("pause")
@_queue_name
@click.option("--reason", default="", help="Why; shown with the queue.")
@as_json_option
@click.pass_obj
def pause_queue(redis_url: str, name: str, reason: str, as_json: bool) -> None:
    """Pause a queue: it gives no run to a worker until it is resumed."""
    from millstream.cli import queues as command

    sys.exit(command.pause(redis_url, name, reason=reason, as_json=as_json))


@queues.command("resume")
@_queue_name
@as_json_option
@click.pass_obj
def resume_queue(redis_url: str, name: str, as_json: bool) -> None:
    """Resume a paused queue."""
    from millstream.cli import queues as command

    sys.exit(command.resume(redis_url, name, as_json=as_json))


@main.command()
@redis_url_option
@click.option("--once", is_flag=True, help="Print the status once, also in a terminal.")
@as_json_option
def status(redis_url: str | None, once: bool, as_json: bool) -> None:
    """Show queues, workers, and the runs that run long or do not move.

    In a terminal the tables are refreshed every 2 s until Ctrl-C. Otherwise the exit status is 1
    if a worker is lost or runs do not move.
    """
    from millstream.cli import status as command

    url = operator_redis_url(redis_url, os.environ)
    sys.exit(command.run(url, once=once, as_json=as_json))


_run = click.argument("run", metavar="RUN")
_thread = click.option(
    "--thread", "thread_id", help="The run's thread; RUN may be thread/run, too."
)


@main.group()
@redis_url_option
@click.pass_context
def runs(context: click.Context, redis_url: str | None) -> None:
    """List runs that have not ended, explain why a run does not move, or cancel it."""
    context.obj = operator_redis_url(redis_url, os.environ)


@runs.command("list")
@click.option("--status", type=click.Choice(["pending", "running"]), help="Only these.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@as_json_option
@click.pass_obj
def list_runs(redis_url: str, status: str | None, limit: int, as_json: bool) -> None:
    """List runs that have not ended."""
    from millstream.cli import runs as command

    which = None if status is None else RunStatus(status)
    sys.exit(command.list_runs(redis_url, status=which, limit=limit, as_json=as_json))


@runs.command("explain")
@_run
@_thread
@as_json_option
@click.pass_obj
def explain_run(redis_url: str, run: str, thread_id: str | None, as_json: bool) -> None:
    """Say why a run does not move, what to do about it, and how its attempts ended."""
    from millstream.cli import runs as command

    sys.exit(command.explain(redis_url, run, thread_id=thread_id, as_json=as_json))


@runs.command("cancel")
@_run
@_thread
@click.option(
    "--action",
    type=click.Choice(["interrupt", "rollback"]),
    default="interrupt",
    show_default=True,
    help="interrupt keeps the run's checkpoints; rollback deletes them and the run.",
)
@click.pass_obj
def cancel_run(redis_url: str, run: str, thread_id: str | None, action: str) -> None:
    """Cancel a run."""
    from millstream.cli import runs as command

    sys.exit(
        command.cancel(
            redis_url,
            run,
            thread_id=thread_id,
            action=CancelAction(action),
            stream_ttl=read_settings(os.environ).stream_ttl,
        )
    )


main.add_command(keys)


@main.command()
@click.option("--redis-url", metavar="URL", help="The Redis to check; wins over REDIS_URL.")
@click.option(
    "--config",
    type=_CONFIG,
    help="The project's langgraph.json, or its folder.  [default: the one of this folder, if any]",
)
@click.option(
    "--import/--no-import",
    "import_graphs",
    default=True,
    show_default=True,
    help="Import the project's graphs, in a process of its own.",
)
@click.option("--json", "as_json", is_flag=True, help="Print all results as JSON.")
@click.option("--all", "show_all", is_flag=True, help="Print what is fine, too.")
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "note"]),
    default="warning",
    show_default=True,
    help="The least severity that makes the exit status 1.",
)
def doctor(
    redis_url: str | None,
    config: Path | None,
    import_graphs: bool,
    as_json: bool,
    show_all: bool,
    fail_on: str,
) -> None:
    """Check Redis, the deployment and the project: what is wrong, and what solves it.

    Changes nothing. The exit status is 0 if all is well, 1 for errors and warnings, 2 for
    invalid options.
    """
    from millstream.cli.doctor import DoctorOptions, run

    options = DoctorOptions(redis_url, config, import_graphs, as_json, show_all, fail_on)
    sys.exit(run(options, os.environ))


@main.command()
@click.option(
    "--role",
    type=click.Choice(["api", "worker", "all"]),
    default="all",
    show_default=True,
    help="The processes that use the Redis user.",
)
@click.option("--user", help="The name of the Redis user.  [default: millstream-ROLE]")
@click.option("--store", is_flag=True, help="Allow the commands of the long-term store, too.")
@click.option("--json", "as_json", is_flag=True, help="Print the rules as JSON.")
def acl(role: str, user: str | None, store: bool, as_json: bool) -> None:
    """Print the command that creates a Redis user with the least permissions.

    Replace PASSWORD in it, and send it to Redis:
    millstream acl --role api | sed "s/PASSWORD/$(cat secret)/" | redis-cli
    """
    from millstream.cli.acl import AclOptions, run
    from millstream.shared.permissions import Role

    chosen = None if role == "all" else Role(role)
    run(AclOptions(chosen, user or f"millstream-{role}", store, as_json))


def _become(command: list[str], redis_url: str | None) -> None:
    """Replaces this process with `command`, so that its supervisor sees one process, not two."""
    environ = environment(os.environ, find_redis_url(redis_url, os.environ))
    read_settings(environ)
    sys.stdout.flush()
    os.execve(command[0], command, environ)
