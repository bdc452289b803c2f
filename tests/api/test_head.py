"""HEAD of a route that follows a run or a thread has the headers of GET, and ends."""

import httpx
import pytest

from api.requests import System, start, status


@pytest.mark.parametrize("path", ["stream", "join", "wait"])
async def test_head_of_a_running_run_ends_without_a_cancel(
    system: System, http: httpx.AsyncClient, thread: str, path: str
) -> None:
    run = await start(http, thread)
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(base_url=system.url, limits=limits, timeout=5) as client:
        response = await client.head(f"{run}/{path}", params={"cancel_on_disconnect": "1"})
        assert (response.status_code, response.content) == (200, b"")
        # The connection is free for the next request.
        assert (await client.get("/ok")).status_code == 200
    assert await status(http, run) == "running"
    await http.post(f"{run}/cancel", params={"wait": "1"})


async def test_head_of_a_threads_stream_ends(
    system: System, http: httpx.AsyncClient, thread: str
) -> None:
    limits = httpx.Limits(max_connections=1)
    async with httpx.AsyncClient(base_url=system.url, limits=limits, timeout=5) as client:
        response = await client.head(f"/threads/{thread}/stream")
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["location"].startswith(f"/threads/{thread}/stream")
        assert (await client.get("/ok")).status_code == 200
