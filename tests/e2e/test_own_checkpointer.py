"""A worker with an external checkpointer: its operations are used, and missing ones are reported."""

import json
import textwrap
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.processes import Fleet
from harness.redis_modules import require_modules
from harness.waiting import until
from millstream.cli.embedded import EmbeddedRedis

ELSE = "00000000-0000-4000-8000-00000000000e"
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


async def test_runs_use_an_external_checkpointer_and_an_unsupported_rollback_is_an_error(
    tmp_path: Path,
) -> None:
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
            response = await http.post(
                f"/threads/{thread}/runs/{run}/cancel", params={"action": "rollback"}
            )
            assert response.is_success

            async def reported() -> bool:
                record = (await http.get(f"/threads/{thread}")).json()
                return "can't delete the checkpoints of one run" in json.dumps(record)

            await until(reported, within=20, what="the error on the thread")


KEEPER = """

    class Keeper(InMemorySaver):
        async def acopy_thread(self, source, target):
            self.storage[target] = copy.deepcopy(self.storage[source])
            for key in [key for key in self.blobs if key[0] == source]:
                self.blobs[(target, *key[1:])] = self.blobs[key]

        async def aprune(self, thread_ids, *, strategy="keep_latest"):
            assert strategy == "keep_latest"
            for thread in thread_ids:
                for kept in self.storage[thread].values():
                    for old in sorted(kept)[:-1]:
                        del kept[old]

    keeper = Keeper()
"""


@pytest.mark.parametrize("saver", ["keeper", "saver", "library"])
async def test_an_external_checkpointer_writes_copies_and_prunes_as_supported(
    tmp_path: Path, saver: str
) -> None:
    env = {}
    if saver == "library":
        require_modules()
        env["CHECKPOINTER"] = "langgraph-redis"
    module = textwrap.dedent(MODULE + KEEPER).replace("import asyncio", "import asyncio, copy")
    (tmp_path / "own_keeper.py").write_text(module)
    config = tmp_path / "langgraph.json"
    fields: dict[str, Any] = {
        "graphs": {"own": "./own_keeper.py:graph"},
        "dependencies": ["."],
    }
    if not env:
        fields["checkpointer"] = {"path": f"./own_keeper.py:{saver}"}
    config.write_text(json.dumps(fields))
    with EmbeddedRedis(tmp_path / "redis", appendonly=False) as server, Fleet(server.url) as fleet:
        api = fleet.api()
        fleet.worker(config, **env).wait_ready()
        async with httpx.AsyncClient(base_url=api.wait_ready().url, timeout=30) as http:

            async def values(thread: str) -> Any:
                return (await http.get(f"/threads/{thread}/state")).json()["values"]

            steps = [
                {"updates": [{"values": {"n": n, "slow": False}, "as_node": "add"}]} for n in (1, 2)
            ]
            body: dict[str, Any] = {"metadata": {"graph_id": "own"}, "supersteps": steps}
            created = await http.post("/threads", json=body)
            assert created.status_code == 200, created.text
            thread = created.json()["thread_id"]
            path = f"/threads/{thread}"
            assert created.json()["values"] == await values(thread) == {"n": 2, "slow": False}
            again = await http.post("/threads", json={**body, "thread_id": thread})
            assert again.status_code == 409
            broken = {
                **body,
                "supersteps": [*steps, {"updates": [{"values": 7, "as_node": "add"}]}],
            }
            refused = await http.post("/threads", json={**broken, "thread_id": ELSE})
            assert refused.status_code == 422
            assert (await http.get(f"/threads/{ELSE}")).status_code == 404

            old = (await http.get(f"{path}/state")).json()["checkpoint"]
            response = await http.post(f"{path}/state", json={"values": {"n": 5}, "as_node": "add"})
            assert response.status_code == 200, response.text
            record = (await http.get(path)).json()
            assert record["values"] == await values(thread) == {"n": 5, "slow": False}
            fork = {"values": {"n": 9}, "as_node": "add", "checkpoint": old}
            assert (await http.post(f"{path}/state", json=fork)).status_code == 200
            assert await values(thread) == {"n": 9, "slow": False}
            wrong = await http.post(f"{path}/state", json={"values": {"n": 1}, "as_node": "nobody"})
            assert (wrong.status_code, wrong.json()["detail"][:7]) == (400, "as_node")

            copied = await http.post(f"{path}/copy")
            pruned = await http.post(
                "/threads/prune", json={"thread_ids": [thread, ELSE], "strategy": "keep_latest"}
            )
            history = (await http.get(f"{path}/history")).json()
            if saver == "keeper":
                assert await values(copied.json()["thread_id"]) == {"n": 9, "slow": False}
            else:
                assert (copied.status_code, "acopy_thread" in copied.text) == (400, True)
            if saver == "saver":
                assert (pruned.status_code, "aprune" in pruned.text) == (400, True)
                assert len(history) > 3
            else:
                assert pruned.json() == {"pruned_count": 1}
                assert len(history) == 1

            run = {"assistant_id": "own", "input": {"n": 1, "slow": True}}
            run_id = (await http.post(f"{path}/runs", json=run)).json()["run_id"]
            for method, tail in (("POST", "/state"), ("POST", "/copy")):
                busy = await http.request(method, f"{path}{tail}", json={"values": {"n": 0}})
                assert (busy.status_code, "busy" in busy.text) == (409, True), busy.text
            await http.post(f"{path}/runs/{run_id}/cancel", params={"wait": 1})
            assert (await http.delete(path)).status_code == 204
