"""A client of one API, with a method for each request of these tests."""

import asyncio
import contextlib
import json
from pathlib import Path
from typing import Any

import httpx

from harness.waiting import until


class StreamedResponse:
    """A request whose response is read in the background."""

    def __init__(self, http: httpx.AsyncClient, method: str, path: str, **request: Any) -> None:
        self.text = ""
        self.status = 0
        self.headers: httpx.Headers = httpx.Headers()
        self._opened = asyncio.Event()
        self._task = asyncio.create_task(self._read(http, method, path, request))
        self._task.add_done_callback(lambda _: self._opened.set())

    async def _read(
        self, http: httpx.AsyncClient, method: str, path: str, request: dict[str, Any]
    ) -> None:
        async with http.stream(method, path, **request) as response:
            self.status, self.headers = response.status_code, response.headers
            self._opened.set()
            async for text in response.aiter_text():
                self.text += text

    async def opened(self) -> "StreamedResponse":
        """Waits for the headers."""
        await self._opened.wait()
        if self._task.done():
            self._task.result()
        return self

    @property
    def run_id(self) -> str:
        return self.headers["content-location"].rpartition("/")[2]

    @property
    def events(self) -> list[tuple[str, Any]]:
        """The events so far: `(event name, data)`."""
        events, name = [], ""
        complete, _, _ = self.text.rpartition("\r\n\r\n")
        for line in complete.split("\r\n"):
            if line.startswith("event: "):
                name = line.removeprefix("event: ")
            elif line.startswith("data: "):
                events.append((name, json.loads(line.removeprefix("data: "))))
        return events

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    @property
    def last_id(self) -> str:
        return [line for line in self.text.split("\r\n") if line.startswith("id: ")][-1][4:]

    @property
    def over(self) -> bool:
        return self._task.done()

    async def ended(self, within: float = 10) -> str:
        """Waits for the end of the stream. Returns the status in its `end` event."""
        async with asyncio.timeout(within):
            await self._task
        assert self.names.count("end") == 1, self.text
        assert self.names[-1] == "end", self.text
        return str(self.events[-1][1]["status"])

    async def answer(self, within: float = 10) -> Any:
        """Waits for the end of a JSON response and returns it."""
        async with asyncio.timeout(within):
            await self._task
        return json.loads(self.text)

    async def failed(self) -> None:
        """Waits for the end of a response that was cut off or closed early."""
        with contextlib.suppress(httpx.HTTPError):
            await self._task

    async def leave(self) -> None:
        """Closes the connection."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


class Client:
    """A client of one API process."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def thread(self) -> str:
        """Creates a thread."""
        return str((await self.http.post("/threads", json={})).json()["thread_id"])

    def body(
        self, graph: str, *, left: int | None = 1, input: Any = "left", **more: Any
    ) -> dict[str, Any]:
        """Returns the body of a request for a run. Arguments that are no fields of it go to `configurable`."""
        known = {
            "multitask_strategy", "command", "stream_mode", "stream_subgraphs", "durability",
            "on_disconnect", "interrupt_before", "interrupt_after", "after_seconds",
            "on_completion",
        }  # fmt: skip
        fields = {key: value for key, value in more.items() if key in known}
        knobs = {
            key: str(value) if isinstance(value, Path) else value
            for key, value in more.items()
            if key not in known
        }
        if "command" not in fields:
            fields["input"] = {"left": left} if input == "left" else input
        return {"assistant_id": graph, "config": {"configurable": knobs}, **fields}

    async def create(self, thread: str, graph: str, **more: Any) -> str:
        """Starts a run in the background; returns its id."""
        answer = await self.http.post(f"/threads/{thread}/runs", json=self.body(graph, **more))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["run_id"])

    async def stream(self, thread: str, graph: str, **more: Any) -> StreamedResponse:
        """Starts a run and follows it. Returns once the headers have arrived."""
        return await self.follow("POST", f"/threads/{thread}/runs/stream", self.body(graph, **more))

    async def wait(self, thread: str, graph: str, **more: Any) -> Any:
        """Starts a run and returns its final state."""
        path = f"/threads/{thread}/runs/wait"
        answer = await self.http.post(path, json=self.body(graph, **more))
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def follow(
        self, method: str, path: str, body: Any = None, **more: Any
    ) -> StreamedResponse:
        """Sends a request and reads its response in the background."""
        return await StreamedResponse(self.http, method, path, json=body, **more).opened()

    async def status(self, thread: str, run: str) -> str:
        """Returns the run's status; `gone` if the run does not exist."""
        answer = await self.http.get(f"/threads/{thread}/runs/{run}")
        return "gone" if answer.status_code == 404 else str(answer.json()["status"])

    async def reaches(self, thread: str, run: str, *statuses: str, within: float = 10) -> str:
        """Waits until the run has one of the statuses."""

        async def reached() -> str:
            status = await self.status(thread, run)
            return status if status in statuses else ""

        return str(await until(reached, within=within, what=f"run {run} in {statuses}"))

    async def thread_record(self, thread: str) -> dict[str, Any]:
        """Returns the thread's record."""
        record: dict[str, Any] = (await self.http.get(f"/threads/{thread}")).json()
        return record

    async def state(self, thread: str) -> dict[str, Any]:
        """Returns the thread's state with those of its subgraphs."""
        answer = await self.http.get(f"/threads/{thread}/state", params={"subgraphs": "true"})
        assert answer.status_code == 200, answer.text
        state: dict[str, Any] = answer.json()
        return state

    async def items(self, thread: str) -> list[str]:
        """Returns the items in the thread's state."""
        items: list[str] = (await self.state(thread))["values"].get("items", [])
        return items

    async def cancel(
        self, thread: str, run: str, *, wait: bool = False, action: str = "interrupt"
    ) -> httpx.Response:
        """Cancels a run."""
        path = f"/threads/{thread}/runs/{run}/cancel"
        return await self.http.post(path, params={"wait": int(wait), "action": action})


class NodeLog:
    """The file in which nodes note what they do: lines of `what tag time`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def times(self, what: str, tag: str = "-") -> list[float]:
        """Returns the times at which the run with that tag noted `what`."""
        if not self.path.exists():
            return []
        lines = [line.split() for line in self.path.read_text().splitlines()]
        return [float(at) for noted, by, at in lines if (noted, by) == (what, tag)]

    async def wait_for(self, what: str, tag: str = "-", times: int = 1, within: float = 10) -> None:
        """Waits until the run with that tag has noted `what`."""
        await until(
            lambda: len(self.times(what, tag)) >= times, within=within, what=f"{what} by {tag}"
        )
