"""All assistants: the default assistant of each graph that workers announced, and those with a record."""

import time
import uuid
from dataclasses import dataclass
from typing import Final

import msgspec

from millstream.shared import keys
from millstream.shared.assistants import records as assistant_records
from millstream.shared.assistants.records import AssistantRecord
from millstream.shared.errors import InvalidError, NotFoundError, UnavailableError
from millstream.shared.redis import Client
from millstream.shared.wire import (
    Assistant,
    GraphInfo,
    Project,
    pack,
    unpack_graph,
    unpack_project,
)

# Every server of this API derives the ids of default assistants from this namespace.
NAMESPACE: Final = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
CACHE_SECONDS: Final = 1.0  # until the announcements are read again
UNSERVED_SECONDS: Final = (
    60.0  # without a live worker that serves a graph, until it counts as removed
)
SYSTEM: Final = b'{"created_by":"system"}'  # the metadata of default assistants


def default_assistant_id(graph_id: str) -> str:
    """Returns the id of a graph's default assistant, the same on every server of this API."""
    return str(uuid.uuid5(NAMESPACE, graph_id))


async def announce(redis: Client, graphs: list[GraphInfo], project: Project | None = None) -> None:
    """Stores which graphs a worker serves, and what else the API needs of its project.

    A graph keeps the time of its first announcement. The latest project replaces the earlier one.
    """
    if project is not None:
        await redis.set(keys.project(), pack(project))
    known = {info.graph_id: info for info in await list_graphs(redis)}
    now = time.time_ns() // 1000
    fields = {}
    for info in graphs:
        before = known.get(info.graph_id)
        stamped = GraphInfo(
            graph_id=info.graph_id,
            queue=info.queue,
            description=info.description,
            announced_at=before.announced_at if before else now,
            renewed_at=now,
        )
        fields[info.graph_id] = pack(stamped)
    if fields:
        await redis.hset(keys.graphs(), mapping=fields)  # type: ignore[misc]


async def list_graphs(redis: Client) -> list[GraphInfo]:
    """Returns every announced graph with the queue that it is routed to, oldest first."""
    pipe = redis.pipeline(transaction=False)
    pipe.hvals(keys.graphs())
    pipe.hgetall(keys.routes())
    values, routes = await pipe.execute()
    graphs = sorted(map(unpack_graph, values), key=lambda info: (info.announced_at, info.graph_id))
    return [_routed(info, routes.get(info.graph_id.encode())) for info in graphs]


def _routed(info: GraphInfo, route: bytes | None) -> GraphInfo:
    """Returns the graph with its queue. Workers of an earlier version announced no route."""
    return info if route is None else msgspec.structs.replace(info, queue=route.decode())


def default_assistant(info: GraphInfo) -> AssistantRecord:
    """Returns the default assistant of a graph, as long as no client has changed it."""
    assistant = Assistant(
        assistant_id=default_assistant_id(info.graph_id),
        graph_id=info.graph_id,
        name=info.graph_id,
        description=info.description,
        metadata=SYSTEM,
    )
    return AssistantRecord(assistant, 1, info.announced_at, info.announced_at)


@dataclass(frozen=True, slots=True)
class Resolved:
    """An assistant and its graph, from which a run is created."""

    record: AssistantRecord
    graph: GraphInfo
    # False: the queue that the graph is routed to has live workers, but no worker has served the graph for
    # `UNSERVED_SECONDS`
    served: bool = True

    @property
    def assistant(self) -> Assistant:
        """The current version."""
        return self.record.assistant

    def require_served(self) -> "Resolved":
        """Returns itself; raises UnavailableError if no worker of the deployment serves the graph any more."""
        if self.served:
            return self
        raise UnavailableError(
            f"Graph {self.graph.graph_id!r} of assistant {self.assistant.assistant_id} is not served "
            "any more: workers are running, and none of them has it. Deploy it again, or use another "
            "assistant.",
            retry_after=30,
        )


class GraphDirectory:
    """The announced graphs, cached by one process. It reads them again when the cache is old or lacks a graph."""

    def __init__(self, redis: Client) -> None:
        """Reads nothing yet."""
        self._redis = redis
        self._by_name: dict[str, GraphInfo] = {}
        self._changed: set[str] = set()  # ids of default assistants that have a record
        self._unserved_graphs: set[str] = set()  # names of graphs
        self._project = Project()
        self._read_at = float("-inf")

    async def all(self) -> list[GraphInfo]:
        """Returns every announced graph with the queue that it is routed to, oldest first."""
        graphs = await list_graphs(self._redis)
        names = [info.graph_id for info in graphs]
        queues = sorted({info.queue for info in graphs})
        pipe = self._redis.pipeline(transaction=False)
        pipe.get(keys.project())
        pipe.time()
        for name in names:
            pipe.exists(keys.assistant(default_assistant_id(name)))
        for key in [*map(keys.queue_workers, queues), *map(_workers_of, names)]:
            pipe.zrange(key, -1, -1, withscores=True)
        announced, (seconds, _), *replies = await pipe.execute()
        exist, newest = replies[: len(names)], replies[len(names) :]
        self._project = unpack_project(announced) if announced else Project()
        self._by_name = {}
        for info in graphs:
            self._by_name[info.graph_id] = info
            self._by_name[default_assistant_id(info.graph_id)] = info
        self._changed = {
            default_assistant_id(name)
            for name, has_record in zip(names, exist, strict=True)
            if has_record
        }
        expiries = [scores[0][1] if scores else None for scores in newest]
        live_queues = {
            name
            for name, lost_at in zip(queues, expiries, strict=False)
            if lost_at is not None and lost_at > seconds
        }
        served_until = dict(zip(names, expiries[len(queues) :], strict=True))
        self._unserved_graphs = {
            info.graph_id
            for info in graphs
            if info.queue in live_queues
            and (until := served_until[info.graph_id]) is not None
            and until < seconds - UNSERVED_SECONDS
        }
        self._read_at = time.monotonic()
        return graphs

    async def project(self) -> Project:
        """Returns what the workers announced beside their graphs."""
        await self._refresh()
        return self._project

    async def assistants(self) -> list[AssistantRecord]:
        """Returns every assistant: the default ones, and those with a record."""
        graphs = await self.all()
        records = await assistant_records.read_all(self._redis)
        known = {record.assistant.assistant_id for record in records}
        defaults = map(default_assistant, graphs)
        return [each for each in defaults if each.assistant.assistant_id not in known] + records

    async def default_ids(self) -> set[str]:
        """Returns the ids of the default assistants."""
        return {default_assistant_id(info.graph_id) for info in await self.all()}

    def forget(self) -> None:
        """Invalidates the cache, after a record was written."""
        self._read_at = float("-inf")

    async def graph(self, graph_id: str) -> GraphInfo:
        """Returns the announced graph of that name; raises InvalidError, which lists the announced graphs."""
        info = self._by_name.get(graph_id)
        if info is None or info.graph_id != graph_id or self._stale():
            await self.all()
            info = self._by_name.get(graph_id)
        if info is None or info.graph_id != graph_id:
            raise InvalidError(f"graph_id: no graph is called {graph_id!r}. {self._graphs()}")
        return info

    async def resolve(self, assistant_id: str) -> Resolved:
        """Returns the assistant with that id, or the default assistant of the graph with that name.

        Raises:
            NotFoundError: it is a UUID, but no assistant has that id.
            InvalidError: it is neither a UUID nor the name of an announced graph.
        """
        if assistant_id not in self._by_name or self._stale():
            await self.all()
        canonical = _canonical(assistant_id)
        info = self._by_name.get(assistant_id) or self._by_name.get(canonical)
        if info is not None:
            return await self._default(info)
        if canonical:
            [record] = await assistant_records.read(self._redis, [canonical])
            if record is None:
                raise NotFoundError("Thread or assistant not found.")
            return self._resolved(record)
        raise InvalidError(
            f"assistant_id: Invalid assistant: {assistant_id!r}. Must be either:\n"
            f"- A valid assistant UUID, or\n- {self._graphs()}"
        )

    async def _default(self, info: GraphInfo) -> Resolved:
        record = default_assistant(info)
        if record.assistant.assistant_id in self._changed:
            [changed] = await assistant_records.read(self._redis, [record.assistant.assistant_id])
            record = changed or record
        return self._resolved(record)

    def _resolved(self, record: AssistantRecord) -> Resolved:
        name = record.assistant.graph_id
        info = self._by_name.get(name)
        if info is None:  # Redis has lost the announcement, and no worker has repeated it
            return Resolved(record, GraphInfo(graph_id=name, queue=""), served=False)
        return Resolved(record, info, served=name not in self._unserved_graphs)

    async def _refresh(self) -> None:
        if self._stale():
            await self.all()

    def _stale(self) -> bool:
        return time.monotonic() - self._read_at > CACHE_SECONDS

    def _graphs(self) -> str:
        names = ", ".join(sorted({info.graph_id for info in self._by_name.values()}))
        if names:
            return f"One of the registered graphs: {names}"
        return "the name of a graph; none is registered yet: start a worker (`millstream worker`)"


def _workers_of(graph_id: str) -> str:
    return keys.workers(keys.call_queue(graph_id))


def _canonical(assistant_id: str) -> str:
    """Returns the UUID in canonical form; '' if it is not a UUID."""
    try:
        return str(uuid.UUID(assistant_id))
    except ValueError:
        return ""
