"""Runs of the graph `approval`, which interrupt and are resumed by commands of the protocol."""

from typing import Any

import httpx

from api.thread_state import state
from harness.event_stream import command, follow, start

ASKS = {"input": {"topic": "deploy"}}


async def run_until_interrupt(http: httpx.AsyncClient, thread: str, **params: Any) -> str:
    """Runs `approval` until it interrupts. Returns the interrupt's id."""
    async with follow(http, thread, ["lifecycle", "input"]) as following:
        await start(http, thread, "approval", **ASKS, **params)
        await following.ended()
        assert following.lifecycle[-1] == "interrupted"
        [request] = following.data_of("input.requested")[-1:]
    assert request == {
        "interrupt_id": request["interrupt_id"],
        "payload": {"question": "approve deploy?"},
        "value": {"question": "approve deploy?"},
    }
    return str(request["interrupt_id"])


async def resume_and_join(http: httpx.AsyncClient, thread: str, **params: Any) -> dict[str, Any]:
    """Resumes the run, and waits for its end. Returns the thread's values."""
    run = (await command(http, thread, "input.respond", **params))["run_id"]
    await http.get(f"/threads/{thread}/runs/{run}/join")
    return dict((await state(http, thread))["values"])
