"""A worker with a checkpointer of the user's own: it works, and what it can't do is said."""

import json
import textwrap
from pathlib import Path
from typing import Any

import httpx

from harness.processes import Fleet
from harness.waiting import until
from millstream.cli.embedded import EmbeddedRedis

MODULE = """
    import asyncio
    from typing import TypedDict
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.graph import START, StateGraph

    saver = InMemorySaver()

    class State(TypedDict):
        n: int
        slow: bool

    async def add(state):
        return {"n": state["n"] + 1}

    async def rest(state):
        await asyncio.sleep(30 if state["slow"] else 0)

    builder = StateGraph(State)
    builder.add_node("add", add)
    builder.add_node("rest", rest)
    builder.add_edge(START, "add")
    builder.add_edge("add", "rest")
    graph = builder.compile()
"""


async def test_runs_use_it_and_a_rollback_that_it_cannot_do_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "own_saver.py").write_text(textwrap.dedent(MODULE))
    config = tmp_path / "langgraph.json"
    config.write_text(
        json.dumps(
            {
                "graphs": {"own": "./own_saver.py:graph"},
                "dependencies": ["."],
                "checkpointer": {"path": "./own_saver.py:saver"},
            }
        )
    )
    with EmbeddedRedis(tmp_path / "redis", appendonly=False) as server, Fleet(server.url) as fleet:
        api, worker = fleet.api(), fleet.worker(config)
        worker.wait_ready()
        async with httpx.AsyncClient(base_url=api.wait_ready().url, timeout=30) as http:
            thread = (await http.post("/threads", json={})).json()["thread_id"]

            async def post(path: str, **body: Any) -> httpx.Response:
                body = {"assistant_id": "own", **body}
                return await http.post(f"/threads/{thread}/runs{path}", json=body)

            answer = await post("/wait", input={"n": 1, "slow": False})
            assert answer.json()["n"] == 2
            run = (await post("", input={"n": 5, "slow": True})).json()["run_id"]

            async def has_added() -> bool:
                state = (await http.get(f"/threads/{thread}/state")).json()
                return bool(state["values"]["n"] == 6)

            await until(has_added, within=30)
            asked = await http.post(
                f"/threads/{thread}/runs/{run}/cancel", params={"action": "rollback"}
            )
            assert asked.is_success

            async def told() -> bool:
                shown = (await http.get(f"/threads/{thread}")).json()
                return "can't delete what one run stored" in json.dumps(shown)

            await until(told, within=20, what="the refusal on the thread")
