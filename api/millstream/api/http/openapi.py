"""Builds openapi.json from the endpoints and their models, and an HTML page of it that works offline."""

import html
import inspect
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from millstream.api.http.body import json_response
from millstream.api.http.public_url import public_url
from millstream.api.version import VERSION

Handler = Callable[[Request], Awaitable[Response]]
Document = Callable[[], dict[str, Any]]  # returns an OpenAPI document
PROBLEMS = {
    "404": "The resource does not exist.",
    "409": "The resource exists already, or is busy.",
    "422": "The request is invalid; `detail` names the field.",
    "503": "Redis, or a worker that the request needs, is unavailable; see `Retry-After`.",
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route, and the models of its request and response. Its handler's docstring describes it."""

    method: str
    path: str
    handler: Handler
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    answer: Any = None
    status: int = 200
    streams: bool = False

    @property
    def summary(self) -> str:
        """The first line of the handler's docstring, without the route."""
        line = (inspect.getdoc(self.handler) or "").splitlines()[0]
        return re.sub(r"^`[^`]*`:? ?", "", line) or f"{self.method} {self.path}"

    @property
    def tag(self) -> str:
        """The resource that the route belongs to."""
        return self.handler.__module__.split(".")[2].removesuffix("_routes")


def routes(endpoints: Sequence[Endpoint]) -> list[Route]:
    """Returns the routes of `/openapi.json` and `/docs`.

    The document includes the paths that `describe_too` adds.
    """
    cached: list[dict[str, Any]] = []

    def document(request: Request) -> dict[str, Any]:
        if not cached:
            cached.append(describe(endpoints))
            other: Document | None = getattr(request.app.state, "described", None)
            if other is not None:
                _join(cached[0], other())
        return {**cached[0], "servers": [{"url": public_url(request)}]}

    async def openapi_json(request: Request) -> Response:
        return json_response(document(request))

    async def docs(request: Request) -> Response:
        return HTMLResponse(page(document(request)))

    return [Route("/openapi.json", openapi_json), Route("/docs", docs)]


def describe_too(app: Starlette, document: Document) -> None:
    """Adds another application's paths to `/openapi.json` of this one."""
    app.state.described = document


def _join(document: dict[str, Any], other: dict[str, Any]) -> None:
    """Adds another document. Its paths replace equal ones, because its routes are served first."""
    document["paths"] |= other.get("paths", {})
    for kind, components in other.get("components", {}).items():
        known = document["components"].setdefault(kind, {})
        known |= {name: schema for name, schema in components.items() if name not in known}


def describe(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Returns the OpenAPI 3.1 document."""
    bodies = list(dict.fromkeys(e.body for e in endpoints if e.body is not None))
    template = "#/components/schemas/{model}"
    refs, definitions = models_json_schema(
        [(model, "validation") for model in bodies], ref_template=template
    )
    schemas: dict[str, Any] = dict(definitions.get("$defs", {}))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        operation: dict[str, Any] = {
            "summary": endpoint.summary,
            "tags": [endpoint.tag],
            "operationId": _operation_id(endpoint),
            "parameters": [
                {"name": name, "in": "path", "required": True,
                 "schema": {"type": "string", **({"format": "uuid"} if name[-3:] == "_id" else {})}}
                for name in re.findall(r"{(\w+)}", endpoint.path)
            ] + _query(endpoint, schemas, template),
            "responses": {str(endpoint.status): _success(endpoint, schemas, template)},
        }  # fmt: skip
        for status, text in PROBLEMS.items():
            operation["responses"][status] = {
                "description": text,
                "content": {
                    "application/json": {"schema": {"$ref": template.format(model="Problem")}}
                },
            }
        if endpoint.body is not None:
            operation["requestBody"] = {
                "required": True,
                "content": {"application/json": {"schema": refs[(endpoint.body, "validation")]}},
            }
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation
    schemas["Problem"] = {
        "type": "object",
        "required": ["detail"],
        "properties": {"detail": {"type": "string"}},
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Millstream", "version": VERSION},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _operation_id(endpoint: Endpoint) -> str:
    name = re.sub(r"[^a-z_]+", "_", endpoint.path)
    more = "slash" if endpoint.path.endswith("}/") else ""
    return f"{endpoint.method.lower()}_{name}{more}"


def _query(endpoint: Endpoint, schemas: dict[str, Any], template: str) -> list[dict[str, Any]]:
    parameters = []
    if endpoint.query is not None:
        schema = endpoint.query.model_json_schema(ref_template=template)
        schemas.update(schema.pop("$defs", {}))
        for name, field in schema.get("properties", {}).items():
            required = name in schema.get("required", [])
            parameters.append({"name": name, "in": "query", "required": required, "schema": field})
    if endpoint.streams and endpoint.method == "GET":
        parameters.append(
            {
                "name": "Last-Event-ID",
                "in": "header",
                "required": False,
                "description": "The id of the last event that the client has; `-1` or `0` for all events.",
                "schema": {"type": "string"},
            }
        )
    return parameters


def _success(endpoint: Endpoint, schemas: dict[str, Any], template: str) -> dict[str, Any]:
    if endpoint.status in (202, 204):
        return {"description": "Successful; the body is empty."}
    if endpoint.streams:
        return {
            "description": "Server-sent events.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    schema: dict[str, Any] = {}
    if endpoint.answer is not None:
        schema = TypeAdapter(endpoint.answer).json_schema(
            ref_template=template, mode="serialization", schema_generator=GenerateJsonSchema
        )
        schemas.update(schema.pop("$defs", {}))
    return {"description": "OK", "content": {"application/json": {"schema": schema}}}


def page(document: dict[str, Any]) -> str:
    """Returns the document as one HTML page without external resources."""
    sections = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            rows = "".join(_row(p["name"], p["in"], p["schema"]) for p in operation["parameters"])
            schema = (
                operation.get("requestBody", {})
                .get("content", {})
                .get("application/json", {})
                .get("schema", {})
            )
            model = document["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2])
            if model:
                rows += "".join(_row(n, "body", f) for n, f in model.get("properties", {}).items())
            table = (
                f"<table><tr><th>name<th>in<th>type<th>default</tr>{rows}</table>" if rows else ""
            )
            sections.append(
                f"<details><summary><b class={method}>{method.upper()}</b> "
                f"<code>{html.escape(path)}</code> <i>{html.escape(operation['summary'])}</i>"
                f"</summary>{table}</details>"
            )
    return PAGE.replace("{sections}", "\n".join(sections)).replace("{version}", VERSION)


def _row(name: str, location: str, schema: dict[str, Any]) -> str:
    default = "" if schema.get("default") is None else html.escape(repr(schema["default"]))
    return (
        f"<tr><td><code>{html.escape(name)}</code><td>{location}"
        f"<td>{html.escape(_type(schema))}<td>{default}</tr>"
    )


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(part) for part in schema["anyOf"]))
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return str(schema.get("type", "any"))


PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Millstream API</title>
<meta name="viewport" content="width=device-width">
<style>
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
details { border-bottom: 1px solid #8884; padding: .5rem 0; }
summary { cursor: pointer; } i { opacity: .75; font-style: normal; }
b { display: inline-block; min-width: 4.5rem; font: 600 .8rem monospace; }
.get { color: #2a7de1; } .post { color: #1a9f5b; } .delete { color: #d33; }
table { border-collapse: collapse; margin: .5rem 0 .5rem 4.5rem; font-size: .9rem; }
td, th { text-align: left; padding: .15rem .8rem .15rem 0; vertical-align: top; }
</style>
<h1>Millstream <small>{version}</small></h1>
<p>The LangGraph Platform API on Redis alone. Machine-readable: <a href="openapi.json">openapi.json</a>.</p>
{sections}
</html>
"""
