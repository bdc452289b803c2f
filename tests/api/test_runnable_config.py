"""Every entry of a RunnableConfig has an effect, or is refused by its name; wherever a config is given."""

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


def shows(*entries: str) -> Callable[[Test], Test]:
    """Notes that a test shows the effect of these entries."""

    def note(test: Test) -> Test:
        for entry in entries:
            EFFECTIVE.setdefault(entry, []).append(test.__name__)
        return test

    return note


def test_no_entry_is_left_out() -> None:
    known = {*RunnableConfig.__annotations__, *Config.__annotations__}
    assert {*EFFECTIVE, *REFUSED} == known


async def seen(web: httpx.AsyncClient, graph: str, **fields: Any) -> dict[str, Any]:
    """Runs a graph that tells what its node found in its config."""
    answer = await web.post("/runs/wait", json={"assistant_id": graph, "input": {}, **fields})
    found = answer.json()["seen"]
    assert isinstance(found, dict)
    return found


async def run_at_once(
    web: httpx.AsyncClient, graph: str, expected: int, config: dict[str, Any] | None = None
) -> None:
    """Checks how many of six tasks run at a time."""
    body = {"assistant_id": graph, "input": {"expected": expected}, "config": config}
    assert max((await web.post("/runs/wait", json=body)).json()["at_once"]) == expected


async def name_of(web: httpx.AsyncClient, graph: str, **fields: Any) -> str:
    """Returns the name under which a run's first step is traced."""
    given: Any = {"expected": 1}
    body = {"assistant_id": graph, "input": given, "stream_mode": ["events"], **fields}
    first = events(await web.post("/runs/stream", json=body), "events")[0]
    assert first["event"] == "on_chain_start"
    return str(first["name"])


# ── What a run asks for ─────────────────────────────────────────────────────────────────────


@shows("max_concurrency")
async def test_the_tasks_that_run_at_a_time(web: httpx.AsyncClient) -> None:
    await run_at_once(web, "fan", 6)
    for most in (1, 2, 5):
        await run_at_once(web, "fan", most, {"max_concurrency": most})
    await run_at_once(web, "fan", 6, {"max_concurrency": 0})
    await run_at_once(web, "bound_fan", 3)
    await run_at_once(web, "bound_fan", 2, {"max_concurrency": 2})


@shows("run_name")
async def test_the_name_of_a_run(web: httpx.AsyncClient) -> None:
    assert await name_of(web, "configured") == "configured"
    assert await name_of(web, "configured", config={"run_name": "mine"}) == "mine"
    assert await name_of(web, "bound") == "its own name"
    assert await name_of(web, "bound", config={"run_name": "mine"}) == "mine"


@shows("tags", "metadata", "recursion_limit", "configurable")
async def test_what_a_graph_is_bound_to_comes_under_the_request(web: httpx.AsyncClient) -> None:
    bare = await seen(web, "bound")
    assert "bound" in bare["tags"]
    assert (bare["recursion_limit"], bare["max_concurrency"]) == (60, 5)
    for part in ("metadata", "configurable"):
        assert (bare[part]["bound"], bare[part]["both"]) == ("graph", "graph")
    mine = {"mine": "run", "both": "run"}
    given = {"tags": ["mine"], "recursion_limit": 9, "metadata": mine, "configurable": mine}
    asked = await seen(web, "bound", config=given)
    assert {"mine", "bound"} <= set(asked["tags"])
    assert asked["recursion_limit"] == 9
    for part in ("metadata", "configurable"):
        found = {name: asked[part][name] for name in ("bound", "both", "mine")}
        assert found == {"bound": "graph", "both": "run", "mine": "run"}


@shows("recursion_limit")
async def test_a_limit_of_any_size(web: httpx.AsyncClient) -> None:
    for limit in (2, 2**31, 2**53, 2**62):
        found = await seen(web, "configured", config={"recursion_limit": limit})
        assert found["recursion_limit"] == limit


@shows("configurable")
async def test_other_entries_are_those_of_configurable(web: httpx.AsyncClient) -> None:
    config = {"mode": "strict", "level": {"a": [1]}, "configurable": {"own": 1, "mode": "loose"}}
    found = (await seen(web, "configured", config=config))["configurable"]
    assert (found["mode"], found["level"], found["own"]) == ("strict", {"a": [1]}, 1)


async def test_langchain_js_spells_them_in_its_own_way(web: httpx.AsyncClient) -> None:
    config = {"recursionLimit": 9, "maxConcurrency": 2}
    found = await seen(web, "configured", config=config)
    assert (found["recursion_limit"], found["max_concurrency"]) == (9, 2)
    assert not config.keys() & found["configurable"].keys()
    assert await name_of(web, "configured", config={"runName": "mine"}) == "mine"
    both = {"recursionLimit": 9, "recursion_limit": 8}
    body = {"assistant_id": "configured", "config": both}
    assert "recursion_limit" in detail(await web.post("/runs", json=body))


async def test_what_only_a_server_says_of_who_asks(web: httpx.AsyncClient) -> None:
    claimed = {"langgraph_auth_user": {"identity": "root"}, "langgraph_auth_permissions": ["all"]}
    for field in ({"config": {"configurable": claimed}}, {"context": claimed}):
        found = await seen(web, "configured", **field)
        assert not claimed.keys() & found["configurable"].keys()


# ── Where a config may be given ─────────────────────────────────────────────────────────────


PLACES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
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
@pytest.mark.parametrize("place", PLACES)
async def test_what_is_refused_is_named_everywhere(
    web: httpx.AsyncClient, thread: str, place: str, entry: str
) -> None:
    body = PLACES[place]({entry: REFUSED[entry]})
    answer = await web.post(place.format(thread=thread), json=body)
    assert answer.status_code == 422, answer.text
    assert f"config.{entry}: " in detail(answer)


@pytest.mark.parametrize("entry", sorted(REFUSED))
async def test_a_commands_config_is_no_exception(
    web: httpx.AsyncClient, thread: str, entry: str
) -> None:
    params = {"assistant_id": "fan", "config": {entry: REFUSED[entry]}}
    body = {"id": 1, "method": "run.start", "params": params}
    answer = (await web.post(f"/threads/{thread}/commands", json=body)).json()
    assert answer["error"] == "invalid_argument"
    assert f"config.{entry}: " in answer["message"]


async def test_no_callbacks_are_nothing_to_refuse(web: httpx.AsyncClient) -> None:
    empty: Any
    for empty in ([], {}, None):
        await run_at_once(web, "fan", 6, {"callbacks": empty})


async def test_an_assistants_config_holds_for_its_runs(web: httpx.AsyncClient) -> None:
    config = {"max_concurrency": 2, "run_name": "of assistant", "mode": "m"}
    made = (await web.post("/assistants", json={"graph_id": "fan", "config": config})).json()
    assert made["config"] == {
        "max_concurrency": 2, "run_name": "of assistant", "configurable": {"mode": "m"},
    }  # fmt: skip
    name = made["assistant_id"]
    await run_at_once(web, name, 2)
    await run_at_once(web, name, 4, {"max_concurrency": 4})
    assert await name_of(web, name) == "of assistant"
    await web.patch(f"/assistants/{name}", json={"config": {"maxConcurrency": 3}})
    await run_at_once(web, name, 3)
    refused = await web.patch(f"/assistants/{name}", json={"config": {"callbacks": [1]}})
    assert "config.callbacks: " in detail(refused)
    await web.delete(f"/assistants/{name}")
