"""Wraps a client of the SDK and records its calls, in the same way for the async and the sync client."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any, Final

GENERIC: Final = {"self", "headers", "params"}  # how the SDK sends the request
PARTS: Final = ("assistants", "threads", "runs", "crons", "store")


def methods(client: Any) -> dict[str, set[str]]:
    """Returns the public methods of the client's parts, each with its parameters."""
    parameters = {}
    for part in PARTS:
        for name, method in inspect.getmembers(type(getattr(client, part)), inspect.isfunction):
            if not name.startswith("_"):
                names = set(inspect.signature(method).parameters)
                parameters[f"{part}.{name}"] = names - GENERIC
    return parameters


class Recorder:
    """Used like a client: `await recorder.threads.get(…)`, `async for … in recorder.runs.stream(…)`."""

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
            seen = self._recorder.seen.setdefault(f"{self._name}.{name}", set())
            seen |= set(signature.bind(*args, **kwargs).arguments) - GENERIC
            return _Call(lambda: method(*args, **kwargs))

        return call


class _Call:
    """A call that starts when it is awaited or iterated."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    def __await__(self) -> Generator[Any, None, Any]:
        return self._result().__await__()

    async def _result(self) -> Any:
        result = await asyncio.to_thread(self._make)
        if inspect.isawaitable(result):
            result = await result
        return _walk(result) if isinstance(result, Iterator) else result

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
