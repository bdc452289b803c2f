"""Connects the parts of a worker, and lists its services in their order."""

import asyncio
import os
import platform
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

from millstream.shared import assistants, keys, logs, permissions
from millstream.shared.assistants import GraphDirectory
from millstream.shared.checks import at_start
from millstream.shared.errors import SettingError
from millstream.shared.langgraph_json import ProjectFile
from millstream.shared.langgraph_json.config import CheckpointerTtl
from millstream.shared.metrics.loop_lag import watch_loop
from millstream.shared.metrics.metrics import NO_METRICS, Metrics
from millstream.shared.observer import UNOBSERVED, RunObserver, safe
from millstream.shared.permissions import PermissionMonitor, Role
from millstream.shared.redis import UNAVAILABLE, Client, connect, masked
from millstream.shared.sealing import key_ring_of, open_key_ring
from millstream.shared.settings import Settings
from millstream.shared.tracing.tracer import UNTRACED, RunTracer
from millstream.shared.wire import PROTOCOL, GraphInfo, Project, WorkerRecord
from millstream.worker.answers import AnswerContext
from millstream.worker.attempt import WorkerContext
from millstream.worker.background import Service, periodic
from millstream.worker.call_server import CallServer
from millstream.worker.checkpoints.checkpointing import Checkpointing, open_checkpointing
from millstream.worker.dispatch import RunWorker
from millstream.worker.graph_run import GraphContext
from millstream.worker.graphs import GraphRegistry
from millstream.worker.isolation.processes import Processes, command
from millstream.worker.leases.availability import RedisAvailability
from millstream.worker.leases.heartbeat import Heartbeat
from millstream.worker.maintenance import alive_file, crons, expiry, liveness, reaper, sweep
from millstream.worker.maintenance.liveness import Liveness
from millstream.worker.maintenance.rights import CreatorRights
from millstream.worker.publish import Publisher
from millstream.worker.webhooks import deliverer
from millstream.worker.webhooks.client import WebhookClient, open_client
from millstream.worker.webhooks.deliverer import Deliverer

VERSION: Final = version("millstream")
LANGGRAPH: Final = version("langgraph")
SWEEP_SECONDS: Final = 1.0  # between sweeps of checkpoints


@dataclass(frozen=True, slots=True)
class Parts:
    """The open objects that the services of one worker process share."""

    worker_id: str
    registry: GraphRegistry
    settings: Settings
    project: ProjectFile
    redis: Client
    blocking: Client
    """Its connections may wait without a timeout."""
    checkpointing: Checkpointing
    directory: GraphDirectory
    processes: Processes
    webhooks: WebhookClient
    access: PermissionMonitor
    observer: RunObserver
    tracer: RunTracer
    metrics: Metrics


@asynccontextmanager
async def open_parts(
    registry: GraphRegistry,
    settings: Settings,
    project: ProjectFile,
    observer: RunObserver = UNOBSERVED,
    tracer: RunTracer = UNTRACED,
    metrics: Metrics = NO_METRICS,
) -> AsyncIterator[Parts]:
    """Opens the parts of a worker, and closes them in the reverse order.

    Raises SettingError if Redis, the checkpointer or METRICS_PORT can't be used, or a setting contradicts
    langgraph.json.
    """
    config, observer = project.config, safe(observer, metrics.observer)
    worker_id = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    logs.identify(worker_id=worker_id)
    async with AsyncExitStack() as opened:
        if metrics.are_on:
            listener = metrics.serve(settings.metrics_host, settings.metrics_port)
            opened.callback(listener.close)
        opened.push_async_callback(tracer.aclose)
        webhooks = open_client(config.webhooks, settings)
        opened.push_async_callback(webhooks.aclose)
        key_ring = open_key_ring(settings)
        redis = connect(settings.redis_url, on_reply=metrics.on_reply, key_ring=key_ring)
        opened.push_async_callback(redis.aclose)
        # It does not repeat calls, so that the worker notices each outage, in which leases may have lapsed.
        blocking = connect(settings.redis_url, reply_timeout=None, repeats=0, key_ring=key_ring)
        opened.push_async_callback(blocking.aclose)
        try:
            await at_start.require(redis)
            await permissions.require(redis, Role.WORKER)
        except UNAVAILABLE as error:
            raise SettingError(
                f"Redis can't be reached at {masked(settings.redis_url)}: {error}"
            ) from None
        checkpointing = await opened.enter_async_context(
            open_checkpointing(redis, settings, config.checkpointer, project.folder, observer)
        )
        registry.store.connect(redis)
        opened.push_async_callback(registry.store.aclose)
        processes = Processes(
            command(project.path, worker_id), max_processes=settings.isolated_processes
        )
        opened.push_async_callback(processes.aclose)
        yield Parts(
            worker_id=worker_id,
            registry=registry,
            settings=settings,
            project=project,
            redis=redis,
            blocking=blocking,
            checkpointing=checkpointing,
            directory=GraphDirectory(redis),
            processes=processes,
            webhooks=webhooks,
            access=PermissionMonitor(redis, Role.WORKER),
            observer=observer,
            tracer=tracer,
            metrics=metrics,
        )


def worker_record(parts: Parts) -> WorkerRecord:
    """Returns the part of the worker's record that never changes."""
    return WorkerRecord(
        worker_id=parts.worker_id,
        host=socket.gethostname(),
        pid=os.getpid(),
        version=VERSION,
        python=platform.python_version(),
        langgraph=LANGGRAPH,
        protocol=PROTOCOL,
        queues=list(parts.settings.queues),
        graphs=parts.registry.graph_ids,
        slots=parts.settings.jobs_per_worker,
        encryption_keys=key_ring_of(parts.redis).fingerprints,
    )


def call_queues(parts: Parts) -> list[str]:
    """Returns the keys of the worker's call queues: the store's, and one for each graph."""
    return [keys.STORE, *map(keys.call_queue, parts.registry.graph_ids)]


def liveness_reports(parts: Parts) -> Liveness:
    """Returns the reports of the worker, before the first one."""
    declared = {source.graph_id: source.queue for source in parts.registry.sources}
    return Liveness(parts.redis, worker_record(parts), call_queues(parts), declared, parts.access)


async def announce(parts: Parts) -> None:
    """Announces the graphs that this worker serves, and its project's settings for threads and webhooks."""
    routes = parts.registry.routes(parts.settings.queues[0])
    graphs = [
        GraphInfo(
            graph_id=source.graph_id,
            queue=routes[source.graph_id],
            description=source.description,
        )
        for source in parts.registry.sources
    ]
    ttl = parts.project.config.checkpointer.ttl or CheckpointerTtl()
    project = Project(
        thread_ttl=ttl.default_ttl,
        thread_ttl_strategy=ttl.strategy,
        webhooks=parts.webhooks.policy,
        external=parts.checkpointing.is_external,
    )
    await assistants.announce(parts.redis, graphs, project)


def services(parts: Parts, reports: Liveness, hurry: asyncio.Event) -> list[Service]:
    """Returns the services of a worker in the order of their starts. They stop in the reverse order.

    So the dispatch drains first. While the last runs end or are handed back, the other services still renew leases,
    publish events and call webhooks.

    Args:
        reports: has reported once, so that APIs know the worker when it is ready.
        hurry: ends the grace period of the dispatch's drain.
    """
    redis, settings, checkpointing = parts.redis, parts.settings, parts.checkpointing
    policy = settings.lease_policy
    availability = RedisAvailability(policy, parts.observer)
    heartbeat = Heartbeat(settings.redis_url, parts.worker_id, availability, policy, parts.observer)
    publisher = Publisher(
        redis,
        max_events=settings.stream_max_events,
        max_event=settings.max_event,
        observer=parts.observer,
    )
    graphs = GraphContext(redis, parts.registry, checkpointing, publisher, settings.job_timeout)
    context = WorkerContext(
        redis,
        graphs,
        parts.processes,
        heartbeat,
        availability,
        settings,
        parts.observer,
        parts.tracer,
    )
    dispatch = RunWorker(redis, parts.blocking, parts.worker_id, context, settings, parts.access)
    answers = AnswerContext(redis, parts.registry, checkpointing, settings, parts.directory)
    calls = CallServer(redis, parts.blocking, answers, call_queues(parts))
    deliveries = Deliverer(redis, parts.webhooks, settings, parts.tracer, parts.observer)
    reports.follow(dispatch.activity)

    async def keep_leases() -> None:
        heartbeat.start()
        await heartbeat.watch()

    async def close_heartbeat() -> None:
        heartbeat.stop()

    async def drain() -> None:
        # The first step of both: operators see the drain from its begin on.
        await asyncio.gather(dispatch.drain(hurry), reports.report_drain())

    watches = [Service("event loop", partial(watch_loop, parts.observer))]
    return [
        # First, so that it also works while the others drain.
        *([alive_file.service(Path(settings.alive_file))] if settings.alive_file else []),
        *(watches if parts.metrics.are_on else ()),
        Service("publisher", publisher.start, aclose=publisher.stop),
        Service("heartbeat", keep_leases, aclose=close_heartbeat),
        Service("permissions", parts.access.watch),
        periodic("webhooks", deliverer.EVERY, deliveries.run_once, drain=deliveries.drain),
        *maintenance(parts),
        Service("calls", calls.run),
        # Behind the calls, so that APIs send none to a worker that reads no calls any more.
        periodic("liveness", liveness.EVERY, reports.run_once, aclose=reports.leave),
        Service("dispatch", dispatch.serve, drain=drain),
    ]


def maintenance(parts: Parts) -> list[Service]:
    """Returns the services that maintain Redis. Each of them works for all workers."""
    redis, settings, checkpointing = parts.redis, parts.settings, parts.checkpointing
    sweep_every, max_threads = expiry.EVERY, expiry.MAX_THREADS
    if (ttl := parts.project.config.checkpointer.ttl) is not None:
        sweep_every, max_threads = 60 * ttl.sweep_interval_minutes, ttl.sweep_limit
    expire = partial(
        expiry.run_once, redis, checkpointing, every=sweep_every, max_threads=max_threads
    )
    rights = CreatorRights(
        parts.project.path, settings, has_handlers=parts.project.config.auth is not None
    )
    fire = partial(
        crons.run_once,
        redis,
        parts.directory,
        settings,
        parts.tracer,
        parts.observer,
        authorizer=rights,
    )
    return [
        periodic("sweep", SWEEP_SECONDS, partial(sweep.run_once, redis, checkpointing)),
        periodic(
            "reaper", settings.lease_policy.reap_every, partial(reaper.run_once, redis, settings)
        ),
        # A new worker must soon check whether a sweep is due, however long the interval is.
        periodic("expiry", min(sweep_every, expiry.EVERY), expire),
        periodic("crons", crons.EVERY, fire, aclose=rights.aclose),
    ]
