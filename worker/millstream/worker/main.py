"""A worker process: loads the graphs, connects, announces itself, and works until a signal stops it."""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from millstream.shared import logs
from millstream.shared.errors import SettingError
from millstream.shared.langgraph_json import ProjectFile, read_project
from millstream.shared.metrics.metrics import Metrics, open_worker_metrics
from millstream.shared.setting import ON
from millstream.shared.settings import Settings
from millstream.shared.tracing.tracer import RunTracer, open_tracer
from millstream.worker import client_errors, event_loop, graphs, wiring
from millstream.worker.background import ServiceEndedError, Services
from millstream.worker.maintenance import alive_file
from millstream.worker.node_threads import node_threads
from millstream.worker.wiring import Parts


def main() -> None:
    """Reads the arguments and works. Exits with status 1 and a sentence if the worker can't start or continue."""
    parser = argparse.ArgumentParser(prog="millstream worker")
    parser.add_argument("--config", type=Path, default=Path("langgraph.json"))
    parser.add_argument("--queue", action="append", default=[])
    parser.add_argument("--declared", action="store_true", help="Also serve declared queues.")
    arguments = parser.parse_args()
    try:
        # Before the graphs, whose imports may take minutes.
        if path := Settings.from_env().alive_file:
            alive_file.clear(Path(path))
        logs.configure("worker", logs.early_settings())
        registry = graphs.load(arguments.config)
        settings = Settings.from_env()
        declared = registry.declared_queues if arguments.declared else []
        names = [*(arguments.queue or settings.queues), *declared]
        settings = replace(settings, queue=",".join(names))
        client_errors.mask_errors(is_on=settings.mask_errors in ON)
        project = read_project(arguments.config)
        tracer = open_tracer(settings, graphs=True)
        metrics = open_worker_metrics(settings, registry.routes(settings.queues[0]))
        logs.configure("worker", settings, traceparent=tracer.traceparent)
        logging.getLogger("arq").setLevel(logging.WARNING)
        working = work(registry, settings, project, tracer, metrics)
        event_loop.run(working, settings.worker_loop)
    except (SettingError, ServiceEndedError) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)


async def work(
    registry: graphs.GraphRegistry,
    settings: Settings,
    project: ProjectFile,
    tracer: RunTracer,
    metrics: Metrics,
) -> None:
    """Works until SIGTERM or SIGINT, then drains. A second signal ends the grace period of the drain.

    Raises:
        SettingError: Redis, the checkpointer or METRICS_PORT can't be used.
        ServiceEndedError: a service of the worker has ended.
    """
    # A node that does not stop occupies its thread, so there are more threads than runs.
    async with (
        node_threads(max(32, 4 * settings.jobs_per_worker)),
        wiring.open_parts(registry, settings, project, tracer=tracer, metrics=metrics) as parts,
    ):
        reports = wiring.liveness_reports(parts)
        await wiring.announce(parts)
        await reports.run_once()
        stop, hurry = _signals()
        async with Services(wiring.services(parts, reports, hurry)) as services:
            _write_ready(parts)
            async with _warm_up(parts):
                await services.until(stop)


def _signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Returns the event that the first signal sets, and the one that each further signal sets."""
    stop, hurry = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    return stop, hurry


def _write_ready(parts: Parts) -> None:
    """Writes one line to stdout for the process that started this one."""
    ready = {
        "graphs": parts.registry.graph_ids,
        "queues": parts.settings.queues,
        "jobs": parts.settings.jobs_per_worker,
        "pid": os.getpid(),
    }
    sys.stdout.write(f"millstream-ready {json.dumps(ready)}\n")
    sys.stdout.flush()


@asynccontextmanager
async def _warm_up(parts: Parts) -> AsyncIterator[None]:
    """Opens the store and a child process in the background, so that the first run need not wait for them."""
    tasks = [asyncio.create_task(parts.registry.store.warm_up())]
    if any(source.isolated for source in parts.registry.sources):
        tasks.append(asyncio.create_task(parts.processes.warm_up()))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
