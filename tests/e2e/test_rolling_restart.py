"""A deploy: every worker and the API are replaced while clients of both SDKs follow their runs."""

import asyncio
import signal
from typing import Any

import pytest
from langgraph_sdk import get_client

from e2e.conftest import Cluster, Thread
from e2e.node import node
from harness.api_proxy import ApiProxy
from harness.waiting import until

pytestmark = pytest.mark.xdist_group("worker_cluster")

TOKENS = 120
KNOBS = {"tokens": TOKENS, "delay": 0.03}
MODES = ["values", "messages-tuple"]


async def followed(url: str, thread: str | None) -> list[Any]:
    """Streams one run with the Python SDK. Returns the parts."""
    async with get_client(url=url) as client:
        runs: Any = client.runs  # its overloads know either a thread or none
        return [
            part
            async for part in runs.stream(
                thread,
                "chat",
                input={"messages": [{"role": "user", "content": "hello"}]},
                config={"configurable": KNOBS},
                stream_mode=["values", "messages-tuple"],
                on_disconnect="continue",
            )
        ]


def check(parts: list[tuple[str, Any]]) -> None:
    """Fails unless every token arrived, and the run succeeded."""
    last = [data for event, data in parts if event == "values"][-1]["messages"][-1]["content"]
    starts = [at for at, (event, _) in enumerate(parts) if event == "metadata"]
    # After a hand-back the running node streams again, after a `metadata` event.
    tokens = [data[0]["content"] for event, data in parts[starts[-1] :] if event == "messages"]
    assert "".join(tokens) == last
    assert parts[-1] == ("end", {"status": "success"})
    assert all(event != "error" for event, _ in parts)


@pytest.mark.usefixtures("node_modules")
@pytest.mark.parametrize("grace", ["0", "60"], ids=["handed-over", "within-the-grace"])
async def test_clients_do_not_notice_a_rolling_restart(worker_cluster: Cluster, grace: str) -> None:
    env = {"N_JOBS_PER_WORKER": "150", "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": grace}
    worker_cluster.ready_workers(0, limit=0)
    old_api, new_api = worker_cluster.fleet.api(), worker_cluster.fleet.api()
    old = worker_cluster.start_worker(**env)
    for process in (old, old_api, new_api):
        process.wait_ready()
    threads = [await Thread.create(worker_cluster.url) for _ in range(4)]
    async with ApiProxy() as gate:
        gate.route_to(old_api.url)
        python = [
            asyncio.create_task(followed(gate.url, thread))
            for thread in (*(thread.id for thread in threads), None)
        ]
        script = [
            asyncio.create_task(node("reconnect.mjs", gate.url, state, str(TOKENS)))
            for state in ("stateful", "stateless")
        ]

        async def all_run() -> bool:
            return all([await thread.status() == "busy" for thread in threads])

        await until(all_run)
        new = worker_cluster.start_worker(**env).wait_ready()
        gate.route_to(new_api.url)
        for process in (old_api, old):
            process.send(signal.SIGTERM)
        for parts in await asyncio.gather(*python):
            check([(part.event, part.data) for part in parts])
        for seen in await asyncio.gather(*script):
            check([(part["event"], part["data"]) for part in seen["parts"]])
        for process in (old_api, old):
            await asyncio.to_thread(process.wait)
    for process in (new_api, new):
        assert process.process.poll() is None
        await asyncio.to_thread(process.stop)
