"""Graphs as workers announced them, and the default assistant of each."""

import time
import uuid
from typing import Final

from millstream.shared import keys
from millstream.shared.errors import InvalidError, NotFoundError
from millstream.shared.redis import Client
from millstream.shared.wire import GraphInfo, Project, pack, unpack_graph, unpack_project

# The namespace that every server of this API derives the ids of default assistants from.
NAMESPACE: Final = uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8")
FRESH: Final = 1.0  # s for which a known graph is not looked up again


def default_assistant_id(graph_id: str) -> str:
    """Returns the id of a graph's default assistant, the same on every server of this API."""
    return str(uuid.uuid5(NAMESPACE, graph_id))


async def announce(redis: Client, graphs: list[GraphInfo], project: Project | None = None) -> None:
    """Publishes the graphs that a worker serves, and what else the API needs of its project.

    The first announcement's time is kept of a graph; of projects the newest counts.
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
        )
        fields[info.graph_id] = pack(stamped)
    if fields:
        await redis.hset(keys.graphs(), mapping=fields)  # type: ignore[misc]


async def list_graphs(redis: Client) -> list[GraphInfo]:
    """Returns every announced graph, oldest first."""
    values = await redis.hvals(keys.graphs())  # type: ignore[misc]
    return sorted(map(unpack_graph, values), key=lambda info: (info.announced_at, info.graph_id))


class GraphDirectory:
    """The announced graphs as one API process knows them: looked up again when stale or missing."""

    def __init__(self, redis: Client) -> None:
        self._redis = redis
        self._by_name: dict[str, GraphInfo] = {}
        self._project = Project()
        self._read_at = float("-inf")

    async def all(self) -> list[GraphInfo]:
        """Returns every announced graph, oldest first."""
        graphs = await list_graphs(self._redis)
        announced = await self._redis.get(keys.project())
        self._project = unpack_project(announced) if announced else Project()
        self._by_name = {}
        for info in graphs:
            self._by_name[info.graph_id] = info
            self._by_name[default_assistant_id(info.graph_id)] = info
        self._read_at = time.monotonic()
        return graphs

    async def project(self) -> Project:
        """Returns what the workers announced beside their graphs."""
        if time.monotonic() - self._read_at > FRESH:
            await self.all()
        return self._project

    async def resolve(self, assistant_id: str) -> GraphInfo:
        """Returns the graph behind an assistant's id or a graph's name.

        Raises:
            NotFoundError: a well-formed id that no assistant has.
            InvalidError: neither an id nor the name of an announced graph.
        """
        info = self._by_name.get(assistant_id)
        if info is None or time.monotonic() - self._read_at > FRESH:
            await self.all()
            info = self._by_name.get(assistant_id) or self._by_name.get(_canonical(assistant_id))
        if info is not None:
            return info
        if _canonical(assistant_id):
            raise NotFoundError("Thread or assistant not found.")
        names = ", ".join(sorted({info.graph_id for info in self._by_name.values()}))
        known = (
            f"One of the registered graphs: {names}"
            if names
            else (
                "the name of a graph; none is registered yet: start a worker (`millstream worker`)"
            )
        )
        raise InvalidError(
            f"assistant_id: Invalid assistant: {assistant_id!r}. Must be either:\n"
            f"- A valid assistant UUID, or\n- {known}"
        )


def _canonical(word: str) -> str:
    """Returns the UUID in its usual form, or '' for a word that is none."""
    try:
        return str(uuid.UUID(word))
    except ValueError:
        return ""
