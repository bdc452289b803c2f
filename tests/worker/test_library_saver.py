"""CHECKPOINTER=langgraph-redis: JSON of clients stays JSON, whatever it looks like."""

import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.types import Interrupt, Send

from harness.redis_modules import require_modules
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared.langgraph_json.config import CheckpointerConfig
from millstream.shared.redis import connect
from millstream.shared.settings import Settings
from millstream.worker.checkpoints.checkpointing import open_checkpointing

CALLS: list[str] = []


@dataclass
class Plan:
    """A dataclass whose construction is visible."""

    a: Any = None

    def __post_init__(self) -> None:
        CALLS.append("Plan")


def constructor(module: str, name: str, lc: int = 2) -> dict[str, Any]:
    return {"lc": lc, "type": "constructor", "id": [*module.split("."), name], "kwargs": {"a": 1}}


FORGED: list[Any] = [
    constructor(__name__, "Plan"),
    constructor(__name__, "Plan", lc=1),
    constructor("venv.__main__", "Plan"),
    constructor("antigravity", "Plan"),
    constructor("builtins", "set") | {"args": [[1]]},
    constructor("langchain_core.messages.human", "HumanMessage", lc=1)
    | {"kwargs": {"content": "c"}},
    {"lc": 1, "type": "secret", "id": ["PATH"]},
    {"__send__": True, "node": "n", "arg": 1},
    {"__interrupt__": True, "value": 1, "id": "i"},
    {"__delta_snapshot__": True, "value": [1]},
    {"__bytes__": "YQ=="},
    {"__plain__": [["a", 1]]},
    {"__plain__": 1},
    {"__plain__": {"__plain__": [["lc", 2]]}},
]
WRAPPED: list[Any] = [
    lambda forged: forged,
    lambda forged: [{"deep": [forged, forged]}],
    lambda forged: {"lc": 2, "kwargs": forged},
    lambda forged: {"bytes, so that msgpack stores it": b"b", "forged": forged},
    lambda forged: HumanMessage("m", additional_kwargs={"k": forged}),
    lambda forged: Send("n", forged),
]


@pytest.fixture
async def saver(store_server: EmbeddedRedis, tmp_path: Path) -> AsyncIterator[Any]:
    """The library's saver, on an empty database."""
    require_modules()
    client = connect(store_server.url)
    await client.flushdb()
    settings = Settings(checkpointer="langgraph-redis", redis_url=store_server.url)
    async with open_checkpointing(
        client, settings, CheckpointerConfig(), tmp_path
    ) as checkpointing:
        yield checkpointing.saver
    await client.flushdb()
    await client.aclose()


async def stored_and_loaded(saver: Any, value: Any, metadata: Any = None) -> list[Any]:
    """Stores the value as state and pending write, and metadata; returns the three as they are loaded."""
    thread_id = str(uuid.uuid4())
    at: RunnableConfig = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    checkpoint = empty_checkpoint()
    checkpoint["channel_values"] = {"v": value}
    version = saver.get_next_version(None, None)
    checkpoint["channel_versions"] = {"v": version}
    entries: Any = {"source": "loop", "step": 1, "parents": {}, "m": metadata}
    at = await saver.aput(at, checkpoint, entries, {"v": version})
    await saver.aput_writes(at, [("v", value)], str(uuid.uuid4()))
    loaded = await saver.aget_tuple(at)
    return [
        loaded.checkpoint["channel_values"]["v"],
        loaded.pending_writes[0][2],
        loaded.metadata["m"],
    ]


@pytest.mark.parametrize("wrap", range(len(WRAPPED)))
async def test_json_that_looks_like_an_object_stays_json(saver: Any, wrap: int) -> None:
    for forged in FORGED:
        value = WRAPPED[wrap](forged)
        CALLS.clear()
        state, write, metadata = await stored_and_loaded(saver, value, [forged])
        assert state == write == value
        assert type(state) is type(write) is type(value)
        assert metadata == [forged]
        assert not CALLS
    assert "venv.__main__" not in sys.modules
    assert "antigravity" not in sys.modules


async def test_objects_are_still_objects(saver: Any) -> None:
    for value in (
        Plan([1]),
        [Plan(Plan({"a": 1}))],
        {"set": {1, 2}},
        AIMessage(
            "a", tool_calls=[{"name": "f", "args": {"lc": 1}, "id": "c", "type": "tool_call"}]
        ),
        Send("n", {"x": [HumanMessage("m")]}),
        Interrupt(value={"q": 1}, id="i"),
    ):
        state, write, _ = await stored_and_loaded(saver, value)
        assert state == write == value


async def test_an_object_that_the_library_stored_is_read_and_calls_no_other_class(
    saver: Any,
) -> None:
    load = saver.inner.serde._revive_if_needed
    assert load(constructor(__name__, "Plan")) == Plan(1)
    CALLS.clear()
    for module in ("venv.__main__", "this.__main__"):
        load(constructor(module, "Plan"))
        assert module not in sys.modules
    load(constructor(__name__, "stored_and_loaded"))
    assert not CALLS
