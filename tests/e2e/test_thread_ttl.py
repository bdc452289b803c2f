"""`checkpointer.ttl` of a worker's langgraph.json is the default lifetime of threads."""

import json
from pathlib import Path

import httpx

from e2e.conftest import BEHAVIOUR
from harness.processes import Fleet
from harness.waiting import until
from millstream.cli.embedded import EmbeddedRedis


async def test_langgraph_json_sets_the_ttl_of_new_threads(tmp_path: Path) -> None:
    config = tmp_path / "langgraph.json"
    ttl = {"default_ttl": 0.01, "sweep_interval_minutes": 0.001}
    graph = f"{BEHAVIOUR.with_name('behaviour.py')}:track"
    config.write_text(json.dumps({"graphs": {"track": graph}, "checkpointer": {"ttl": ttl}}))
    with EmbeddedRedis(tmp_path / "redis", appendonly=False) as server, Fleet(server.url) as fleet:
        api = fleet.api()
        fleet.worker(config).wait_ready()
        async with httpx.AsyncClient(base_url=api.wait_ready().url, timeout=30) as http:
            explicit = {"ttl": {"ttl": 60, "strategy": "keep_latest"}}
            stays = (await http.post("/threads", json=explicit)).json()["thread_id"]
            goes = (await http.post("/threads", json={})).json()["thread_id"]
            brought = "00000000-0000-4000-8000-000000000001"
            body = {"assistant_id": "track", "if_not_exists": "create"}
            assert (await http.post(f"/threads/{brought}/runs/wait", json=body)).is_success

            async def is_gone(thread: str) -> bool:
                return (await http.get(f"/threads/{thread}")).status_code == 404

            await until(lambda: is_gone(goes), what="the thread that named no time is deleted")
            await until(lambda: is_gone(brought), what="so is the one that a run brought")
            assert not await is_gone(stays)
