"""Default assistants, /ok and /info, and the OpenAPI document."""

import json
import re
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from api.requests import DESCRIBED, UNKNOWN_ID, System
from harness.processes import EXAMPLES
from millstream.api.app import create_app
from millstream.api.http.endpoint import Endpoint
from millstream.api.http.openapi import describe
from millstream.api.reference import REFERENCE, SUBJECTS
from millstream.api.routes import ENDPOINTS
from millstream.shared.assistants import default_assistant_id
from millstream.shared.settings import Settings

GRAPHS = set(json.loads(EXAMPLES.read_text())["graphs"])
# Query parameters that are required.
REQUIRED = {"/store/items": {"namespace", "key"}}
ASSISTANT = {
    "assistant_id", "graph_id", "config", "context", "metadata", "name", "created_at",
    "updated_at", "version", "description",
}  # fmt: skip


async def search(http: httpx.AsyncClient, **query: Any) -> list[dict[str, Any]]:
    response = await http.post("/assistants/search", json={"limit": 100, **query})
    assert response.status_code == 200, response.text
    listed = response.json()
    assert isinstance(listed, list)
    return listed


def ids(assistants: list[dict[str, Any]]) -> list[str]:
    return [str(assistant["assistant_id"]) for assistant in assistants]


# ── Assistants ──────────────────────────────────────────────────────────────────────────────


async def test_every_graph_has_an_assistant(http: httpx.AsyncClient) -> None:
    listed = await search(http)
    assert {assistant["graph_id"] for assistant in listed} == GRAPHS
    for assistant in listed:
        name = assistant["graph_id"]
        assert set(assistant) == ASSISTANT
        assert assistant == {
            "assistant_id": default_assistant_id(name),
            "graph_id": name,
            "name": name,
            "config": {},
            "context": {},
            "metadata": {"created_by": "system"},
            "version": 1,
            "description": None,
            "created_at": assistant["created_at"],
            "updated_at": assistant["created_at"],
        }
    # The ids are those of every other server of this API.
    assert default_assistant_id("chat") == "eb6db400-e3c8-5d06-a834-015cb89efe69"


async def test_an_assistant_is_read_by_id(http: httpx.AsyncClient) -> None:
    [chat] = await search(http, graph_id="chat")
    assert (await http.get(f"/assistants/{chat['assistant_id']}")).json() == chat
    assert (await http.get(f"/assistants/{UNKNOWN_ID}")).status_code == 404
    assert (await http.get("/assistants/chat")).status_code == 422


@pytest.mark.parametrize(
    ("query", "graphs"),
    [
        ({"graph_id": "chat"}, {"chat"}),
        ({"graph_id": "nope"}, set()),
        ({"name": "CHAT"}, {"chat", "nested_chat"}),
        ({"name": "nest"}, {"nested", "nested_chat"}),
        ({"name": "chat", "graph_id": "nested_chat"}, {"nested_chat"}),
        ({"name": ""}, GRAPHS),
        ({"metadata": {"created_by": "system"}}, GRAPHS),
        ({"metadata": {"created_by": "me"}}, set()),
        ({"metadata": {"other": None}}, set()),
        ({"metadata": {"created_by": {"a": []}}}, set()),
    ],
)
async def test_assistants_are_filtered(
    http: httpx.AsyncClient, query: dict[str, Any], graphs: set[str]
) -> None:
    assert {assistant["graph_id"] for assistant in await search(http, **query)} == graphs


async def test_assistants_are_sorted(http: httpx.AsyncClient) -> None:
    for field in ("assistant_id", "created_at", "updated_at", "name", "graph_id"):
        up = await search(http, sort_by=field, sort_order="asc")
        order = [(assistant[field], assistant["assistant_id"]) for assistant in up]
        assert order == sorted(order)
        assert await search(http, sort_by=field, sort_order="desc") == up[::-1]
        assert await search(http, sort_by=field) == up[::-1]
    assert await search(http) == await search(http, sort_by="created_at", sort_order="desc")


async def test_assistants_are_listed_in_pages(http: httpx.AsyncClient) -> None:
    everything = await search(http)
    total, seen, offset = len(everything), [], 0
    while True:
        query = {"limit": 4, "offset": offset}
        page = await http.post("/assistants/search", json=query)
        assert page.headers["x-pagination-total"] == str(total)
        seen += page.json()
        following = page.headers.get("x-pagination-next")
        if following is None:
            break
        assert following == str(offset + 4)
        offset = int(following)
    assert seen == everything
    assert len((await http.post("/assistants/search", json={})).json()) == min(10, total)
    past = await http.post("/assistants/search", json={"offset": 1000})
    assert (past.json(), past.headers["x-pagination-total"]) == ([], str(total))
    assert "x-pagination-next" not in past.headers


async def test_select_limits_the_fields_of_an_assistant(http: httpx.AsyncClient) -> None:
    rows = await search(http, graph_id="chat", select=["graph_id", "version"])
    assert rows == [{"graph_id": "chat", "version": 1}]
    [row] = await search(http, graph_id="chat", select=[])
    assert set(row) == ASSISTANT


# ── The server ──────────────────────────────────────────────────────────────────────────────


async def test_ok_and_info_describe_the_server(http: httpx.AsyncClient) -> None:
    for path in ("/ok", "/ok?check_db=1"):
        assert (await http.get(path)).json() == {
            "ok": True,
            "services": {"redis": "healthy", "workers": "healthy"},
        }
    info = (await http.get("/info")).json()
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", info["version"])
    assert info["flags"]["assistants"] is True
    assert info["flags"]["crons"] is True


# ── openapi.json ────────────────────────────────────────────────────────────────────────────


async def test_openapi_has_every_route(http: httpx.AsyncClient, system: System) -> None:
    document = (await http.get("/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == (await http.get("/info")).json()["version"]
    described = {
        (method.upper(), path) for path, item in document["paths"].items() for method in item
    }
    app = create_app(Settings(redis_url=system.fleet.redis_url))
    routed = {
        (method, route.path)
        for route in app.routes
        if isinstance(route, Route)  # OpenAPI knows no WebSockets
        for method in (route.methods or set()) - {"HEAD"}
    }
    page = {("GET", "/openapi.json"), ("GET", "/docs"), ("GET", "/docs/{file}")}
    assert described == routed - page
    assert described == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}


@pytest.mark.parametrize(
    ("tag", "paths"),
    [
        ("a2a", r"/a2a/.*|/\.well-known/agent-card\.json"),
        ("agent_protocol", r"/agents/.*|/runs/search|.*/runs/{run_id}/wait|/runs/{run_id}/wait"),
        ("assistants", r"/assistants.*"),
        ("crons", r".*/runs/crons.*|/runs/crons.*"),
        ("health", r"/ok|/info"),
        ("mcp", r"/mcp/?"),
        ("ops", r"/ops/.*|/metrics"),
        ("protocol", r"/threads/{thread_id}/(commands|stream/events|stream)"),
        ("runs", r"(/threads/{thread_id})?/runs.*"),
        ("store", r"/store/.*"),
        ("threads", r"/threads(?!.*/runs).*"),
        ("ui", r"/ui/.*"),
    ],
)
def test_openapi_lists_each_route_under_its_subject(tag: str, paths: str) -> None:
    operations = [
        (path, operation)
        for path, item in describe(ENDPOINTS, REFERENCE)["paths"].items()
        for operation in item.values()
    ]
    tagged = [path for path, operation in operations if operation["tags"] == [SUBJECTS[tag].name]]
    assert tagged
    assert [path for path in tagged if not re.fullmatch(paths, path)] == []


def test_openapi_has_one_tag_per_subject() -> None:
    assert {endpoint.tag for endpoint in ENDPOINTS} == {
        "a2a", "agent_protocol", "assistants", "crons", "health", "mcp", "ops", "protocol", "runs", "store",
        "threads", "ui",
    }  # fmt: skip


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: f"{each.method} {each.path}")
def test_openapi_summaries_are_sentences(endpoint: Endpoint) -> None:
    """A summary begins with a verb, such as "Returns", and is one line of `/docs`."""
    assert re.fullmatch(r"(Not supported|[A-Z][a-z]+s)\b.*[.:]", endpoint.summary)
    assert endpoint.path not in endpoint.summary


async def test_openapi_references_are_complete(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    responses = document["components"]["responses"]
    refs = set(re.findall(r'"\$ref": ?"([^"]+)"', json.dumps(document)))
    components = {f"#/components/schemas/{name}" for name in schemas}
    components |= {f"#/components/responses/{name}" for name in responses}
    assert refs <= components
    operations = [(p, m, op) for p, item in document["paths"].items() for m, op in item.items()]
    names = [operation["operationId"] for _, _, operation in operations]
    assert len(names) == len(set(names))
    for path, method, operation in operations:
        assert method in ("get", "post", "put", "patch", "delete")
        assert operation["summary"]
        path_params = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert path_params == set(re.findall(r"{(\w+)}", path))
        required = {p["name"] for p in operation["parameters"] if p["required"]}
        assert required == path_params | (REQUIRED.get(path, set()) if method == "get" else set())
        assert all(set(p) >= {"name", "in", "schema"} for p in operation["parameters"])
        assert {"404", "409", "422", "503"} <= operation["responses"].keys()
        for answer in operation["responses"].values():
            assert (responses[answer["$ref"].rpartition("/")[2]] if "$ref" in answer else answer)[
                "description"
            ]
        takes_body = method in ("post", "put", "patch") or (method, path) == (
            "delete",
            "/store/items",
        )
        assert takes_body >= ("requestBody" in operation)


async def test_openapi_has_every_field(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    for path, model in DESCRIBED.items():
        operation = document["paths"][path.replace("{thread}", "{thread_id}")]["post"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        name = schema["$ref"].rpartition("/")[2]
        assert name == model.__name__
        assert set(schemas[name]["properties"]) == set(model.model_fields)
        required = {f for f, info in model.model_fields.items() if info.is_required()}
        assert set(schemas[name].get("required", [])) == required
    for endpoint in ENDPOINTS:
        if endpoint.query is not None:
            operation = document["paths"][endpoint.path][endpoint.method.lower()]
            described = {p["name"] for p in operation["parameters"] if p["in"] == "query"}
            assert described == set(endpoint.query.model_fields)


async def test_openapi_describes_the_responses(http: httpx.AsyncClient, thread: str) -> None:
    document = (await http.get("/openapi.json")).json()
    base = f"/threads/{thread}"
    body = {"assistant_id": "steps", "input": {"items": []}}
    run = (await http.post(f"{base}/runs", json=body)).headers["content-location"]
    await http.get(f"{run}/join")
    [chat] = await search(http, graph_id="chat")
    for template, path in {
        "/threads/{thread_id}/runs/{run_id}": run,
        "/threads/{thread_id}": base,
        "/threads/{thread_id}/state": f"{base}/state",
        "/threads/{thread_id}/state/{checkpoint_id}": f"{base}/state/{UNKNOWN_ID}",
        "/assistants/{assistant_id}": f"/assistants/{chat['assistant_id']}",
    }.items():
        content = document["paths"][template]["get"]["responses"]["200"]["content"]
        ref = content["application/json"]["schema"]["$ref"]
        schema = document["components"]["schemas"][ref.rpartition("/")[2]]
        raw = (await http.get(path)).json()
        assert set(schema["required"]) <= set(raw), path
        assert set(raw) - set(schema["properties"]) <= {"langsmith_session_name"}, path
