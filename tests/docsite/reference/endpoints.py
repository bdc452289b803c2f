"""Endpoints: of the route table, by the OpenAPI document that the server serves."""

import json
from typing import Any

from docsite.reference.markdown import code, table
from millstream.api.http.openapi import describe
from millstream.api.reference import REFERENCE
from millstream.api.routes import ENDPOINTS, SOCKETS

INTRODUCTION = """\
# Endpoints

Every route, with the fields of its request, and the objects that requests and responses hold. The running server has
the same at `/docs` and, for machines, at `/openapi.json`. [The API](../api.md) explains what the fields mean,
[Errors](errors.md) what a request gets that fails.

"""
OBJECTS = (
    "Object"  # the first word of their headings, so that no group of routes has the same anchor
)
MAX_DEFAULT_CHARS = 40  # of an object that is a default; a longer one has defaults of its own below
COLUMNS = ("Field", "In", "Type", "Default", "Meaning")

Schema = dict[str, Any]  # in JSON Schema
Row = tuple[str, str, str]  # type, default, meaning


def page() -> str:
    """Returns the page: each operation by its group, the WebSockets, and the objects."""
    document = describe(ENDPOINTS, REFERENCE)
    types = Types(document["components"]["schemas"])
    groups: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            text = _operation(types, f"{method.upper()} {path}", operation)
            groups.setdefault(operation["tags"][0], []).append(text)
    parts = [INTRODUCTION]
    for tag, texts in groups.items():
        parts += [f"## {tag[:1].upper()}{tag[1:].replace('_', ' ')}\n\n", *texts]
    sockets = [(code(path), "the [protocol](../protocol.md)") for path, _ in SOCKETS]
    parts += ["## WebSockets\n\n", table(["Path", ""], sockets), "## Objects\n\n"]
    objects: dict[str, str] = {}
    while missing := types.linked - objects.keys():
        objects |= {name: _object(types, name) for name in missing}
    return "".join([*parts, *(objects[name] for name in sorted(objects))])


class Types:
    """The types of a document in words, with links to its objects.

    Attributes:
        linked: the names of the objects that a link leads to.
    """

    def __init__(self, schemas: dict[str, Schema]) -> None:
        """`schemas` are those of the document, by name."""
        self._schemas = schemas
        self.linked: set[str] = set()

    def by_name(self, name: str) -> Schema:
        """Returns the schema of that name."""
        return self._schemas[name]

    def resolved(self, schema: Schema) -> Schema:
        """Returns the schema itself, or the one that it refers to."""
        return self._schemas[_name(schema)] if "$ref" in schema else schema

    def text(self, schema: Schema) -> str:
        """Returns a type in words."""
        if options := schema.get("anyOf") or schema.get("oneOf"):
            return " or ".join(dict.fromkeys(self.text(option) for option in options))
        if "enum" in schema:
            return ", ".join(code(json.dumps(value)) for value in schema["enum"])
        if "const" in schema:
            return code(json.dumps(schema["const"]))
        if "$ref" in schema:
            name = _name(schema)
            if _has_fields(self._schemas[name]):
                self.linked.add(name)
                return f"[{name}](#{OBJECTS.lower()}-{name.lower()})"
            return self.text(self._schemas[name])
        if schema.get("type") == "array":
            return f"list of {self.text(schema.get('items', {}))}"
        if values := schema.get("additionalProperties"):
            return f"object of {self.text(values)}" if isinstance(values, dict) else "object"
        return str(schema.get("type", "any"))


def _name(schema: Schema) -> str:
    return str(schema["$ref"]).rpartition("/")[2]


def _has_fields(schema: Schema) -> bool:
    return bool(schema.get("properties"))


def _operation(types: Types, route: str, operation: dict[str, Any]) -> str:
    rows = [
        (code(parameter["name"]), parameter["in"], *_field(types, parameter["schema"], parameter))
        for parameter in operation.get("parameters", [])
    ]
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    body = types.resolved(content.get("schema", {}))
    rows += [(name, "body", *rest) for name, rest in _fields(types, body)]
    if body.get("type") == "array":
        rows.append(("", "body", *_field(types, body, {"required": True})))
    success, answer = next(iter(operation["responses"].items()))
    content = answer.get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    if schema:
        kind = types.text(schema)
    else:
        kind = "Server-sent events" if "text/event-stream" in content else answer["description"]
    description = operation.get("description", "")
    return (
        f"### `{route}`\n\n{operation['summary']}\n\n"
        + (f"{description}\n\n" if description else "")
        + table(COLUMNS, rows)
        + f"Response: {success}, {kind.rstrip('.')}.\n\n"
    )


def _object(types: Types, name: str) -> str:
    rows = [(field, *rest) for field, rest in _fields(types, types.by_name(name))]
    return f"### {OBJECTS} `{name}`\n\n" + table([COLUMNS[0], *COLUMNS[2:]], rows)


def _fields(types: Types, schema: Schema) -> list[tuple[str, Row]]:
    required = schema.get("required", [])
    return [
        (code(name), _field(types, field, {"required": name in required}))
        for name, field in schema.get("properties", {}).items()
    ]


def _field(types: Types, schema: Schema, outer: dict[str, Any]) -> Row:
    default = schema.get("default")
    default_text = "required" if outer.get("required") else ""
    if default is not None:
        text = json.dumps(default)
        default_text = code(text if len(text) <= MAX_DEFAULT_CHARS else "{…}")
    meaning = schema.get("description") or outer.get("description") or ""
    return types.text(schema), default_text, meaning
