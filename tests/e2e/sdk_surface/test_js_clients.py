"""Two clients that are built on the npm SDK, unchanged: @ag-ui/langgraph and @langchain/react."""

from typing import Any

import httpx

from conftest import System
from e2e import node


async def test_the_copilotkit_client_is_supported(system: System) -> None:
    node.require()
    seen = await node.node("agui.mjs", system.url)
    names = {what: [event["type"] for event in events] for what, events in seen.items()}
    for events in names.values():
        assert (events[0], events[-1]) == ("RUN_STARTED", "RUN_FINISHED")
        assert "RUN_ERROR" not in events
    [interrupt] = [event for event in seen["asked"] if event.get("name") == "on_interrupt"]
    assert interrupt["value"] == "Send the mail to all customers?"
    *_, last = [e for e in seen["answered"] if e["type"] == "MESSAGES_SNAPSHOT"]
    assert [(m["role"], m["content"]) for m in last["messages"]] == [
        ("user", "send the mail"), ("assistant", "The mail is on its way."),
    ]  # fmt: skip
    tokens = [e["delta"] for e in seen["streamed"] if e["type"] == "TEXT_MESSAGE_CONTENT"]
    assert len(tokens) == 20
    assert "".join(tokens).startswith("The quick brown fox")


async def test_the_langchain_react_hook_is_supported(
    system: System, http: httpx.AsyncClient
) -> None:
    node.require()
    seen = await node.node("react.mjs", system.url)
    whole = "The quick brown fox jumps over the lazy"
    assert seen["streamed"]["shown"] == [["human", "hello"], ["ai", whole]]
    texts = list(dict.fromkeys(seen["streamed"]["texts"]))
    assert len(texts) > 2  # the text arrived token by token
    assert all(whole.startswith(text) for text in texts)

    assert ["human", "quick"] in seen["displaced"]["shown"]
    assert seen["displaced"]["error"] is None
    runs = await listed(http, seen["threadId"])
    assert [run["status"] for run in runs] == [
        "success", "interrupted", "success", "success", "success", "success",
    ]  # fmt: skip
    assert runs[2]["multitask_strategy"] == "interrupt"

    assert seen["answered"] == {"question": "Send the mail to all customers?", "left": 0}
    long = max((text for _, text in seen["rejoined"]["shown"]), key=len)
    assert long.count("The quick brown fox") == 2
    assert seen["rejoined"]["error"] is None


async def listed(http: httpx.AsyncClient, thread: str) -> list[dict[str, Any]]:
    """Returns the runs of a thread, the oldest first."""
    runs: list[dict[str, Any]] = (await http.get(f"/threads/{thread}/runs")).json()
    return runs[::-1]
