"""Every entry of a RunnableConfig has an effect or is rejected by name, in every request with a config."""

import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import httpx
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph_sdk.schema import Config

from api.requests import detail
from api.run_fields import events

Test = TypeVar("Test", bound=Callable[..., Any])
EFFECTIVE: dict[str, list[str]] = {}  # entry → the tests that show its effect
REFUSED = {"callbacks": [{"on_llm_start": 1}], "run_id": str(uuid.uuid4())}


def covers(*entries: str) -> Callable[[Test], Test]:
    """Records that a test covers these entries."""

    def note(test: Test) -> Test:
        for entry in entries:
            EFFECTIVE.setdefault(entry, []).append(test.__name__)
        return test

    return note


def test_every_entry_is_tested() -> None:
    known = {*RunnableConfig.__annotations__, *Config.__annotations__}
    assert {*EFFECTIVE, *REFUSED} == known


async def seen(web: httpx.AsyncClient, graph: str, **fields: Any) -> dict[str, Any]:
    """Runs a graph that returns the config of its node."""
    answer = await web.post("/runs/wait", json={"assistant_id": graph, "input": {}, **fields})
    seen_config = answer.json()["seen"]
    assert isinstance(seen_config, dict)
    return seen_config


async def run_at_once(
    web: httpx.AsyncClient, graph: str, expected: int, config: dict[str, Any] | None = None
) -> None:
    """Returns how many of six tasks run at once."""
    body = {"assistant_id": graph, "input": {"expected": expected}, "config": config}
    assert max((await web.post("/runs/wait", json=body)).json()["at_once"]) == expected


async def name_of(web: httpx.AsyncClient, graph: str, **fields: Any) -> str:
    """Returns the trace name of a run's first step."""
    context_value: Any = {"expected": 1}
    body = {"assistant_id": graph, "input": context_value, "stream_mode": ["events"], **fields}
    first = events(await web.post("/runs/stream", json=body), "events")[0]
    assert first["event"] == "on_chain_start"
    return str(first["name"])


# ── What a run asks for ─────────────────────────────────────────────────────────────────────


@covers("max_concurrency")
async def test_max_concurrency_limits_concurrent_tasks(web: httpx.AsyncClient) -> None:
    await run_at_once(web, "fan", 6)
    for concurrency in (1, 2, 5):
        await run_at_once(web, "fan", concurrency, {"max_concurrency": concurrency})
    await run_at_once(web, "fan", 6, {"max_concurrency": 0})
    await run_at_once(web, "bound_fan", 3)
    await run_at_once(web, "bound_fan", 2, {"max_concurrency": 2})


@covers("run_name")
async def test_run_name_names_the_trace(web: httpx.AsyncClient) -> None:
    assert await name_of(web, "configured") == "configured"
    assert await name_of(web, "configured", config={"run_name": "mine"}) == "mine"
    assert await name_of(web, "bound") == "its own name"
    assert await name_of(web, "bound", config={"run_name": "mine"}) == "mine"


@covers("tags", "metadata", "recursion_limit", "configurable")
async def test_the_request_overrides_a_bound_config(web: httpx.AsyncClient) -> None:
    bare = await seen(web, "bound")
    assert "bound" in bare["tags"]
    assert (bare["recursion_limit"], bare["max_concurrency"]) == (60, 5)
    for part in ("metadata", "configurable"):
        assert (bare[part]["bound"], bare[part]["both"]) == ("graph", "graph")
    mine = {"mine": "run", "both": "run"}
    context_value = {"tags": ["mine"], "recursion_limit": 9, "metadata": mine, "configurable": mine}
    seen_bound = await seen(web, "bound", config=context_value)
    assert {"mine", "bound"} <= set(seen_bound["tags"])
    assert seen_bound["recursion_limit"] == 9
    for part in ("metadata", "configurable"):
        seen_config = {name: seen_bound[part][name] for name in ("bound", "both", "mine")}
        assert seen_config == {"bound": "graph", "both": "run", "mine": "run"}


@covers("recursion_limit")
async def test_recursion_limit_accepts_any_size(web: httpx.AsyncClient) -> None:
    for limit in (2, 2**31, 2**53, 2**62):
        seen_config = await seen(web, "configured", config={"recursion_limit": limit})
        assert seen_config["recursion_limit"] == limit


@covers("configurable")
async def test_other_entries_go_to_configurable(web: httpx.AsyncClient) -> None:
    config = {"mode": "strict", "level": {"a": [1]}, "configurable": {"own": 1, "mode": "loose"}}
    seen_config = (await seen(web, "configured", config=config))["configurable"]
    assert (seen_config["mode"], seen_config["level"], seen_config["own"]) == (
        "strict",
        {"a": [1]},
        1,
    )


async def test_camel_case_entries_are_accepted(web: httpx.AsyncClient) -> None:
    config = {"recursionLimit": 9, "maxConcurrency": 2}
    seen_config = await seen(web, "configured", config=config)
    assert (seen_config["recursion_limit"], seen_config["max_concurrency"]) == (9, 2)
    assert not config.keys() & seen_config["configurable"].keys()
    assert await name_of(web, "configured", config={"runName": "mine"}) == "mine"
    both = {"recursionLimit": 9, "recursion_limit": 8}
    body = {"assistant_id": "configured", "config": both}
    assert "recursion_limit" in detail(await web.post("/runs", json=body))


async def test_reserved_entries_about_the_user_are_dropped(web: httpx.AsyncClient) -> None:
    claimed = {"langgraph_auth_user": {"identity": "root"}, "langgraph_auth_permissions": ["all"]}
    for field in ({"config": {"configurable": claimed}}, {"context": claimed}):
        seen_config = await seen(web, "configured", **field)
        assert not claimed.keys() & seen_config["configurable"].keys()


# ── Where a config may be given ─────────────────────────────────────────────────────────────


SOURCES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "/threads/{thread}/runs": lambda config: {"assistant_id": "fan", "config": config},
    "/threads/{thread}/runs/wait": lambda config: {"assistant_id": "fan", "config": config},
    "/runs/stream": lambda config: {"assistant_id": "fan", "config": config},
    "/runs/batch": lambda config: [{"assistant_id": "fan", "config": config}],  # type: ignore[dict-item,return-value]
    "/assistants": lambda config: {"graph_id": "fan", "config": config},
    "/runs/crons": lambda config: {
        "assistant_id": "fan", "schedule": "0 0 1 1 *", "config": config,
    },
    "/threads/{thread}/runs/crons": lambda config: {
        "assistant_id": "fan", "schedule": "0 0 1 1 *", "config": config,
    },
}  # fmt: skip


@pytest.mark.parametrize("entry", sorted(REFUSED))
@pytest.mark.parametrize("source", SOURCES)
async def test_an_invalid_entry_is_named_in_every_request(
    web: httpx.AsyncClient, thread: str, source: str, entry: str
) -> None:
    body = SOURCES[source]({entry: REFUSED[entry]})
    answer = await web.post(source.format(thread=thread), json=body)
    assert answer.status_code == 422, answer.text
    assert f"config.{entry}: " in detail(answer)


@pytest.mark.parametrize("entry", sorted(REFUSED))
async def test_the_config_of_a_command_is_checked_too(
    web: httpx.AsyncClient, thread: str, entry: str
) -> None:
    params = {"assistant_id": "fan", "config": {entry: REFUSED[entry]}}
    body = {"id": 1, "method": "run.start", "params": params}
    answer = (await web.post(f"/threads/{thread}/commands", json=body)).json()
    assert answer["error"] == "invalid_argument"
    assert f"config.{entry}: " in answer["message"]


async def test_empty_callbacks_are_accepted(web: httpx.AsyncClient) -> None:
    empty: Any
    for empty in ([], {}, None):
        await run_at_once(web, "fan", 6, {"callbacks": empty})


async def test_the_config_of_an_assistant_applies_to_its_runs(web: httpx.AsyncClient) -> None:
    config = {"max_concurrency": 2, "run_name": "of assistant", "mode": "m"}
    assistant = (await web.post("/assistants", json={"graph_id": "fan", "config": config})).json()
    assert assistant["config"] == {
        "max_concurrency": 2, "run_name": "of assistant", "configurable": {"mode": "m"},
    }  # fmt: skip
    name = assistant["assistant_id"]
    await run_at_once(web, name, 2)
    await run_at_once(web, name, 4, {"max_concurrency": 4})
    assert await name_of(web, name) == "of assistant"
    await web.patch(f"/assistants/{name}", json={"config": {"maxConcurrency": 3}})
    await run_at_once(web, name, 3)
    refused = await web.patch(f"/assistants/{name}", json={"config": {"callbacks": [1]}})
    assert "config.callbacks: " in detail(refused)
    await web.delete(f"/assistants/{name}")
