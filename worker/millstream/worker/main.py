"""A worker process: loads the graphs, connects, announces itself, works until it is told to stop."""

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from langgraph.checkpoint.base import BaseCheckpointSaver

from millstream.shared import assistants, keys, permissions, queue
from millstream.shared.errors import SettingError
from millstream.shared.langgraph_json import folder_of
from millstream.shared.permissions import PermissionMonitor
from millstream.shared.redis import (
    UNAVAILABLE,
    WRITES_REJECTED,
    Client,
    OutageLog,
    connect,
    masked,
    server_checks,
)
from millstream.shared.settings import Settings
from millstream.shared.wire import GraphInfo, Project, WebhookPolicy
from millstream.worker import event_loop, graphs, webhooks
from millstream.worker.answers import AnswerContext
from millstream.worker.attempt import WorkerContext
from millstream.worker.call_server import CallServer
from millstream.worker.checkpoints.checkpointing import open_checkpointing
from millstream.worker.checkpoints.saver import FencedSaver
from millstream.worker.dispatch import RunWorker
from millstream.worker.graph_run import GraphContext
from millstream.worker.isolation.processes import Processes, command
from millstream.worker.leases.availability import RedisAvailability
from millstream.worker.leases.heartbeat import Heartbeat
from millstream.worker.maintenance import crons, expiry, reaper, sweep
from millstream.worker.project import CheckpointerConfig, CheckpointerTtl, ConfigFile, read_config
from millstream.worker.publish import Publisher

log = logging.getLogger("millstream.worker")

ALIVE: Final = 2.0  # s between reports that the worker is alive
SWEEP: Final = 1.0  # s between sweeps
IDLE_THREAD: Final = 0.5  # s in which the threads that have nothing to do end


def main() -> None:
    """Reads the arguments and works; exits with 1 and a sentence if it can't start."""
    parser = argparse.ArgumentParser(prog="millstream worker")
    parser.add_argument("--config", type=Path, default=Path("langgraph.json"))
    parser.add_argument("--queue")
    arguments = parser.parse_args()
    try:
        registry = graphs.load(arguments.config)
        settings = Settings.from_env()
        if arguments.queue:
            settings = replace(settings, queue=arguments.queue)
        logging.basicConfig(
            level=settings.log_level, format="%(levelname)-7s %(name)s: %(message)s"
        )
        logging.getLogger("arq").setLevel(logging.WARNING)
        config = read_config(arguments.config)
        event_loop.run(work(registry, settings, config, arguments.config), settings.worker_loop)
    except SettingError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)


async def work(
    registry: graphs.GraphRegistry, settings: Settings, config: ConfigFile, config_file: Path
) -> None:
    """Works until SIGTERM or SIGINT; `config_file` is langgraph.json.

    Raises SettingError if Redis or the checkpointer can't be used.
    """
    kept = config.checkpointer or CheckpointerConfig()
    caller = webhooks.open_caller(config.webhooks, settings)
    worker_id = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    redis = connect(settings.redis_url)
    # Every break is heard of: leases may have lapsed in it that nobody could renew.
    blocking = connect(settings.redis_url, reply_timeout=None, repeats=0)
    try:
        await server_checks.require(redis)
        await permissions.require(redis)
    except UNAVAILABLE as error:
        raise SettingError(
            f"Redis can't be reached at {masked(settings.redis_url)}: {error}"
        ) from None
    registry.store.connect(redis)
    # Nodes that are no coroutines run in its threads. One that is left behind by its run, because it
    # does not stop, keeps its thread: there must be some for others.
    threads = ThreadPoolExecutor(max(32, 4 * settings.jobs_per_worker), thread_name_prefix="node")
    asyncio.get_running_loop().set_default_executor(threads)
    opened = AsyncExitStack()
    checkpointing = await opened.enter_async_context(
        open_checkpointing(redis, settings, kept, folder_of(config_file))
    )
    saver = checkpointing.saver
    publisher = Publisher(
        redis, max_events=settings.stream_max_events, max_event=settings.max_event
    )
    policy = settings.lease_policy
    availability = RedisAvailability(policy)
    heartbeat = Heartbeat(settings.redis_url, worker_id, availability, policy)
    graph_context = GraphContext(redis, registry, checkpointing, publisher, settings.job_timeout)
    processes = Processes(command(config_file), most=settings.isolated_processes)
    context = WorkerContext(redis, graph_context, processes, heartbeat, availability, settings)
    access = PermissionMonitor(redis)
    worker = RunWorker(redis, blocking, worker_id, context, settings, access)

    flushing = publisher.start()
    heartbeat.start()
    await assistants.announce(
        redis, _announcements(registry, settings.queue), _project(kept, saver, caller.policy)
    )
    directory = assistants.GraphDirectory(redis)
    call_queues = [keys.STORE, *map(keys.call_queue, registry.graph_ids)]
    await queue.report_alive(redis, call_queues, worker_id, ttl=3 * ALIVE)
    stop, hurry = asyncio.Event(), asyncio.Event()

    def told() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told)
    lanes = [
        asyncio.create_task(
            CallServer(
                redis,
                blocking,
                AnswerContext(redis, registry, saver, settings, directory),
                call_queues,
            ).run()
        ),
        asyncio.create_task(access.watch()),
        asyncio.create_task(_report_alive(redis, call_queues, worker_id, access)),
        asyncio.create_task(_every(SWEEP, lambda: _sweep(redis, saver))),
        asyncio.create_task(_every(policy.reap_every, lambda: reaper.run_once(redis, settings))),
        asyncio.create_task(_expire(redis, kept.ttl, saver)),
    ]
    firing = _every(crons.EVERY, lambda: crons.run_once(redis, directory, settings))
    lanes.append(asyncio.create_task(firing))
    lanes.append(asyncio.create_task(heartbeat.watch()))
    deliverer = webhooks.Deliverer(redis, caller, settings)
    lanes.append(asyncio.create_task(_every(webhooks.EVERY, deliverer.run_once)))
    serving = asyncio.create_task(worker.serve())
    ready = {
        "graphs": [source.graph_id for source in registry.sources],
        "queue": settings.queue,
        "jobs": settings.jobs_per_worker,
        "pid": os.getpid(),
    }
    sys.stdout.write(f"millstream-ready {json.dumps(ready)}\n")
    sys.stdout.flush()
    warming = [asyncio.create_task(registry.store.warm())]
    if any(source.isolated for source in registry.sources):
        warming.append(asyncio.create_task(processes.warm()))
    stopping = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait(
            {stopping, serving, flushing, *lanes}, return_when=asyncio.FIRST_COMPLETED
        )
        if stopping not in done:
            log.error(
                "A part of the worker ended, which it never should; so the worker ends: %s", done
            )
            raise SettingError("The worker stopped by itself; see its log.")
    finally:
        stopping.cancel()
        for task in warming:
            task.cancel()
        await worker.drain(hurry)
        for lane in lanes:
            lane.cancel()
        await asyncio.gather(serving, *lanes, *warming, return_exceptions=True)
        await deliverer.drain()
        await caller.aclose()
        heartbeat.stop()
        await processes.aclose()
        await publisher.stop()
        await registry.store.aclose()
        await _leave(redis, call_queues, worker_id)
        await opened.aclose()
        await blocking.aclose()
        await redis.aclose()
        threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.sleep(0)
        left = [t for t in threading.enumerate() if t.name.startswith("node_")]
        for thread in left:
            thread.join(timeout=IDLE_THREAD / len(left))
        if any(thread.is_alive() for thread in left):
            log.warning(
                "A node of a run that was stopped is still executed in a thread, which can't be ended: the "
                "worker ends with it."
            )
            logging.shutdown()
            os._exit(0)


def _announcements(registry: graphs.GraphRegistry, queue_name: str) -> list[GraphInfo]:
    return [
        GraphInfo(graph_id=source.graph_id, queue=queue_name, description=source.description)
        for source in registry.sources
    ]


def _project(
    kept: CheckpointerConfig, saver: BaseCheckpointSaver[Any], policy: WebhookPolicy
) -> Project:
    ttl = kept.ttl or CheckpointerTtl()
    return Project(
        thread_ttl=ttl.default_ttl,
        thread_ttl_strategy=ttl.strategy,
        webhooks=policy,
        foreign=not isinstance(saver, FencedSaver),
    )


async def _report_alive(
    redis: Client, lanes: list[str], worker_id: str, access: PermissionMonitor
) -> None:
    async def report() -> None:
        if access.denied:  # it takes no runs: nobody shall count on it
            await queue.report_gone(redis, lanes, worker_id)
        else:
            await queue.report_alive(redis, lanes, worker_id, ttl=3 * ALIVE)

    await _every(ALIVE, report)


async def _sweep(redis: Client, saver: BaseCheckpointSaver[Any]) -> None:
    while await sweep.run_once(redis, saver) == sweep.BATCH:
        pass  # a full batch: there may be more


async def _expire(
    redis: Client, ttl: CheckpointerTtl | None, saver: BaseCheckpointSaver[Any]
) -> None:
    every, most = expiry.EVERY, expiry.MOST
    if ttl is not None:
        every, most = 60 * ttl.sweep_interval_minutes, ttl.sweep_limit
    # A worker that was just started must not wait for long to see whether a turn is due.
    await _every(
        min(every, expiry.EVERY), lambda: expiry.run_once(redis, saver, every=every, most=most)
    )


async def _every(seconds: float, service: Callable[[], Awaitable[object]]) -> None:
    """Runs a service again and again; what it raises is logged, and it is tried again."""
    outages = OutageLog(log, "A service beside the runs")
    while True:
        await asyncio.sleep(seconds)
        try:
            await service()
            outages.recovered()
        except Exception as error:  # noqa: BLE001 - it is logged
            outages.failed(error)


async def _leave(redis: Client, lanes: list[str], worker_id: str) -> None:
    try:
        await queue.report_gone(redis, lanes, worker_id)
    except (*UNAVAILABLE, *WRITES_REJECTED) as error:
        log.warning(
            "Redis is away, so this worker can't say that it ends; it counts as alive a little longer: %s",
            error,
        )
