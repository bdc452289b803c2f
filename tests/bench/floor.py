"""The floor: what workloads cost on LangGraph by itself, in a process of their own."""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

from millstream.worker.graphs import Use, load


async def measure(graph_id: str, request: dict[str, Any], runs: int) -> dict[str, float]:
    """Runs the graph repeatedly with a saver in memory. Returns figures a run."""
    registry = load(Path(__file__).parents[2] / "examples" / "langgraph.json")
    saver = InMemorySaver()
    events = 0

    async def once(number: int) -> None:
        nonlocal events
        config: RunnableConfig = {
            "configurable": {"thread_id": str(number), **request["config"]["configurable"]}
        }
        async with registry.open(graph_id, Use("threads.create_run", config), saver) as graph:
            async for _ in graph.astream(request["input"], config, stream_mode=request["mode"]):
                events += 1

    for number in range(5):
        await once(-number - 1)
    events, begun, cpu = 0, time.perf_counter(), time.process_time()
    for number in range(runs):
        await once(number)
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
    return {
        "ms_per_run": wall / runs * 1e3,
        "cpu_ms_per_run": cpu / runs * 1e3,
        "events_per_s": events / wall,
    }


async def measure_all(jobs: list[dict[str, Any]]) -> list[dict[str, float]]:
    """Measures one workload after the other."""
    return [await measure(job["graph"], job["request"], job["runs"]) for job in jobs]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure_all(json.loads(sys.argv[1])))))
