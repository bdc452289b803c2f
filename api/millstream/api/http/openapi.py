"""Builds openapi.json, an OpenAPI 3.1 document, from the endpoints, their models and a reference."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from millstream.api.http.endpoint import Endpoint
from millstream.api.version import VERSION
from millstream.shared.langgraph_json.auth import OpenApiSecurity

COMPONENT: Final = "#/components/schemas/{model}"
JSON: Final = "application/json"
EVENTS: Final = "text/event-stream"
# Names and texts of the errors, by status. Those of ANY_ROUTE can be the response of each route.
PROBLEMS: Final = {
    400: ("Refused", "The request is refused; `detail` says why."),
    404: ("NotFound", "The resource does not exist."),
    405: ("NotSupported", "The method is not supported here."),
    409: ("Conflict", "The resource exists already, or is busy."),
    413: ("TooLarge", "The request, or its response, is too large."),
    422: ("Invalid", "The request is invalid; `detail` names the field."),
    424: ("GraphFailed", "The code of the graph failed; `detail` has its error."),
    429: ("Overloaded", "The queue is full."),
    503: ("Unavailable", "Redis, or a worker that the request needs, is unavailable; see `Retry-After`."),
}  # fmt: skip
ANY_ROUTE: Final = (404, 409, 422, 503)


@dataclass(frozen=True, slots=True)
class Subject:
    """A group of operations: its name, what it is about, and the events of its streams."""

    name: str
    description: str
    stream: str = ""


@dataclass(frozen=True, slots=True)
class PathParameter:
    """A variable part of a path."""

    description: str
    example: str
    is_uuid: bool = True


@dataclass(frozen=True, slots=True)
class Example:
    """A request that works with the graphs of the examples. `path` has the parts that differ from the usual ones."""

    body: Any = None
    query: Mapping[str, Any] = field(default_factory=dict)
    path: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reference:
    """What the document says beyond the endpoints.

    Attributes:
        introduction: Markdown, above all operations.
        subjects: by the tag of their endpoints, in the order of the document.
        path_parameters: by name.
        examples: by method and path.
        answers: recorded responses to the examples, by `METHOD /path`; a text is an event stream.
        errors_of: returns the statuses of the errors that few routes have, such as 429.
    """

    introduction: str
    subjects: Mapping[str, Subject]
    path_parameters: Mapping[str, PathParameter]
    examples: Mapping[tuple[str, str], Example]
    answers: Mapping[str, Any]
    errors_of: Callable[[Endpoint], tuple[int, ...]]


class _Schemas(GenerateJsonSchema):
    """Without a title for each field, which only repeats its name."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


def describe(endpoints: Sequence[Endpoint], reference: Reference) -> dict[str, Any]:
    """Returns the document."""
    order = list(reference.subjects)
    ordered = sorted(endpoints, key=lambda endpoint: order.index(endpoint.tag))
    bodies_and_answers, definitions = TypeAdapter.json_schemas(
        [
            *(((e.method, e.path), "validation", TypeAdapter(e.body)) for e in ordered if e.body),
            *(
                ((e.method, e.path), "serialization", TypeAdapter(e.answer))
                for e in ordered
                if e.answer is not None
            ),
        ],
        ref_template=COMPONENT,
        schema_generator=_Schemas,
    )
    schemas: dict[str, Any] = definitions.get("$defs", {})
    schemas["Problem"] = {
        "type": "object",
        "description": "An error.",
        "required": ["detail"],
        "properties": {"detail": {"type": "string", "description": "What is wrong, and where."}},
    }
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ordered:
        key = (endpoint.method, endpoint.path)
        body = bodies_and_answers.get((key, "validation"))
        answer = bodies_and_answers.get((key, "serialization"), {})
        operation = _operation(endpoint, reference, schemas, body, answer)
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Millstream",
            "version": VERSION,
            "description": reference.introduction,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [
            {"name": subject.name, "description": subject.description}
            for tag, subject in reference.subjects.items()
            if any(endpoint.tag == tag for endpoint in ordered)
        ],
        "paths": paths,
        "components": {"schemas": schemas, "responses": _problems()},
    }


def add_document(document: dict[str, Any], other: dict[str, Any]) -> None:
    """Adds another document. Its paths replace equal ones, because its routes are served first."""
    document["paths"] |= other.get("paths", {})
    for kind, components in other.get("components", {}).items():
        known = document["components"].setdefault(kind, {})
        known |= {name: schema for name, schema in components.items() if name not in known}


def add_security(document: dict[str, Any], security: OpenApiSecurity) -> list[str]:
    """Adds what `auth.openapi` of langgraph.json says of credentials.

    Returns its operations (`METHOD /path`) that the document does not have.
    """
    schemes = document["components"].setdefault("securitySchemes", {})
    schemes |= security.securitySchemes
    if security.security:
        document["security"] = security.security
    unknown = []
    for path, methods in security.paths.items():
        for method, requirements in methods.items():
            operation = document["paths"].get(path, {}).get(method.lower())
            if operation is None:
                unknown.append(f"{method.upper()} {path}")
            else:
                operation["security"] = requirements
    return unknown


def _operation(
    endpoint: Endpoint,
    reference: Reference,
    schemas: dict[str, Any],
    body: Any,
    answer: Any,
) -> dict[str, Any]:
    subject = reference.subjects[endpoint.tag]
    example = reference.examples.get((endpoint.method, endpoint.path), Example())
    operation: dict[str, Any] = {
        "summary": endpoint.summary.replace("`", ""),  # plain text, unlike a description
        "tags": [subject.name],
        "operationId": _operation_id(endpoint),
        "parameters": [
            *_path_parameters(endpoint, reference, example),
            *_query_parameters(endpoint, schemas, example),
        ],
        "responses": {str(endpoint.status): _success(endpoint, subject, reference, answer)},
    }
    if endpoint.description:
        operation["description"] = endpoint.description
    if body is not None:
        media: dict[str, Any] = {"schema": body}
        if example.body is not None:
            media["example"] = example.body
        operation["requestBody"] = {"required": True, "content": {JSON: media}}
    with_body = (413,) if body is not None else ()
    for status in sorted({*ANY_ROUTE, *with_body, *reference.errors_of(endpoint)}):
        problem = {"$ref": f"#/components/responses/{PROBLEMS[status][0]}"}
        operation["responses"].setdefault(str(status), problem)
    return operation


def _operation_id(endpoint: Endpoint) -> str:
    name = re.sub(r"[^a-z_]+", "_", endpoint.path)
    more = "slash" if endpoint.path.endswith("}/") else ""
    return f"{endpoint.method.lower()}_{name}{more}"


def _path_parameters(
    endpoint: Endpoint, reference: Reference, example: Example
) -> list[dict[str, Any]]:
    parameters = []
    for name in re.findall(r"{(\w+)}", endpoint.path):
        parameter = reference.path_parameters[name]
        schema = {"type": "string", **({"format": "uuid"} if parameter.is_uuid else {})}
        parameters.append(
            {
                "name": name,
                "in": "path",
                "required": True,
                "description": parameter.description,
                "schema": schema,
                "example": example.path.get(name, parameter.example),
            }
        )
    return parameters


def _query_parameters(
    endpoint: Endpoint, schemas: dict[str, Any], example: Example
) -> list[dict[str, Any]]:
    parameters = []
    if endpoint.query is not None:
        schema = endpoint.query.model_json_schema(ref_template=COMPONENT, schema_generator=_Schemas)
        schemas.update(schema.pop("$defs", {}))
        for name, described in schema.get("properties", {}).items():
            parameter = {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", []),
                "description": described.pop("description", ""),
                "schema": _without_null(described),
            }
            if name in example.query:
                parameter["example"] = example.query[name]
            parameters.append(parameter)
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


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Returns the schema of a parameter, which is absent rather than null."""
    rest = {name: value for name, value in schema.items() if (name, value) != ("default", None)}
    kinds = [kind for kind in rest.pop("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) == 1:
        return {**kinds[0], **rest}
    return {**rest, "anyOf": kinds} if kinds else rest


def _success(
    endpoint: Endpoint, subject: Subject, reference: Reference, schema: Any
) -> dict[str, Any]:
    if endpoint.status >= 400:
        return {
            "description": "Not supported; `detail` says what to do instead.",
            "content": _PROBLEM,
        }
    if endpoint.status in (202, 204):
        return {"description": "Successful; the body is empty."}
    recorded = reference.answers.get(f"{endpoint.method} {endpoint.path}")
    content: dict[str, Any] = {}
    if endpoint.answer is not None or not endpoint.streams:
        content[JSON] = {"schema": schema}
        if recorded is not None and not isinstance(recorded, str):
            content[JSON]["example"] = recorded
    if endpoint.text:
        content[endpoint.text] = {"schema": {"type": "string"}}
    if endpoint.streams:
        content[EVENTS] = {"schema": {"type": "string", "description": "Server-sent events."}}
        if isinstance(recorded, str):
            content[EVENTS]["example"] = recorded
    return {"description": subject.stream if endpoint.streams else "OK", "content": content}


_PROBLEM: Final = {JSON: {"schema": {"$ref": COMPONENT.format(model="Problem")}}}


def _problems() -> dict[str, Any]:
    """Returns the responses to errors, by the names that operations refer to."""
    problems = {}
    for status, (name, text) in PROBLEMS.items():
        problems[name] = {"description": text, "content": _PROBLEM}
        if status == 503:
            retry_after = {"description": "Seconds to wait.", "schema": {"type": "integer"}}
            problems[name]["headers"] = {"Retry-After": retry_after}
    return problems
