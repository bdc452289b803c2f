"""Tasks of A2A: lists, contexts, histories, states, and the parts of their messages."""

from typing import Any

import httpx
import pytest
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import A2AError
from google.protobuf.json_format import MessageToDict

from api.requests import UNKNOWN_ID, System
from harness.a2a_client import message_request, open_a2a_client
from millstream.api.a2a.parts import data_of
from millstream.shared import keys
from millstream.shared.redis import connect

State = pb.TaskState
TALK = "/a2a/talk"


async def call(http: httpx.AsyncClient, method: str, agent: str = TALK, **params: Any) -> Any:
    """Sends a call of version 1.0. Returns the response."""
    body = {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}
    response = await http.post(agent, json=body, headers={"A2A-Version": "1.0"})
    assert response.status_code == 200
    answer = response.json()
    assert (answer["jsonrpc"], answer["id"]) == ("2.0", 7)
    return answer


async def say(http: httpx.AsyncClient, text: str, agent: str = TALK, **fields: Any) -> Any:
    """Sends a message. Returns the task."""
    request = MessageToDict(message_request(text))["message"] | fields
    return (await call(http, "SendMessage", agent, message=request))["result"]["task"]


async def listed(http: httpx.AsyncClient, agent: str = TALK, **params: Any) -> Any:
    return (await call(http, "ListTasks", agent, **params))["result"]


def code(answer: Any) -> int:
    return int(answer["error"]["code"])


def ids(tasks: list[Any]) -> list[str]:
    return [task["id"] for task in tasks]


@pytest.fixture
async def agent_path(web: httpx.AsyncClient) -> Any:
    """The path of an agent without tasks."""
    body = {"graph_id": "talk", "name": "an agent of the test's own"}
    assistant = (await web.post("/assistants", json=body)).json()["assistant_id"]
    yield f"/a2a/{assistant}"
    await web.delete(f"/assistants/{assistant}")


# ── Listing ─────────────────────────────────────────────────────────────────────────────────


async def test_the_tasks_of_an_agent_are_listed_in_pages(
    web: httpx.AsyncClient, agent_path: str
) -> None:
    created = [await say(web, f"hello {n}", agent_path) for n in range(3)]
    created.append(await say(web, "more", agent_path, contextId=created[1]["contextId"]))
    await say(web, "to another agent")
    newest = ids(created)[::-1]
    page = await listed(web, agent_path)
    assert ids(page["tasks"]) == newest
    assert (page["totalSize"], page["pageSize"], page["nextPageToken"]) == (4, 4, "")
    seen, token = [], ""
    for size in (3, 1):
        page = await listed(web, agent_path, pageSize=3, pageToken=token)
        assert (len(page["tasks"]), page["totalSize"]) == (size, 4)
        seen += ids(page["tasks"])
        token = page["nextPageToken"]
        # New tasks do not shift the next pages.
        await say(web, "meanwhile", "/a2a/talk")
    assert (seen, token) == (newest, "")
    of_one = await listed(web, agent_path, contextId=created[1]["contextId"])
    assert ids(of_one["tasks"]) == [created[3]["id"], created[1]["id"]]
    assert (await listed(web, agent_path, contextId="nobody's"))["tasks"] == []
    assert (await listed(web, agent_path, contextId=UNKNOWN_ID))["totalSize"] == 0


async def test_tasks_are_filtered_by_state_and_time(
    web: httpx.AsyncClient, agent_path: str
) -> None:
    done = await say(web, "hello", agent_path)
    failed = await say(web, "fail", agent_path)
    waiting = await say(web, "two questions", agent_path)
    states = {
        "TASK_STATE_COMPLETED": done,
        "TASK_STATE_FAILED": failed,
        "TASK_STATE_INPUT_REQUIRED": waiting,
    }
    for state, task in states.items():
        assert task["status"]["state"] == state
        assert ids((await listed(web, agent_path, status=state))["tasks"]) == [task["id"]]
    assert (await listed(web, agent_path, status="TASK_STATE_WORKING"))["tasks"] == []
    since = waiting["status"]["timestamp"]
    page = await listed(web, agent_path, statusTimestampAfter=since)
    assert ids(page["tasks"]) == [waiting["id"]]
    page = await listed(web, agent_path, statusTimestampAfter="2999-01-01T00:00:00Z")
    assert page["totalSize"] == 0


@pytest.mark.parametrize("name", ["x", f"{UNKNOWN_ID}:{UNKNOWN_ID}", 7])
async def test_a_run_whose_metadata_name_no_task_of_its_thread_hides_no_task(
    web: httpx.AsyncClient, name: str | int
) -> None:
    task = await say(web, "hello")
    body = {"assistant_id": "talk", "input": {"messages": "hi"}, "metadata": {"a2a_task": name}}
    run = await web.post(f"/threads/{task['contextId']}/runs/wait", json=body)
    assert run.status_code == 200
    page = await listed(web, contextId=task["contextId"])
    assert len(page["tasks"]) == 2
    assert task["id"] in ids(page["tasks"])
    assert (await call(web, "GetTask", id=task["id"]))["result"]["id"] == task["id"]


async def test_a_listed_task_has_history_and_artifacts_on_request(
    web: httpx.AsyncClient, agent_path: str
) -> None:
    task = await say(web, "hello", agent_path)
    [bare] = (await listed(web, agent_path))["tasks"]
    assert "artifacts" not in bare
    assert "history" not in bare
    [whole] = (await listed(web, agent_path, includeArtifacts=True, historyLength=1))["tasks"]
    assert whole["artifacts"] == task["artifacts"]
    assert [each["parts"] for each in whole["history"]] == [[{"text": "hello!"}]]
    asks = await say(web, "two questions", agent_path)
    [first, _] = (await listed(web, agent_path, includeArtifacts=True))["tasks"]
    assert (first["id"], first["artifacts"]) == (asks["id"], [])


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"pageSize": 0}, "pageSize"),
        ({"pageSize": 101}, "pageSize"),
        ({"pageSize": -1}, "pageSize"),
        ({"pageSize": "many"}, "pageSize"),
        ({"pageToken": "mine"}, "pageToken"),
        ({"pageToken": "WzEsMl0="}, "pageToken"),
        ({"historyLength": -1}, "historyLength"),
        ({"status": "TASK_STATE_BUSY"}, "status"),
        ({"statusTimestampAfter": "yesterday"}, "statusTimestampAfter"),
        ({"contextId": 7}, "contextId"),
        ({"includeArtifacts": "yes"}, "includeArtifacts"),
        ({"historyScope": "all"}, "historyScope"),
    ],
)
async def test_an_invalid_parameter_is_named(
    http: httpx.AsyncClient, params: Any, name: str
) -> None:
    refused = await call(http, "ListTasks", "/a2a/chat", **params)
    assert code(refused) == -32602
    assert name in refused["error"]["message"]


# ── Contexts and histories ──────────────────────────────────────────────────────────────────


async def test_a_context_keeps_the_clients_id(web: httpx.AsyncClient, agent_path: str) -> None:
    task = await say(web, "one", agent_path, contextId="chat with Ann / 1")
    again = await say(web, "two", agent_path, contextId="chat with Ann / 1")
    assert task["contextId"] == again["contextId"] == "chat with Ann / 1"
    assert [each["parts"][0]["text"] for each in again["history"]] == ["one", "one!", "two", "two!"]
    assert {each["contextId"] for each in again["history"]} == {"chat with Ann / 1"}
    fetched = (await call(web, "GetTask", agent_path, id=again["id"]))["result"]
    assert fetched["contextId"] == "chat with Ann / 1"
    page = await listed(web, agent_path, contextId="chat with Ann / 1")
    assert ids(page["tasks"]) == [again["id"], task["id"]]
    # Another agent's context of that name is another conversation.
    other = await say(web, "three", contextId="chat with Ann / 1")
    assert len(other["history"]) == 2
    mixed = "ABCDEF00-0000-4000-8000-00000000000A"
    assert (await say(web, "x", agent_path, contextId=mixed))["contextId"] == mixed


async def test_historyScope_task_returns_the_tasks_messages(
    web: httpx.AsyncClient, agent_path: str
) -> None:
    first = await say(web, "one", agent_path)
    second = await say(web, "two", agent_path, contextId=first["contextId"])
    scope = {"LangGraph-A2A-History-Scope": "task"}
    for task, texts in ((first, ["one", "one!"]), (second, ["two", "two!"])):
        body = {"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": task["id"]}}
        fetched = (await web.post(agent_path, json=body, headers=scope)).json()["result"]
        assert [each["parts"][0]["text"] for each in fetched["history"]] == texts
        assert fetched["artifacts"][0]["parts"] == [{"text": texts[1]}]
    whole = (await call(web, "GetTask", agent_path, id=second["id"]))["result"]
    assert len(whole["history"]) == 4
    for length in (0, 1, 3, 9):
        answer = await call(web, "GetTask", agent_path, id=second["id"], historyLength=length)
        messages = answer["result"].get("history", [])
        assert messages == whole["history"][len(whole["history"]) - min(length, 4) :]
    assert code(await call(web, "GetTask", agent_path, id=second["id"], historyLength=-1)) == -32602


async def test_replies_to_interrupts_belong_to_the_task(
    web: httpx.AsyncClient, agent_path: str
) -> None:
    before = await say(web, "hello", agent_path)
    task = await say(web, "an interview", agent_path, contextId=before["contextId"])
    for answer in ("one", "two", "enough"):
        assert task["status"]["state"] == "TASK_STATE_INPUT_REQUIRED"
        task = await say(web, answer, agent_path, taskId=task["id"])
    assert task["artifacts"][0]["parts"] == [{"text": "enough!"}]
    await say(web, "after", agent_path, contextId=before["contextId"])
    scope = {"historyScope": "task"}
    fetched = (await call(web, "GetTask", agent_path, id=task["id"], **scope))["result"]
    said = [each["parts"][0]["text"] for each in fetched["history"]]
    assert (said[0], said[-1], len(said)) == ("an interview", "enough!", 8)
    assert fetched["artifacts"] == task["artifacts"]
    short = (await call(web, "GetTask", agent_path, id=task["id"], historyLength=2, **scope))[
        "result"
    ]
    assert short["history"] == fetched["history"][-2:]


async def test_a_task_is_read_from_its_thread_after_its_stream_expired(
    web: httpx.AsyncClient, agent_path: str, system: System
) -> None:
    first = await say(web, "one", agent_path)
    second = await say(web, "two", agent_path, contextId=first["contextId"])
    redis = connect(system.fleet.redis_url)
    for task in (first, second):  # as after RESUMABLE_STREAM_TTL_SECONDS
        await redis.delete(keys.events(*task["id"].split(":")))
    await redis.aclose()
    for task in (first, second):
        fetched = (await call(web, "GetTask", agent_path, id=task["id"], historyScope="task"))[
            "result"
        ]
        assert fetched["artifacts"] == task["artifacts"]
        assert len(fetched["history"]) == 2


async def test_a_task_without_an_answer_has_no_artifact(
    web: httpx.AsyncClient, agent_path: str
) -> None:
    first = await say(web, "one", agent_path)
    silent = await say(web, "say nothing", agent_path, contextId=first["contextId"])
    assert silent["status"]["state"] == "TASK_STATE_COMPLETED"
    assert "artifacts" not in silent


# ── States ──────────────────────────────────────────────────────────────────────────────────


async def test_two_interrupts_are_resumed_by_their_ids(
    web: httpx.AsyncClient, system: System
) -> None:
    agent = await open_a2a_client(web, system.url, "talk", streaming=False)
    [event] = [each async for each in agent.send_message(message_request("two questions"))]
    question = event.task.status.message
    assert question.parts[0].text.split("\n") in (["colour", "size"], ["size", "colour"])
    questions = data_of(question.parts[1])["interrupts"]
    answers = {each["id"]: f"my {each['value']}" for each in questions}
    for resume_values in ({**answers, "another": 1}, answers):
        part = pb.Part()
        part.data.struct_value.update(resume_values)
        [event] = [
            each
            async for each in agent.send_message(
                message_request(part, task=event.task.id, context=event.task.context_id)
            )
        ]
        said = sorted(each.parts[0].text for each in event.task.history[1:])
        if resume_values is not answers:  # not only interrupt ids: one value for both interrupts
            assert said[0].startswith("colour: {")
            [event] = [each async for each in agent.send_message(message_request("two questions"))]
            questions = data_of(event.task.status.message.parts[1])["interrupts"]
            answers |= {each["id"]: f"my {each['value']}" for each in questions}
            for old in answers.keys() - {each["id"] for each in questions}:
                del answers[old]
    assert said == ["colour: my colour", "size: my size"]


async def test_an_interrupted_task_is_cancelled(web: httpx.AsyncClient, agent_path: str) -> None:
    task = await say(web, "two questions", agent_path)
    cancelled = (await call(web, "CancelTask", agent_path, id=task["id"]))["result"]
    assert cancelled["status"]["state"] == "TASK_STATE_CANCELED"
    assert code(await call(web, "CancelTask", agent_path, id=task["id"])) == -32002
    request = MessageToDict(message_request("blue"))["message"]
    refused = await call(web, "SendMessage", agent_path, message={**request, "taskId": task["id"]})
    assert code(refused) == -32004
    page = await listed(web, agent_path, status="TASK_STATE_CANCELED")
    assert ids(page["tasks"]) == [task["id"]]
    # The context continues.
    after = await say(web, "hello", agent_path, contextId=task["contextId"])
    assert after["status"]["state"] == "TASK_STATE_COMPLETED"


async def test_an_interrupted_task_is_followed_after_its_resume(
    web: httpx.AsyncClient, system: System
) -> None:
    agent = await open_a2a_client(web, system.url, "talk", streaming=False)
    [event] = [each async for each in agent.send_message(message_request("two questions"))]
    watching = await open_a2a_client(web, system.url, "talk")
    following = watching.subscribe(pb.SubscribeToTaskRequest(id=event.task.id))
    first = await anext(following)
    assert first.task.status.state == State.TASK_STATE_INPUT_REQUIRED
    answer = message_request("blue", task=event.task.id, context=event.task.context_id)
    [done] = [each async for each in agent.send_message(answer)]
    streamed = [each async for each in following]
    assert streamed[-1].status_update.status.state == State.TASK_STATE_COMPLETED
    assert done.task.status.state == State.TASK_STATE_COMPLETED
    assert any(each.HasField("artifact_update") for each in streamed)


async def test_a_failed_task_has_the_error(web: httpx.AsyncClient) -> None:
    task = await say(web, "fail")
    assert task["status"]["state"] == "TASK_STATE_FAILED"
    assert "as asked" in task["status"]["message"]["parts"][0]["text"]


# ── Parts ───────────────────────────────────────────────────────────────────────────────────


async def test_files_and_data_become_parts_of_the_artifact(web: httpx.AsyncClient) -> None:
    task = await say(web, "files")
    parts = [
        {"text": "see here"},
        {"url": "https://x.example/y.png", "mediaType": "image/png"},
        {"raw": "aGk=", "mediaType": "text/csv", "filename": "a.csv"},
        {"data": {"rows": 2.0, "share": 0.5}},
    ]
    assert [each["parts"] for each in task["artifacts"]] == [parts]
    assert task["history"][-1]["parts"] == parts


async def test_an_agent_accepts_only_its_media_types(
    web: httpx.AsyncClient, system: System
) -> None:
    modes = {"a2a": {"input_modes": ["text/plain", "image/*"], "output_modes": ["text/plain"]}}
    body = {"graph_id": "talk", "name": "shy", "metadata": modes}
    assistant = (await web.post("/assistants", json=body)).json()["assistant_id"]
    card = (await web.get(f"/a2a/{assistant}/.well-known/agent-card.json")).json()
    assert card["defaultInputModes"] == ["text/plain", "image/*"]
    assert card["defaultOutputModes"] == ["text/plain"]
    request = MessageToDict(message_request("hello"))["message"]
    for media_type, fits in (("image/png", True), ("IMAGE/PNG", True), ("text/csv", False)):
        parts = [{"raw": "aGk=", "filename": "a", "mediaType": media_type}]
        answer = await call(
            web, "SendMessage", f"/a2a/{assistant}", message={**request, "parts": parts}
        )
        assert ("result" in answer) is fits
        if not fits:
            assert code(answer) == -32005
            assert "text/csv" in answer["error"]["message"]
    agent = await open_a2a_client(web, system.url, assistant, streaming=False)
    csv = pb.Part(raw=b"hi", media_type="text/csv")
    with pytest.raises(A2AError, match="does not accept 'text/csv'"):
        _ = [each async for each in agent.send_message(message_request(csv))]
    await web.delete(f"/assistants/{assistant}")


async def test_an_unchanged_card_is_304(http: httpx.AsyncClient) -> None:
    path = "/a2a/chat/.well-known/agent-card.json"
    first = await http.get(path)
    assert "max-age" in first.headers["cache-control"]
    again = await http.get(path, headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = await http.get(path, headers={"if-none-match": '"another"'})
    assert other.json() == first.json()
    [scope] = first.json()["capabilities"]["extensions"]
    assert scope["params"]["values"] == ["context", "task"]
