"""`/openapi.json` is a valid document that describes everything, and `/docs` serves its page and nothing else."""

import gzip
import json
import re
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.requests import Serve
from millstream.api.http.docs_page import FILES, FOLDER
from millstream.api.http.openapi import add_security, describe
from millstream.api.reference import REFERENCE, SUBJECTS
from millstream.api.routes import ENDPOINTS, RUNS, enabled_endpoints
from millstream.shared.langgraph_json.auth import OpenApiSecurity
from millstream.shared.langgraph_json.http import HttpSettings

DOCUMENT = describe(ENDPOINTS, REFERENCE)
OPERATION_IDS = Path(__file__).with_name("operation_ids.txt")
OPERATIONS = [
    (f"{method.upper()} {path}", operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]


def undescribed(schema: Any, at: str) -> list[str]:
    """Returns the paths of the properties without a description, at all depths."""
    if isinstance(schema, list):
        return [path for part in schema for path in undescribed(part, at)]
    if not isinstance(schema, dict):
        return []
    properties = schema.get("properties", {})
    missing = [f"{at}.{name}" for name, each in properties.items() if not each.get("description")]
    for name, part in schema.items():
        if name == "properties":
            missing += [
                p for field, each in part.items() for p in undescribed(each, f"{at}.{field}")
            ]
        elif name not in ("example", "examples", "default"):
            missing += undescribed(part, at)
    return missing


async def test_the_document_is_valid_openapi(http: httpx.AsyncClient) -> None:
    validator = pytest.importorskip("openapi_spec_validator", reason="make test installs it")
    validator.OpenAPIV31SpecValidator((await http.get("/openapi.json")).json()).validate()


def test_the_projects_security_is_in_the_document() -> None:
    document = describe(ENDPOINTS, REFERENCE)
    scheme = {"type": "http", "scheme": "bearer"}
    security = OpenApiSecurity(
        securitySchemes={"Token": scheme},
        security=[{"Token": []}],
        paths={"/ok": {"GET": []}, "/threads": {"post": [{"Token": []}], "GET": []}},
    )
    assert add_security(document, security) == ["GET /threads"]
    assert document["components"]["securitySchemes"] == {"Token": scheme}
    assert document["security"] == [{"Token": []}]
    assert document["paths"]["/ok"]["get"]["security"] == []
    assert document["paths"]["/threads"]["post"]["security"] == [{"Token": []}]
    assert "security" not in document["paths"]["/threads/search"]["post"]


def test_every_field_and_parameter_is_described() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert [name for name, schema in schemas.items() if not schema.get("description")] == []
    assert [path for name, schema in schemas.items() for path in undescribed(schema, name)] == []
    for name, operation in OPERATIONS:
        assert [p["name"] for p in operation["parameters"] if not p["description"]] == [], name


def test_each_subject_is_described_and_runs_are_first() -> None:
    assert DOCUMENT["tags"][0]["name"] == "Runs"
    assert [tag["name"] for tag in DOCUMENT["tags"]] == [s.name for s in SUBJECTS.values()]
    assert all(tag["description"].endswith(".") for tag in DOCUMENT["tags"])
    subjects = list(dict.fromkeys(operation["tags"][0] for _, operation in OPERATIONS))
    assert subjects[0] == "Runs"
    # A disabled subject is not listed.
    http = HttpSettings(disable_store=True)
    tags = describe(enabled_endpoints(http), REFERENCE)["tags"]
    assert "Store" not in {tag["name"] for tag in tags}


def test_a_description_is_the_whole_docstring() -> None:
    operation = DOCUMENT["paths"]["/threads/{thread_id}/stream/events"]["post"]
    assert operation["summary"].startswith("Streams the events of the thread's runs")
    assert operation["description"].endswith("The thread need not exist yet.")


def test_a_stream_lists_its_events() -> None:
    for endpoint in RUNS:
        if endpoint.streams and endpoint.tag == "runs":
            operation = DOCUMENT["paths"][endpoint.path][endpoint.method.lower()]
            response = operation["responses"]["200"]
            for event in ("metadata", "values", "messages/partial", "error", "gap", "end"):
                assert f"`{event}`" in response["description"]
            assert response["content"]["text/event-stream"]["example"].startswith("event: metadata")


def test_operation_ids_stay() -> None:
    """Generated clients name their functions after them. A new route is a new line."""
    ids = {f"{operation['operationId']} {name}" for name, operation in OPERATIONS}
    assert ids == set(OPERATION_IDS.read_text().splitlines())


async def test_the_page_is_served_with_a_strict_policy(http: httpx.AsyncClient) -> None:
    response = await http.get("/docs")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    page = response.text
    files = re.findall(r"""(?:href|src)="(?!data:)([^"]+)""", page)
    # Relative, so that they are found below any prefix; and no script is in the page itself.
    assert set(files) == {f"docs/{name}" for name in FILES}
    assert re.findall(r"<script(?! src=\"[^\"]+\"></script>)", page) == []
    assert not re.search(r"\son\w+=|\sstyle=|<style", page)
    for path in ("docs", *files):
        served = await http.get(f"/{path}")
        assert served.status_code == 200
        policy = served.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert not re.search(r"https?:|\*", policy)
        assert served.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", FILES)
async def test_a_file_of_the_page_is_sent_as_it_is_stored(
    http: httpx.AsyncClient, name: str
) -> None:
    media_type, encoding = FILES[name]
    response = await http.get(f"/docs/{name}")
    assert response.headers["content-type"].startswith(media_type)
    assert response.headers.get("content-encoding", "") == encoding
    if encoding:
        assert response.content == gzip.decompress((FOLDER / f"{name}.gz").read_bytes())
    else:
        assert response.content == (FOLDER / name).read_bytes()


@pytest.mark.parametrize("name", ["LICENSE", "swagger-ui.css.gz", "..%2fdocs_page.py", "no.js"])
async def test_other_files_are_not_served(http: httpx.AsyncClient, name: str) -> None:
    response = await http.get(f"/docs/{name}")
    assert (response.status_code, response.json()) == (404, {"detail": "Not Found"})


async def test_the_page_and_its_files_lie_below_the_prefix(serve: Serve) -> None:
    async with serve({"mount_prefix": "/agents"}) as http:
        for path in ("docs", "openapi.json", *(f"docs/{name}" for name in FILES)):
            assert (await http.get(path)).status_code == 200, (
                path
            )  # the client's URL has the prefix
        origin = str(http.base_url).partition("/agents")[0]
        assert (await http.get(f"{origin}/docs")).status_code == 404


def test_the_licences_of_the_page_are_beside_it() -> None:
    assert "Apache License" in (FOLDER / "LICENSE").read_text()
    assert "SmartBear" in (FOLDER / "NOTICE").read_text()
    assert "@license" in (FOLDER / "swagger-ui-bundle.js.LICENSE.txt").read_text().lower()


def test_recorded_responses_name_no_machine() -> None:
    assert not re.search(
        rf"127\.0\.0\.1|localhost|\"{re.escape(socket.gethostname())}",
        json.dumps(dict(REFERENCE.answers)),
    )
