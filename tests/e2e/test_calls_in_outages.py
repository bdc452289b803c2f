"""Calls by MCP, A2A tasks and WebSockets, while workers die, an API stops, and Redis is unavailable."""

import asyncio
import json
import uuid
from typing import Any

import httpx
import pytest
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import A2AError
from google.protobuf.json_format import MessageToDict

from e2e.conftest import Cluster, NodeLog
from harness.a2a_client import message_request, open_a2a_client
from harness.event_socket import open_socket
from harness.event_stream import ALL_CHANNELS, follow, start
from harness.waiting import until

pytestmark = pytest.mark.xdist_group("worker_cluster")

STEPS = 8
DONE = pb.TASK_STATE_COMPLETED


class Calls:
    """A tool call and two A2A messages, with and without a stream, on one API; and their responses."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http
        self.events: list[pb.StreamResponse] = []

    async def begin(self, log: NodeLog) -> None:
        """Starts all, and waits until they are in progress. They end after the test has opened the log's gate."""
        track = await self._assistant("track", log=str(log), n=STEPS, hold=2)
        chat = await self._assistant("held_chat", log=str(log))
        self.agent = await open_a2a_client(self.http, str(self.http.base_url).rstrip("/"), chat)
        self.tool = asyncio.create_task(self._call(track))
        self.streamed = asyncio.create_task(self._ask())
        self.waited = asyncio.create_task(self._wait(chat))
        await log.noted("end", 2, within=30)
        await log.noted("held", 2, within=30)
        await until(lambda: len(self.events) > 5, within=30)

    async def _assistant(self, graph: str, **knobs: Any) -> str:
        fields = {
            "graph_id": graph,
            "name": f"{graph}-{uuid.uuid4()}",
            "config": {"configurable": knobs},
        }
        assistant = (await self.http.post("/assistants", json=fields)).json()
        return str(assistant["name" if graph == "track" else "assistant_id"])

    async def _call(self, name: str) -> Any:
        body = {
            "jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": name, "arguments": {}},
        }  # fmt: skip
        accept = {"accept": "application/json, text/event-stream"}
        answer = await self.http.post("/mcp/", json=body, headers=accept)
        said = [line for line in answer.text.splitlines() if line.startswith("data: {")]
        return json.loads(said[-1].removeprefix("data: "))

    async def _wait(self, agent: str) -> Any:
        """Sends a message without a stream. The response is JSON, whatever happens meanwhile."""
        body = {
            "jsonrpc": "2.0", "id": 1, "method": "SendMessage",
            "params": MessageToDict(message_request("hello")),
        }  # fmt: skip
        return (await self.http.post(f"/a2a/{agent}", json=body)).json()

    async def _ask(self) -> None:
        async for event in self.agent.send_message(message_request("hello")):
            self.events.append(event)

    @property
    def task_id(self) -> str:
        """The id of the agent's task."""
        return self.events[0].task.id

    def artifact_text(self) -> str:
        """The text of the newest artifact, from all its updates."""
        text = ""
        for event in self.events:
            if event.HasField("artifact_update"):
                part = "".join(part.text for part in event.artifact_update.artifact.parts)
                text = text + part if event.artifact_update.append else part
        return text


async def test_calls_survive_killed_workers(worker_cluster: Cluster, log: NodeLog) -> None:
    worker_cluster.ready_workers(2)
    async with httpx.AsyncClient(base_url=worker_cluster.url, timeout=60) as http:
        calls = Calls(http)
        await calls.begin(log)
        for worker in worker_cluster.ready_workers(0):
            worker.kill()
        worker_cluster.ready_workers(1)
        log.open_gate()
        result = (await calls.tool)["result"]
        assert (result["isError"], result["structuredContent"]) == (
            False,
            {"items": list(range(STEPS))},
        )
        answered = (await calls.waited)["result"]["task"]
        assert answered["status"]["state"] == "TASK_STATE_COMPLETED"
        assert answered["artifacts"][0]["parts"][0]["text"].startswith("The quick brown fox")
        await calls.streamed
        assert calls.events[-1].status_update.status.state == DONE
        task = await calls.agent.get_task(pb.GetTaskRequest(id=calls.task_id))
        assert calls.artifact_text() == "".join(part.text for part in task.artifacts[-1].parts)


async def test_calls_report_the_stop_of_their_api(worker_cluster: Cluster, log: NodeLog) -> None:
    worker_cluster.ready_workers(1)
    old = worker_cluster.fleet.api().wait_ready()
    async with (
        httpx.AsyncClient(base_url=old.url, timeout=60) as http,
        httpx.AsyncClient(base_url=worker_cluster.url, timeout=60) as other,
    ):
        calls = Calls(http)
        await calls.begin(log)
        await asyncio.to_thread(old.stop)
        assert "the run continues" in (await calls.tool)["error"]["message"]
        with pytest.raises(A2AError, match="the run continues"):
            await calls.streamed
        assert "the run continues" in (await calls.waited)["error"]["message"]
        assert calls.events[-1].HasField("artifact_update")
        # Another API returns the task, and the tool's run has ended.
        thread = calls.events[0].task.context_id
        run = (await other.get(f"/threads/{thread}/runs")).json()[0]
        chat = await open_a2a_client(other, worker_cluster.url, run["assistant_id"])
        log.open_gate()

        async def done() -> bool:
            task = await chat.get_task(pb.GetTaskRequest(id=calls.task_id))
            return bool(task.status.state == DONE)

        await until(done)
        await log.noted("end", STEPS)


async def test_calls_survive_a_redis_outage(worker_cluster: Cluster, log: NodeLog) -> None:
    worker_cluster.ready_workers(1)
    async with httpx.AsyncClient(base_url=worker_cluster.url, timeout=60) as http:
        calls = Calls(http)
        await calls.begin(log)
        worker_cluster.redis.kill()
        worker_cluster.redis.start()
        log.open_gate()
        result = (await calls.tool)["result"]
        assert result["structuredContent"] == {"items": list(range(STEPS))}
        await calls.streamed
        assert calls.events[-1].status_update.status.state == DONE
        answered = (await calls.waited)["result"]["task"]
        assert answered["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_a_websocket_survives_a_redis_outage(worker_cluster: Cluster, log: NodeLog) -> None:
    worker_cluster.ready_workers(1)
    knobs = {"configurable": {"log": str(log), "n": STEPS, "hold": 2}}
    async with httpx.AsyncClient(base_url=worker_cluster.url, timeout=60) as http:
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        async with open_socket(worker_cluster.url, thread) as one, follow(http, thread) as two:
            await one.subscribe(1, *ALL_CHANNELS)
            await start(http, thread, "track", config=knobs)
            await until(lambda: len(two.data_of("custom")) >= 2)
            worker_cluster.redis.kill()
            worker_cluster.redis.start()
            log.open_gate()
            whole = list(await two.ended())
            assert two.lifecycle[-1] == "completed"
            # The stream and the WebSocket get the same events; the WebSocket adds the subscription.
            events = await one.at_least(len(whole))
            assert [event["seq"] for event in events] == [event["seq"] for event in whole]
            assert one.code is None
