"""What the tests of langgraph_sdk share: an input, and short forms of arguments and results."""

from collections.abc import AsyncIterator
from typing import Any

from langgraph_sdk.schema import StreamPart

HELLO: Any = {"messages": [{"role": "user", "content": "hello"}]}


def knobs(**values: Any) -> Any:
    return {"configurable": values}


async def collect(stream: AsyncIterator[StreamPart]) -> list[StreamPart]:
    return [part async for part in stream]
