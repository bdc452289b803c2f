"""@langchain/langgraph-sdk in Node, as a JavaScript application uses it.

The scripts are in tests/js; each prints the SDK's results. Keepalives come every 0.1 s, so every
stream here contains some.
"""

from typing import Any

import pytest

from e2e.conftest import Cluster, Thread
from e2e.cutting_proxy import CuttingProxy
from e2e.node import node

pytestmark = pytest.mark.xdist_group("stream_cluster")


def names(parts: list[Any]) -> list[str]:
    return [part["event"] for part in parts]


def check_ids(parts: list[Any]) -> None:
    """Fails unless each event has data and an id that is higher than the one before."""
    ids = [tuple(map(int, part["id"].split("-"))) for part in parts]
    assert ids == sorted(set(ids))
    assert all(part["event"] and part["data"] is not None for part in parts)
    assert (parts[0]["event"], parts[-1]["event"]) == ("metadata", "end")


@pytest.mark.usefixtures("node_modules")
async def test_every_call_of_the_js_sdk_is_supported(stream_cluster: Cluster) -> None:
    seen = await node("calls.mjs", stream_cluster.url)
    thread = seen["thread"]["thread_id"]
    assert seen["same"]["metadata"] == seen["thread"]["metadata"] == {"who": "me"}
    assert {"chat", "track", "approval"} <= set(seen["assistants"])

    for parts in (*seen["streams"].values(), seen["stateless"], seen["quiet"], seen["broken"]):
        check_ids(parts)
    by_mode = seen["streams"]
    assert names(by_mode["values"])[1:-1] == ["values", "values"]
    assert by_mode["values"][-2]["data"]["messages"][-1]["content"] == "The quick brown"
    assert names(by_mode["updates"])[1:-1] == ["updates"]
    for parts in (by_mode["messages-tuple"], seen["stateless"]):
        assert names(parts)[1:-1] == ["messages"] * 4
        tokens = [part["data"][0]["content"] for part in parts[1:-1]]
        assert tokens == ["The", " quick", " brown", ""]
    customs = [part["data"] for part in by_mode["many"] if part["event"] == "custom"]
    assert customs == [{"step": 0}, {"step": 1}, {"step": 2}]
    assert names(by_mode["many"]).count("values") == 3
    assert names(seen["quiet"]) == ["metadata", "values", "end"]

    run_ids = [part["data"]["run_id"] for part in (p[0] for p in by_mode.values())]
    run_ids.append(seen["stateless"][0]["data"]["run_id"])
    assert [ids["run_id"] for ids in seen["heard"]] == run_ids
    assert [ids.get("thread_id") for ids in seen["heard"]] == [thread] * 4 + [None]

    assert seen["waited"] == {"items": [0, 1, 2]}
    assert seen["run"]["status"] == "pending"
    assert seen["got"]["status"] == "success"
    assert seen["joined"] == {"items": [0, 1, 2, "lingered", 4]}
    assert names(seen["all"]) == ["metadata", "custom", "updates", "end"]
    assert seen["rest"] == seen["all"][2:]
    assert names(seen["only"]) == ["metadata", "custom", "end"]
    assert seen["listed"][0] == seen["run"]["run_id"]


@pytest.mark.usefixtures("node_modules")
async def test_cancel_resume_and_errors_work(stream_cluster: Cluster) -> None:
    seen = await node("calls.mjs", stream_cluster.url)
    assert (seen["cancel"], seen["cancelled"]) == ("nothing", "interrupted")
    assert (seen["cancelAndWait"], seen["cancelledToo"]) == ({}, "interrupted")
    assert seen["deleted"] == "nothing"

    [interrupt] = seen["asked"]["__interrupt__"]
    assert interrupt["value"] == {"question": "approve lunch?"}
    assert seen["asking"] == ["ask"]
    assert seen["answered"]["answer"] == "yes"

    errors = seen["errors"]
    statuses = {what: error["status"] for what, error in errors.items()}
    assert statuses == {
        "thread": 404, "run": 404, "deleted": 404, "graph": 422, "mode": 422, "exists": 409,
        "join": 404, "graphRaised": None,
    }  # fmt: skip
    assert "nope" in errors["graph"]["message"]
    assert errors["graphRaised"]["message"] == "ValueError: broken"
    assert names(seen["broken"])[-2:] == ["error", "end"]
    assert seen["broken"][-2]["data"] == {"error": "ValueError", "message": "broken"}


@pytest.mark.usefixtures("node_modules")
@pytest.mark.parametrize(("state", "after"), [("stateful", 0), ("stateful", 8), ("stateless", 8)])
async def test_a_cut_connection_is_resumed(stream_cluster: Cluster, state: str, after: int) -> None:
    async with CuttingProxy(stream_cluster.url, after=after) as proxy:
        seen = await node("reconnect.mjs", proxy.url, state)
        assert proxy.cuts == 1
        # Cut before its first event, the SDK has no event id to send; the Location has one.
        assert any(b"last-event-id" in head.lower() for head in proxy.requests) == bool(after)
    parts = seen["parts"]
    check_ids(parts)
    assert parts[-1]["data"] == {"status": "success"}
    tokens = [part["data"][0]["content"] for part in parts if part["event"] == "messages"]
    assert len(tokens) == 21
    assert "".join(tokens) == parts[-2]["data"]["messages"][-1]["content"]
    assert len(seen["heard"]) == 1
    if state == "stateful":
        thread = Thread(stream_cluster.url, seen["thread"])
        events = await thread.replay(seen["heard"][0]["run_id"])
        assert [part["id"] for part in parts] == [event.id for event in events]


@pytest.mark.usefixtures("node_modules")
async def test_state_history_and_forks_work(stream_cluster: Cluster) -> None:
    seen = await node("state.mjs", stream_cluster.url)
    assert seen["seeded"]["values"]["topic"] == "lunch"
    assert seen["seeded"]["metadata"]["graph_id"] == "approval"
    assert seen["paused"]["status"] == "interrupted"
    [[interrupt]] = seen["paused"]["interrupts"].values()
    assert interrupt["value"] == {"question": "approve lunch?"}
    assert [interrupt["id"]] == [one["id"] for one in seen["asked"]["__interrupt__"]]
    assert seen["state"]["next"] == ["ask"]
    assert seen["deep"]["checkpoint"] == seen["history"][0]["checkpoint"]
    assert seen["atCheckpoint"] == seen["byId"] == seen["history"][1]
    rest = [s for s in seen["history"][1:] if s["metadata"]["source"] == "loop"]
    assert seen["before"] == rest

    assert seen["after"]["values"]["answer"] == "js"
    assert seen["after"]["checkpoint"] == seen["updated"]["checkpoint"]
    assert seen["fork"]["checkpoint"] == seen["forked"]["checkpoint"]
    assert seen["fork"]["values"]["topic"] == "dinner"
    assert seen["fork"]["parent_checkpoint"] == seen["history"][1]["checkpoint"]
    assert seen["untouched"]["values"] == seen["state"]["values"]
    assert seen["copy"]["interrupts"] == seen["paused"]["interrupts"]

    thread, copy = seen["seeded"]["thread_id"], seen["copy"]["thread_id"]
    assert [match["thread_id"] for match in seen["found"]] == [thread, copy]
    assert seen["found"][0]["metadata"]["more"] is True
    assert set(seen["found"][0]) == {"thread_id", "metadata"}
    assert seen["patched"]["metadata"]["who"] == "js"
    assert seen["count"] == 1
    assert [run["metadata"].get("n") for run in seen["batch"]] == [None, 1]
    assert seen["runs"] == [{"status": "success"}]
    statuses = {what: error["status"] for what, error in seen["errors"].items()}
    assert statuses == {"node": 400, "thread": 404, "checkpoint": 422}


@pytest.mark.usefixtures("node_modules")
@pytest.mark.parametrize("strategy", ["interrupt", "rollback"])
async def test_of_three_quick_messages_the_newest_is_answered(
    stream_cluster: Cluster, strategy: str
) -> None:
    seen = await node("double_text.mjs", stream_cluster.url, strategy)
    assert [end["event"] for end in seen["ends"]] == ["end"] * 3
    ends = [end["data"]["status"] for end in seen["ends"]]
    assert ends == ["interrupted", "interrupted", "success"]
    left = "gone" if strategy == "rollback" else "interrupted"
    assert seen["statuses"] == [left, left, left, "success"]
    said = [message["content"] for message in seen["values"]["messages"]]
    assert said[-2:] == ["three", "The quick brown"]
    if strategy == "rollback":
        assert len(said) == 2
    assert seen["status"] == "idle"
