"""A process that executes isolated runs, one at a time: `python -m millstream.worker.isolation.child`.

A worker starts it, holds the leases of its runs and writes their ends. When the worker dies, this process ends: its
socket closes, and on Linux the kernel sends SIGKILL.
"""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from millstream.shared import logs
from millstream.shared.errors import SettingError
from millstream.shared.langgraph_json import read_project
from millstream.shared.observer import safe
from millstream.shared.redis import connect
from millstream.shared.sealing import open_key_ring
from millstream.shared.setting import ON
from millstream.shared.settings import Settings
from millstream.shared.tracing.context import TraceContext
from millstream.shared.tracing.tracer import RunTracer, open_tracer
from millstream.worker import client_errors, event_loop, graphs
from millstream.worker.checkpoints.checkpointing import open_checkpointing
from millstream.worker.graph_run import GraphContext, GraphRun
from millstream.worker.isolation import messages
from millstream.worker.isolation.messages import Ended, Execute, Ready, Stop
from millstream.worker.isolation.reports import PipeObserver
from millstream.worker.publish import Publisher

log = logging.getLogger("millstream.worker.isolation")


def main() -> None:
    """Loads the project and executes the runs that the worker sends, until the socket closes."""
    parser = argparse.ArgumentParser(prog="millstream.worker.isolation.child")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--worker", required=True, help="id of the worker")
    parser.add_argument("--socket", type=int, required=True)
    arguments = parser.parse_args()
    try:
        logs.configure("isolated", logs.early_settings())
        logs.identify(worker_id=arguments.worker)
        registry = graphs.load(arguments.config)
        settings = Settings.from_env()
        client_errors.mask_errors(is_on=settings.mask_errors in ON)
        connection = socket.socket(fileno=arguments.socket)
        tracer = open_tracer(settings, graphs=True)
        logs.configure("isolated", settings, traceparent=tracer.traceparent)
        event_loop.run(
            _serve(registry, settings, arguments.config, connection, tracer), settings.worker_loop
        )
    except SettingError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)


async def _serve(
    registry: graphs.GraphRegistry,
    settings: Settings,
    config: Path,
    connection: socket.socket,
    tracer: RunTracer,
) -> None:
    # Only the worker stops this process. It ignores a signal from a terminal or from a node.
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, lambda: None)
    threads = ThreadPoolExecutor(32, thread_name_prefix="node")
    asyncio.get_running_loop().set_default_executor(threads)
    redis = connect(settings.redis_url, key_ring=open_key_ring(settings))
    registry.store.connect(redis)
    project = read_project(config)
    reader, writer = await asyncio.open_connection(sock=connection)
    observer = PipeObserver(writer)
    async with open_checkpointing(
        redis, settings, project.config.checkpointer, project.folder, safe(observer)
    ) as checkpointing:
        publisher = Publisher(
            redis,
            max_events=settings.stream_max_events,
            max_event=settings.max_event,
            observer=safe(observer),
        )
        publisher.start()
        context = GraphContext(redis, registry, checkpointing, publisher, settings.job_timeout)
        messages.write(writer, Ready())
        run: GraphRun | None = None
        while True:
            match await messages.read(reader):
                case Execute(claim, attempt, observed):
                    observer.is_enabled = observed
                    run = GraphRun(claim, context)
                    executing = asyncio.create_task(_execute(run, writer, tracer, attempt))
                    executing.add_done_callback(_exit_on_failure)
                case Stop(reason) if run is not None:
                    run.stop(reason)
                case None:
                    os._exit(0)  # the worker has died, so nothing renews the lease


async def _execute(
    run: GraphRun, writer: asyncio.StreamWriter, tracer: RunTracer, attempt: TraceContext
) -> None:
    logs.begin_run(run.claim.spec, attempt=run.claim.attempt)
    with tracer.execution(run.claim, attempt):
        result = await run.run()
    unsent = await run.close()
    messages.write(
        writer,
        Ended(
            result=result,
            reason=run.reason,
            items=unsent.items,
            batches=unsent.batches,
            index=unsent.index,
            refused=unsent.refused,
            is_idle=not run.is_left_behind,
        ),
    )
    await tracer.flush()  # the worker ends an idle process without a word


def _exit_on_failure(task: "asyncio.Task[None]") -> None:
    """Ends the process if Millstream's own code failed. The worker notices the end and does not wait longer."""
    if task.cancelled() or task.exception() is not None:
        log.error("a run could not be executed", exc_info=task.exception() or True)
        os._exit(70)


if __name__ == "__main__":
    main()
