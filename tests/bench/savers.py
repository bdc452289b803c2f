"""Measures the cost of checkpointers for a superstep and a read, all in the same run.

The graph is a loop of ten steps; each adds a message of 300 bytes to those in the state, with
`durability="sync"`. Postgres is measured if langgraph-checkpoint-postgres can be imported and
BENCH_POSTGRES_URL names a server; the library's saver for Redis if it can be imported.
"""

import os
import statistics
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Final, TypedDict

import uvloop
from langchain_core.messages import AnyMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages

from millstream.cli.embedded import EmbeddedRedis
from millstream.shared.redis import connect
from millstream.worker.checkpoints.saver import FencedSaver

STEPS: Final = 10
SIZES: Final = (1, 100, 500)
OURS: Final = "millstream"
Saver = BaseCheckpointSaver[Any]
Cell = tuple[float, float]  # ms a superstep, ms a read
Opener = Callable[[], AbstractAsyncContextManager[Saver]]


class State(TypedDict):
    """A conversation and its number of steps."""

    messages: Annotated[list[AnyMessage], add_messages]
    steps: int


def a_message(number: int) -> HumanMessage:
    return HumanMessage(content=f"{number:06}" * 50, id=str(number))


async def step(state: State) -> dict[str, Any]:
    number = state["steps"]
    return {"messages": [a_message(1_000_000 + number)], "steps": number + 1}


def a_graph(saver: Saver) -> Any:
    builder = StateGraph(State)
    builder.add_node("step", step)
    builder.add_edge(START, "step")
    builder.add_conditional_edges("step", lambda s: END if s["steps"] >= STEPS else "step")
    return builder.compile(checkpointer=saver)


async def once(graph: Any, saver: Saver, size: int) -> Cell:
    """Returns ms a superstep and ms a read of the newest checkpoint, on a new thread."""
    config: RunnableConfig = {"configurable": {"thread_id": str(uuid.uuid4()), "checkpoint_ns": ""}}
    values = {"messages": [a_message(n) for n in range(size)], "steps": 0}
    begun = time.perf_counter()
    await graph.ainvoke(values, config, durability="sync")
    seconds = time.perf_counter() - begun
    reads = []
    for _ in range(5):
        begun = time.perf_counter()
        saved = await saver.aget_tuple(config)
        reads.append(time.perf_counter() - begun)
        assert saved is not None
        assert len(saved.checkpoint["channel_values"]["messages"]) == size + STEPS
    return seconds / STEPS * 1e3, statistics.median(reads) * 1e3


@asynccontextmanager
async def in_memory() -> AsyncIterator[Saver]:
    yield InMemorySaver()


def fenced(url: str) -> Opener:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Saver]:
        redis = connect(url)
        yield FencedSaver(redis)
        await redis.aclose()

    return opened


def library_saver(url: str) -> Opener | None:
    try:
        from langgraph.checkpoint.redis.aio import AsyncRedisSaver
    except ImportError:
        return None

    @asynccontextmanager
    async def opened() -> AsyncIterator[Saver]:
        redis = connect(url)
        saver = AsyncRedisSaver(redis_client=redis)
        await saver.asetup()
        yield saver
        await redis.aclose()

    return opened


def postgres(url: str) -> Opener | None:
    try:
        from langgraph.checkpoint.postgres.aio import (  # type: ignore[import-not-found,unused-ignore]
            AsyncPostgresSaver,
        )
    except ImportError:
        return None

    @asynccontextmanager
    async def opened() -> AsyncIterator[Saver]:
        async with AsyncPostgresSaver.from_conn_string(url) as saver:
            await saver.setup()
            yield saver

    return opened


async def measure(rounds: int) -> None:
    """Prints a row for each saver. Measurements alternate, so that noise affects all savers alike."""
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedRedis(Path(folder), appendonly=True) as server,  # as in production: synced each s
    ):
        available: dict[str, Opener | None] = {
            OURS: fenced(server.url),
            "InMemorySaver": in_memory,
            "AsyncRedisSaver": library_saver(server.url),
        }
        if url := os.environ.get("BENCH_POSTGRES_URL"):
            available["AsyncPostgresSaver"] = postgres(url)
        openers = {name: opener for name, opener in available.items() if opener is not None}
        figures = {}
        async with AsyncExitStack() as stack:
            savers = {
                name: await stack.enter_async_context(opener()) for name, opener in openers.items()
            }
            for size in SIZES:
                figures[size] = await _measure_size(savers, size, rounds)
    _print_table(list(openers), figures)
    absent = {"AsyncRedisSaver", "AsyncPostgresSaver"} - set(openers)
    for name in sorted(absent):
        print(f"  {name} is not measured: its package or its server is missing")


async def _measure_size(savers: dict[str, Saver], size: int, rounds: int) -> dict[str, Cell]:
    """Returns the medians of each saver."""
    graphs = {name: a_graph(saver) for name, saver in savers.items()}
    took: dict[str, list[Cell]] = {name: [] for name in savers}
    for number in range(-2 if rounds > 1 else 0, rounds):  # two to warm up
        for name, saver in savers.items():
            cell = await once(graphs[name], saver, size)
            if number >= 0:
                took[name].append(cell)
    return {
        name: (statistics.median(c[0] for c in cells), statistics.median(c[1] for c in cells))
        for name, cells in took.items()
    }


def _print_table(names: list[str], figures: dict[int, dict[str, Cell]]) -> None:
    head = "".join(f"{f'{size} msg':>9}{'ratio':>7}" for size in SIZES)
    for number, what in enumerate(("ms a superstep", "ms a read (aget_tuple)")):
        print(f"\n{what:<24}{head}   ratio: to {OURS}, above 1 is slower")
        for name in names:
            cells = [(figures[size][name][number], figures[size][OURS][number]) for size in SIZES]
            row = "".join(f"{its:>9.2f}{its / ours:>7.2f}" for its, ours in cells)
            print(f"  {name:<22}{row}")


def main() -> None:
    """Measures by itself."""
    uvloop.run(measure(int(os.environ.get("BENCH_ROUNDS", "15"))))  # as a worker does


if __name__ == "__main__":
    main()
