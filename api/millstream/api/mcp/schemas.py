"""The schemas of a tool: a graph's schemas, compact for models and complete for checks.

The schema of a chat agent takes 20 KB, because it contains each kind of LangChain message. A caller needs a role and
a text only. The check accepts every message that LangChain accepts.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, Final

import jsonschema
from jsonschema.exceptions import SchemaError, best_match
from referencing import Registry
from referencing.exceptions import Unresolvable

from millstream.api.http.problems import MAX_VALUE_CHARS
from millstream.shared.errors import InvalidError

Schema = dict[str, Any]
ANYTHING: Final[Schema] = {"type": "object"}
DEFS: Final = "#/$defs/"
# Limit of one check. It takes some tenths of a second, and blocks all other requests meanwhile.
MAX_KEYWORDS: Final = 20_000
MESSAGE: Final = "Message"  # the name of the definition that replaces LangChain's
MODEL_MESSAGE: Final[Schema] = {
    "type": "object",
    "properties": {
        "role": {"type": "string", "enum": ["user", "assistant", "system", "tool"]},
        "content": {"type": "string"},
    },
    "required": ["role", "content"],
}
# All forms that LangChain converts to a message: a text, a pair of role and text, an object.
ACCEPTED_MESSAGE: Final[Schema] = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "string"}},
        {
            "type": "object",
            "required": ["content"],
            "anyOf": [{"required": ["role"]}, {"required": ["type"]}],
        },
    ]
}
MESSAGE_FIELDS: Final = frozenset({"content", "type", "additional_kwargs", "response_metadata"})

# Keywords whose value is a schema, a list of schemas, schemas by name:
SCHEMA_KEYWORDS: Final = frozenset({
    "items", "contains", "additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties",
    "not", "if", "then", "else",
})  # fmt: skip
LIST_KEYWORDS: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
MAP_KEYWORDS: Final = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs"})


class TooLongError(Exception):
    """A check has applied MAX_KEYWORDS keywords."""


class ToolSchemas:
    """The input schema and output schema of a graph's tool."""

    def __init__(self, graph_input: Schema, graph_output: Schema) -> None:
        """Takes the graph's input schema and output schema, as LangGraph returns them."""
        self._graph_input = graph_input
        self._keywords_left = 0  # that the check may still apply
        self.output = _keys_only(graph_output)
        # A tool's arguments are an object, whatever the graph accepts.
        is_object = _root(graph_input).get("type") == "object"
        self.input = {**compact(graph_input), "type": "object"} if is_object else ANYTHING

    @cached_property
    def _validator(self) -> Any:
        if self.input is ANYTHING:
            return None
        schema = _replace_messages(self._graph_input, ACCEPTED_MESSAGE, single=True)
        try:
            jsonschema.Draft202012Validator.check_schema(schema)
        except SchemaError:
            return None
        draft = jsonschema.Draft202012Validator
        validators = {keyword: self._count(rule) for keyword, rule in draft.VALIDATORS.items()}
        validator_class = jsonschema.validators.extend(draft, validators)
        return validator_class(schema, registry=Registry())  # an empty registry fetches no URLs

    def _count(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        def apply(*args: Any) -> Any:
            self._keywords_left -= 1
            if self._keywords_left < 0:
                raise TooLongError
            return rule(*args)

        return apply

    def check(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Returns the arguments, without nulls for optional ones that can't be null.

        Returns arguments unchecked if the check would take too long: the graph may still reject them.

        Raises InvalidError, with the argument's name, for an invalid argument.
        """
        if self._validator is None:
            return arguments
        required = _root(self._graph_input).get("required", ())
        self._keywords_left = MAX_KEYWORDS
        try:
            invalid = {next(iter(error.absolute_path), "") for error in self._errors(arguments)}
            nulls = {name for name in invalid if arguments.get(name, "") is None} - {*required}
            cleaned = {name: value for name, value in arguments.items() if name not in nulls}
            error = best_match(self._errors(cleaned)) if invalid else None
        except (Unresolvable, TooLongError, RecursionError):
            return arguments
        if error is not None:
            at = ".".join(["arguments", *map(str, error.absolute_path)])
            raise InvalidError(f"{at}: {error.message[: 2 * MAX_VALUE_CHARS]}")
        return cleaned

    def _errors(self, arguments: dict[str, Any]) -> Iterator[Any]:
        errors: Iterator[Any] = self._validator.iter_errors(arguments)
        return errors


def _keys_only(graph_output: Schema) -> Schema:
    """Returns the schema of a result with its keys only. A run may leave any key out of its state."""
    root = _root(graph_output)
    if root.get("type") != "object":
        return ANYTHING
    return {"type": "object", "properties": {key: {} for key in root.get("properties", {})}}


def _root(schema: Schema) -> Schema:
    """Returns the schema of the value itself, which a recursive model has among the definitions."""
    root: Schema = schema.get("$defs", {}).get(_name_of(schema), schema)
    return root


def compact(schema: Schema) -> Schema:
    """Returns the schema with the same meaning in fewer bytes.

    Removes titles, null defaults, and nulls of optional values. Merges equal definitions, and inlines those with one
    reference.
    """
    pruned = _prune(_replace_messages(schema, MODEL_MESSAGE, single=False))
    defs = pruned.pop("$defs", {})
    names = _first_equal(defs)
    renamed = _rename(pruned, names)
    defs = {name: _rename(each, names) for name, each in defs.items() if names[name] == name}
    return _inline(renamed, defs)


# ── Messages ────────────────────────────────────────────────────────────────────────────────


def _replace_messages(schema: Schema, message: Schema, *, single: bool) -> Schema:
    """Returns the schema with `message` in place of LangChain's. With `single`, one message is valid for a list."""
    defs = schema.get("$defs", {})
    kinds = {DEFS + name for name, each in defs.items() if _is_message(each)}
    if not kinds:
        return schema
    message_ref = {"$ref": DEFS + MESSAGE}

    def replace(node: Schema) -> Schema:
        if node.get("$ref") in kinds:
            return {**node, **message_ref}
        node = _map(node, replace)
        for keyword in LIST_KEYWORDS & node.keys():
            if keyword != "prefixItems":
                node[keyword] = _drop_duplicates(node[keyword])
        for keyword in ("anyOf", "oneOf"):
            if node.get(keyword) == [message_ref]:
                del node[keyword]
                node |= message_ref
        if single and node.get("type") == "array" and node.get("items") == message_ref:
            return {"anyOf": [node, message_ref]}
        return node

    rest = {name: each for name, each in defs.items() if DEFS + name not in kinds}
    return {
        **replace({**schema, "$defs": rest}),
        "$defs": _map({"$defs": rest}, replace)["$defs"] | {MESSAGE: message},
    }


def _is_message(definition: Any) -> bool:
    return (
        isinstance(definition, dict) and definition.get("properties", {}).keys() >= MESSAGE_FIELDS
    )


# ── Fewer bytes ─────────────────────────────────────────────────────────────────────────────


def _map(node: Schema, change: Callable[[Schema], Schema]) -> Schema:
    """Returns the schema with each direct part changed."""

    def change_part(part: Any) -> Any:
        return change(part) if isinstance(part, dict) else part

    changed: Schema = {}
    for keyword, value in node.items():
        if keyword in SCHEMA_KEYWORDS:
            changed[keyword] = change_part(value)
        elif keyword in LIST_KEYWORDS and isinstance(value, list):
            changed[keyword] = [change_part(part) for part in value]
        elif keyword in MAP_KEYWORDS and isinstance(value, dict):
            changed[keyword] = {name: change_part(part) for name, part in value.items()}
        else:
            changed[keyword] = value
    return changed


def _prune(node: Schema) -> Schema:
    pruned = _map(node, _prune)
    pruned.pop("title", None)
    pruned.pop("x-mcp-header", None)
    if pruned.get("additionalProperties") is True:
        del pruned["additionalProperties"]
    if "default" in pruned and pruned["default"] is None:
        del pruned["default"]
    if isinstance(pruned.get("properties"), dict):
        required = pruned.get("required", ())
        pruned["properties"] = {
            name: each if name in required or not isinstance(each, dict) else _without_null(each)
            for name, each in pruned["properties"].items()
        }
    return pruned


def _without_null(node: Schema) -> Schema:
    kinds = node.get("type")
    if isinstance(kinds, list) and len(kinds) > 1:
        kinds_left = [kind for kind in kinds if kind != "null"]
        return {**node, "type": kinds_left[0] if len(kinds_left) == 1 else kinds_left}
    parts = node.get("anyOf")
    if isinstance(parts, list):
        parts_left = [part for part in parts if part != {"type": "null"}]
        if parts_left and len(parts_left) < len(parts):
            rest = {keyword: value for keyword, value in node.items() if keyword != "anyOf"}
            if len(parts_left) == 1 and not rest.keys() & parts_left[0].keys():
                return {**parts_left[0], **rest}
            return {**rest, "anyOf": parts_left}
    return node


def _drop_duplicates(parts: list[Any]) -> list[Any]:
    return [part for at, part in enumerate(parts) if part not in parts[:at]]


def _first_equal(defs: dict[str, Schema]) -> dict[str, str]:
    """Returns for each definition's name that of the first equal one."""
    return {
        name: next(other for other in defs if defs[other] == each) for name, each in defs.items()
    }


def _rename(node: Schema, names: dict[str, str]) -> Schema:
    renamed = _map(node, lambda part: _rename(part, names))
    name = _name_of(renamed)
    return {**renamed, "$ref": DEFS + names[name]} if name in names else renamed


def _name_of(node: Schema) -> str:
    ref = node.get("$ref")
    return ref.removeprefix(DEFS) if isinstance(ref, str) and ref.startswith(DEFS) else ""


def _refs(node: Schema) -> Iterator[str]:
    names: list[str] = []

    def note(part: Schema) -> Schema:
        if name := _name_of(part):
            names.append(name)
        return _map(part, note)

    note(node)
    yield from names


def _inline(schema: Schema, defs: dict[str, Schema]) -> Schema:
    """Returns the schema with its definitions. One that has a single reference is inlined there."""
    while True:
        reachable = _reachable(schema, defs)
        references = [*_refs(schema), *(name for each in reachable for name in _refs(defs[each]))]
        once = next(
            (name for name in reachable if references.count(name) == 1 and name not in _reachable(defs[name], defs)),
            None,
        )  # fmt: skip
        if once is None:
            return (
                {**schema, "$defs": {name: defs[name] for name in reachable}}
                if reachable
                else schema
            )
        put = _inliner(once, defs[once])
        schema = put(schema)
        defs = {name: put(defs[name]) for name in reachable if name != once}


def _reachable(node: Schema, defs: dict[str, Schema]) -> list[str]:
    names: dict[str, None] = {}
    waiting = list(_refs(node))
    while waiting:
        name = waiting.pop()
        if name in defs and name not in names:
            names[name] = None
            waiting += _refs(defs[name])
    return sorted(names)


def _inliner(name: str, definition: Schema) -> Callable[[Schema], Schema]:
    def put(node: Schema) -> Schema:
        inlined = _map(node, put)
        if _name_of(inlined) != name:
            return inlined
        del inlined["$ref"]
        return {**definition, **inlined}

    return put
