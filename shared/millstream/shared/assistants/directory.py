"""All assistants: the default assistant of each graph that workers announced, and those with a record."""

import time
import uuid
from dataclasses import dataclass
from typing import Final

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
    """Returns every announced graph, oldest first."""
    values = await redis.hvals(keys.graphs())  # type: ignore[misc]
    return sorted(map(unpack_graph, values), key=lambda info: (info.announced_at, info.graph_id))


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
    served: bool = True  # False: its queue has live workers, but none has served the graph for `UNSERVED_SECONDS`

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
        """Returns every announced graph, oldest first."""
        graphs = await list_graphs(self._redis)
        pipe = self._redis.pipeline(transaction=False)
        pipe.get(keys.project())
        pipe.time()
        for info in graphs:
            pipe.exists(keys.assistant(default_assistant_id(info.graph_id)))
            pipe.zrange(keys.workers(keys.call_queue(info.graph_id)), -1, -1, withscores=True)
        announced, (seconds, _), *replies = await pipe.execute()
        self._project = unpack_project(announced) if announced else Project()
        self._by_name = {}
        for info in graphs:
            self._by_name[info.graph_id] = info
            self._by_name[default_assistant_id(info.graph_id)] = info
        names = [info.graph_id for info in graphs]
        self._changed = {
            default_assistant_id(name)
            for name, exists in zip(names, replies[::2], strict=True)
            if exists
        }
        last = [newest[0][1] if newest else None for newest in replies[1::2]]
        self._unserved_graphs = _removed_graphs(graphs, last, seconds)
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


def _removed_graphs(graphs: list[GraphInfo], last: list[float | None], now: float) -> set[str]:
    """Returns the names of the graphs that the live workers of their queue do not serve any more.

    Args:
        last: for each graph the time (s) at which its last worker counts, or counted, as dead; None if unknown.
        now: s, Redis time.
    """
    expiries = list(zip(graphs, last, strict=True))
    live_queues = {
        info.queue for info, dead_at in expiries if dead_at is not None and dead_at > now
    }
    return {
        info.graph_id
        for info, dead_at in expiries
        if info.queue in live_queues and dead_at is not None and dead_at < now - UNSERVED_SECONDS
    }


def _canonical(assistant_id: str) -> str:
    """Returns the UUID in canonical form; '' if it is not a UUID."""
    try:
        return str(uuid.UUID(assistant_id))
    except ValueError:
        return ""
