"""Schemas, drawings and subgraphs of an assistant's graph."""

from typing import Any

import httpx

from api.requests import detail
from api.thread_state import COVERED_FIELDS, covers
from millstream.api.assistants.schemas import (
    DrawQuery,
    SubgraphsQuery,
)
from millstream.shared.assistants import default_assistant_id

STEPS_ID = default_assistant_id("steps")


async def test_a_graph_is_drawn_by_its_name_too(http: httpx.AsyncClient) -> None:
    [nested] = (await http.post("/assistants/search", json={"graph_id": "nested"})).json()[:1]
    for tail in ("/schemas", "/graph?xray=1", "/subgraphs", "/subgraphs/child"):
        by_name, by_id = [
            await http.get(f"/assistants/{name}{tail}")
            for name in ("nested", nested["assistant_id"])
        ]
        assert by_name.status_code == 200
        assert by_name.json() == by_id.json()


async def test_the_schemas_of_a_graph_are_returned(http: httpx.AsyncClient) -> None:
    schemas = (await http.get(f"/assistants/{STEPS_ID}/schemas")).json()
    assert schemas["graph_id"] == "steps"
    for name in ("input_schema", "output_schema", "state_schema"):
        assert schemas[name]["properties"]["items"]["type"] == "array", name
    assert (schemas["config_schema"], schemas["context_schema"]) == ({}, None)


async def test_the_schema_of_a_context_is_returned(web: httpx.AsyncClient) -> None:
    schemas = (await web.get(f"/assistants/{default_assistant_id('probe')}/schemas")).json()
    for name in ("config_schema", "context_schema"):
        assert schemas[name]["properties"].keys() == {"user", "level", "extras"}
    odd = (await web.get(f"/assistants/{default_assistant_id('odd')}/schemas")).json()
    assert odd["state_schema"]["properties"].keys() == {"stored", "done"}


@covers(DrawQuery, "xray")
async def test_a_graph_is_drawn(http: httpx.AsyncClient) -> None:
    path = f"/assistants/{default_assistant_id('nested')}/graph"

    async def nodes(**query: Any) -> set[str]:
        response = await http.get(path, params=query)
        assert response.status_code == 200, response.text
        return {node["id"] for node in response.json()["nodes"]}

    flat = {"__start__", "pre", "child", "post", "__end__"}
    assert await nodes() == await nodes(xray="false") == flat
    deep = flat - {"child"} | {"child:c1", "child:c2"}
    assert await nodes(xray="true") == await nodes(xray=1) == await nodes(xray=5) == deep
    edges = (await http.get(path)).json()["edges"]
    assert {"source": "__start__", "target": "pre"} in edges
    for xray in ("much", -1, 1000):
        response = await http.get(path, params={"xray": xray})
        assert (response.status_code, "xray" in detail(response)) == (422, True)


@covers(SubgraphsQuery, "recurse")
async def test_subgraphs_are_listed(http: httpx.AsyncClient) -> None:
    path = f"/assistants/{default_assistant_id('nested')}/subgraphs"
    for tail in ("", "/child", "?recurse=true", "/child?recurse=true"):
        schemas = (await http.get(f"{path}{tail}")).json()
        assert list(schemas) == ["child"]
        assert schemas["child"]["state_schema"]["properties"]
    assert (await http.get(f"/assistants/{STEPS_ID}/subgraphs")).json() == {}
    response = await http.get(f"{path}/nobody")
    assert (response.status_code, detail(response)[:9]) == (422, "namespace")
    response = await http.get(path, params={"recurse": "deep"})
    assert (response.status_code, "recurse" in detail(response)) == (422, True)


def test_every_field_is_tested() -> None:
    for model in (DrawQuery, SubgraphsQuery):
        assert COVERED_FIELDS[model] == set(model.model_fields), model
