"""Endpoints: of the route table, by the OpenAPI document that the server serves."""

import json
from typing import Any

from docsite.reference.markdown import code, table
from millstream.api.http.openapi import describe
from millstream.api.reference import REFERENCE
from millstream.api.routes import ENDPOINTS, SOCKETS

INTRODUCTION = """\
# Endpoints

Every route, with the fields of its request. The running server has the same at `/docs` and, for machines, at
`/openapi.json`. [The API](../api.md) explains what the fields mean, [Errors](errors.md) what a request gets that fails.

"""


def page() -> str:
    """Returns the page: an overview, then each operation by its resource."""
    document = describe(ENDPOINTS, REFERENCE)
    groups: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            group = groups.setdefault(operation["tags"][0], [])
            group.append((method.upper(), path, operation))
    parts = [INTRODUCTION]
    for tag, operations in groups.items():
        parts.append(f"## {heading(tag)}\n\n")
        parts += [_operation(document, *operation) for operation in operations]
    parts.append("## WebSockets\n\n")
    parts.append(
        table(["Path", ""], [(code(path), "the [protocol](../protocol.md)") for path, _ in SOCKETS])
    )
    return "".join(parts)


def heading(tag: str) -> str:
    """Returns the heading of a group of operations."""
    return tag[:1].upper() + tag[1:].replace("_", " ")


def _operation(document: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    schemas = document["components"]["schemas"]
    rows = [
        (code(parameter["name"]), parameter["in"], *_field(parameter["schema"], parameter))
        for parameter in operation.get("parameters", [])
    ]
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    body = _resolved(content.get("schema", {}), schemas)
    required = body.get("required", [])
    for name, field in body.get("properties", {}).items():
        rows.append((code(name), "body", *_field(field, {"required": name in required})))
    if body.get("type") == "array":
        rows.append(("", "body", *_field(body, {"required": True})))
    success, answer = next(iter(operation["responses"].items()))
    content = answer.get("content", {})
    schema = content.get("application/json", {}).get("schema", {})
    if schema:
        kind = schema_type(schema)
    else:
        kind = "Server-sent events" if "text/event-stream" in content else answer["description"]
    description = operation.get("description", "")
    return (
        f"### `{method} {path}`\n\n{operation['summary']}\n\n"
        + (f"{description}\n\n" if description else "")
        + table(["Field", "In", "Type", "Default", "Meaning"], rows)
        + f"Response: {success}, {kind.rstrip('.')}.\n\n"
    )


def _field(schema: dict[str, Any], outer: dict[str, Any]) -> tuple[str, str, str]:
    default = schema.get("default")
    default_text = "required" if outer.get("required") else ""
    if default is not None:
        default_text = code(json.dumps(default))
    meaning = schema.get("description") or outer.get("description") or ""
    return schema_type(schema), default_text, meaning


def _resolved(schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    name = schema.get("$ref", "").rpartition("/")[2]
    resolved: dict[str, Any] = schemas[name] if name else schema
    return resolved


def schema_type(schema: dict[str, Any]) -> str:
    """Returns the type of a JSON schema in words."""
    if options := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(dict.fromkeys(schema_type(option) for option in options))
    if "enum" in schema:
        return ", ".join(code(json.dumps(value)) for value in schema["enum"])
    if "const" in schema:
        return code(json.dumps(schema["const"]))
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if schema.get("type") == "array":
        return f"list of {schema_type(schema.get('items', {}))}"
    return str(schema.get("type", "any"))
