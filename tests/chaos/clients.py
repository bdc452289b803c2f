"""Clients that use the Python SDK as its users do, and record all that they receive.

They behave well: they retry where no run was admitted, look for their run where they can't know,
and reconnect with the last event id that they received.
"""

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx
from langgraph_sdk import get_client
from langgraph_sdk.client import LangGraphClient
from langgraph_sdk.schema import RunCreateMetadata

from chaos.ledger import Ledger, Run

T = TypeVar("T")
PAUSE = 0.2  # s before a request is tried again
MODES: Any = ["values", "custom"]
# Without it an SDK that is cut off before the first event reconnects without an id, and so would
# get only later events.
FROM_THE_START = {"Last-Event-ID": "-1"}


class NotAdmitted(Exception):
    """The request admitted no run, as far as the client can tell."""


@dataclass(frozen=True)
class ClientContext:
    """The settings that all clients share."""

    urls: list[str]
    folder: Path  # for the step counts of the graphs
    ledger: Ledger
    over: asyncio.Event  # set when clients are to start no more runs


class Client:
    """A client that uses one thread after the other, with some runs on each."""

    def __init__(self, number: int, seed: int, context: ClientContext) -> None:
        self._name = f"c{number}"
        self._choose = random.Random(f"client {number} {seed}")
        self._context = context
        self._sdks = [get_client(url=url, api_key=None, timeout=20) for url in context.urls]
        self._count = 0
        self._thread_cancels: dict[str, set[str]] = {}  # thread → actions that may hit its runs

    async def run_until_over(self) -> None:
        """Starts runs until `over` is set, and follows each to its end."""
        try:
            while not self._context.over.is_set():
                await self._use_thread()
        finally:
            for sdk in self._sdks:
                await sdk.aclose()

    def _sdk(self) -> LangGraphClient:
        return self._choose.choice(self._sdks)

    # ── Kinds of requests ───────────────────────────────────────────────────────────────────

    async def _use_thread(self) -> None:
        """Starts some runs on a new thread."""
        thread_id = str(uuid.UUID(int=self._choose.getrandbits(128), version=4))
        self._context.ledger.threads.add(thread_id)
        await self._retry(
            lambda sdk: sdk.threads.create(thread_id=thread_id, if_exists="do_nothing")
        )
        for _ in range(self._choose.randint(2, 5)):
            if self._context.over.is_set():
                return
            ways = [self._stream, self._wait, self._several, self._stateless]
            way = self._choose.choices(ways, [10, 4, 4, 2])[0]
            try:
                await way(thread_id)
            except NotAdmitted:
                await asyncio.sleep(PAUSE)

    async def _stream(self, thread_id: str) -> None:
        """Streams a run; cancels some of them."""
        run = self._new(thread_id, "stream")
        run.cancel_on_disconnect = self._choose.random() < 0.1
        canceller = self._maybe_cancel(run)
        try:
            await self._stream_it(run)
        finally:
            await self._stop(canceller)

    async def _stateless(self, _: str) -> None:
        await self._stream_it(self._new("", "stream"))

    async def _stream_it(self, run: Run) -> None:
        try:
            parts = self._sdk().runs.stream(
                run.thread_id or None,
                on_disconnect="cancel" if run.cancel_on_disconnect else "continue",
                headers=FROM_THE_START,
                **self._request(run),
            )
            async for part in parts:
                run.see(part.event, part.data, part.id)
        except httpx.HTTPError as error:
            await self._find_run(run, error)
        await self._follow(run)

    async def _wait(self, thread_id: str) -> None:
        """Waits for the final state of a run."""
        run = self._new(thread_id, "wait")
        canceller = self._maybe_cancel(run)
        try:
            try:
                run.answer = await self._sdk().runs.wait(
                    thread_id, on_disconnect="continue", raise_error=False, **self._request(run)
                )
            except httpx.HTTPError as error:
                await self._find_run(run, error)
                await self._join(run)
            else:
                run.answered = True
        finally:
            await self._stop(canceller)

    async def _join(self, run: Run) -> None:
        if run.vanished:
            return
        try:
            run.answer = await self._retry(lambda sdk: sdk.runs.join(run.thread_id, run.run_id))
            run.answered = True
        except httpx.HTTPStatusError as error:
            self._may_be_gone(run, error)

    async def _several(self, thread_id: str) -> None:
        """Starts some background runs at once and follows all of them."""
        runs = [self._new(thread_id, "background") for _ in range(self._choose.randint(2, 3))]
        admitted = []
        for run in runs:
            try:
                created = await self._sdk().runs.create(thread_id, **self._request(run))
                run.run_id = created["run_id"]
                admitted.append(run)
            except httpx.HTTPError as error:
                try:
                    await self._find_run(run, error)
                    admitted.append(run)
                except NotAdmitted:
                    pass
        cancellers = [self._maybe_cancel(run) for run in admitted]
        try:
            await asyncio.gather(*(self._follow(run) for run in admitted))
        finally:
            for canceller in cancellers:
                await self._stop(canceller)

    # ── Parts of requests ───────────────────────────────────────────────────────────────────

    def _new(self, thread_id: str, way: str) -> Run:
        choose = self._choose
        self._count += 1
        run = Run(
            token=f"{self._name}.{self._count}",
            thread_id=thread_id,
            graph=choose.choices(["walk", "blocking", "poison"], [50, 10, 1])[0],
            goal=choose.randint(3, 12) if choose.random() > 0.04 else 60,
            way=way,
            cancels=set(self._thread_cancels.get(thread_id, ())),
        )
        self._context.ledger.runs.append(run)
        return run

    def _request(self, run: Run) -> dict[str, Any]:
        """Returns the arguments that all kinds of requests share."""
        choose = self._choose
        delay = choose.uniform(0.08, 0.4) if run.goal < 60 else 0.3
        request: dict[str, Any] = {
            "assistant_id": run.graph,
            "input": {"token": run.token, "goal": run.goal, "at": 0},
            "config": {
                "configurable": {"delay": delay, "folder": str(self._context.folder)},
                "recursion_limit": 100,
            },
            "metadata": {"token": run.token},
            "durability": choose.choices(["async", "sync", "exit"], [7, 2, 1])[0],
        }
        if run.way != "wait":
            request["stream_mode"] = MODES
        if run.thread_id:
            strategy = choose.choices(["enqueue", "interrupt", "rollback"], [18, 1, 1])[0]
            request["multitask_strategy"] = strategy
            if strategy != "enqueue":
                self._displace(run, strategy)
        if run.way == "stream" or run.way == "wait":

            def created(metadata: RunCreateMetadata) -> None:
                run.run_id = metadata["run_id"]

            request["on_run_created"] = created
        return request

    def _displace(self, newcomer: Run, action: str) -> None:
        """Records which runs a strategy may cancel. Later ones count too, because this request may be
        admitted after them."""
        for run in self._context.ledger.runs:
            if run.thread_id == newcomer.thread_id and run is not newcomer and not run.followed:
                run.cancels.add(action)
        self._thread_cancels.setdefault(newcomer.thread_id, set()).add(action)

    def _maybe_cancel(self, run: Run) -> "asyncio.Task[None] | None":
        if self._choose.random() > 0.08:
            return None
        action = self._choose.choice(["interrupt", "rollback"])
        return asyncio.create_task(self._cancel(run, action, self._choose.uniform(0.05, 2)))

    async def _cancel(self, run: Run, action: Any, after: float) -> None:
        await asyncio.sleep(after)
        if not run.run_id or run.is_over:
            return
        run.cancels.add(action)
        try:
            await self._retry(lambda sdk: sdk.runs.cancel(run.thread_id, run.run_id, action=action))
        except httpx.HTTPStatusError as error:
            if error.response.status_code != 404:  # the run has ended meanwhile
                self._context.ledger.add_violation("surprises", f"{run.token}: {error}")

    @staticmethod
    async def _stop(task: "asyncio.Task[None] | None") -> None:
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _follow(self, run: Run) -> None:
        """Follows a run to its end, from the last received event."""
        while not run.is_over:
            last = run.last
            if run.thread_id:
                parts = self._sdk().runs.join_stream(run.thread_id, run.run_id, last_event_id=last)
            else:
                path = f"/runs/{run.run_id}/stream"
                parts = self._sdk().http.stream(path, "GET", headers={"Last-Event-ID": last})
            try:
                async for part in parts:
                    run.see(part.event, part.data, part.id)
            except httpx.HTTPStatusError as error:
                if error.response.status_code < 500:
                    self._may_be_gone(run, error)
                    return
            except httpx.HTTPError:
                pass
            if not run.is_over:
                run.drops += 1
                await asyncio.sleep(PAUSE)

    def _may_be_gone(self, run: Run, error: httpx.HTTPStatusError) -> None:
        """Records that the run does not exist. Only a rollback may delete it; else it is a surprise."""
        run.vanished = True
        if error.response.status_code != 404 or "rollback" not in run.cancels:
            self._context.ledger.add_violation(
                "surprises", f"{run.token}, run {run.run_id}: {error}"
            )

    async def _find_run(self, run: Run, error: httpx.HTTPError) -> None:
        """Finds the run of a request that broke off. Raises NotAdmitted if there is none."""
        if isinstance(error, httpx.HTTPStatusError) and error.response.status_code < 500:
            self._may_be_gone(run, error)
            return
        run.drops += 1
        if not run.run_id and run.thread_id:
            listed = await self._retry(lambda sdk: sdk.runs.list(run.thread_id, limit=100))
            for other in listed:
                if (other.get("metadata") or {}).get("token") == run.token:
                    run.run_id = other["run_id"]
        if not run.run_id:
            run.refused = True
            raise NotAdmitted

    async def _retry(self, request: Callable[[LangGraphClient], Awaitable[T]]) -> T:
        """Repeats a request until it is answered. Raises httpx.HTTPStatusError for a status below 500."""
        while True:
            try:
                return await request(self._sdk())
            except httpx.HTTPStatusError as error:
                if error.response.status_code < 500:
                    raise
            except httpx.HTTPError:
                pass
            await asyncio.sleep(PAUSE)
