"""A client of the SDK that notes what is called of it; the same way for its async and its sync form."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any, Final

GENERIC: Final = {"self", "headers", "params"}  # how the request is sent: the SDK's own business
PARTS: Final = ("assistants", "threads", "runs", "crons", "store")


def methods(client: Any) -> dict[str, set[str]]:
    """Returns the public methods of the client's parts, each with its parameters."""
    found = {}
    for part in PARTS:
        for name, method in inspect.getmembers(type(getattr(client, part)), inspect.isfunction):
            if not name.startswith("_"):
                found[f"{part}.{name}"] = set(inspect.signature(method).parameters) - GENERIC
    return found


class Recorder:
    """Stands for a client: `await recorder.threads.get(…)`, `async for … in recorder.runs.stream(…)`."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.seen: dict[str, set[str]] = {}

    def __getattr__(self, part: str) -> Any:
        return _Part(self, part, getattr(self._client, part))


class _Part:
    def __init__(self, recorder: Recorder, name: str, part: Any) -> None:
        self._recorder, self._name, self._part = recorder, name, part

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._part, name)
        signature = inspect.signature(method)

        def call(*args: Any, **kwargs: Any) -> _Call:
            noted = self._recorder.seen.setdefault(f"{self._name}.{name}", set())
            noted |= set(signature.bind(*args, **kwargs).arguments) - GENERIC
            return _Call(lambda: method(*args, **kwargs))

        return call


class _Call:
    """A call that is made when it is awaited or iterated."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __await__(self) -> Generator[Any, None, Any]:
        return self._result().__await__()

    async def _result(self) -> Any:
        made = await asyncio.to_thread(self._make)
        if inspect.isawaitable(made):
            made = await made
        return _walk(made) if isinstance(made, Iterator) else made

    async def __aiter__(self) -> AsyncIterator[Any]:
        parts = await self._result()
        async for part in parts:
            yield part


async def _walk(iterator: Iterator[Any]) -> AsyncIterator[Any]:
    done = object()
    try:
        while (part := await asyncio.to_thread(next, iterator, done)) is not done:
            yield part
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            await asyncio.to_thread(close)
