"""What a tool takes and answers: a graph's schemas, made short for models and complete for checks.

A chat agent's own schema is 20 KB, for each kind of LangChain message is spelled out in it. A caller has to know a
role and a text; what else LangChain understands is accepted all the same.
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
# Of a schema, that one check applies: some tenths of a second, in which nothing else is served.
MOST_KEYWORDS: Final = 20_000
MESSAGE: Final = "Message"  # the definition that takes the place of LangChain's
FOR_MODELS: Final[Schema] = {
    "type": "object",
    "properties": {
        "role": {"type": "string", "enum": ["user", "assistant", "system", "tool"]},
        "content": {"type": "string"},
    },
    "required": ["role", "content"],
}
# Whatever LangChain makes a message of: a text, a pair of role and text, an object.
FOR_CHECKS: Final[Schema] = {
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
OF_MESSAGES: Final = frozenset({"content", "type", "additional_kwargs", "response_metadata"})

ONE: Final = frozenset({
    "items", "contains", "additionalProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties",
    "not", "if", "then", "else",
})  # fmt: skip
SEVERAL: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
NAMED: Final = frozenset({"properties", "patternProperties", "dependentSchemas", "$defs"})


class TooLongError(Exception):
    """A check has applied as many keywords as one may."""


class ToolSchemas:
    """The schemas of a graph, as its tool has them."""

    def __init__(self, given: Schema, told: Schema) -> None:
        """Args: the graph's input schema and output schema, as LangGraph makes them."""
        self._given = given
        self._left = 0  # keywords that the check may still apply
        self.output = _keys(told)
        # A tool's arguments are an object, whatever else a graph may take.
        is_object = _root(given).get("type") == "object"
        self.input = {**compact(given), "type": "object"} if is_object else ANYTHING

    @cached_property
    def _validator(self) -> Any:
        if self.input is ANYTHING:
            return None
        schema = _with_messages(self._given, FOR_CHECKS, single=True)
        try:
            jsonschema.Draft202012Validator.check_schema(schema)
        except SchemaError:
            return None
        draft = jsonschema.Draft202012Validator
        counted = {word: self._counted(rule) for word, rule in draft.VALIDATORS.items()}
        kind = jsonschema.validators.extend(draft, counted)
        return kind(schema, registry=Registry())  # which fetches nothing

    def _counted(self, rule: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*given: Any) -> Any:
            self._left -= 1
            if self._left < 0:
                raise TooLongError
            return rule(*given)

        return counted

    def checked(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Returns the arguments, without nulls for what takes no null and may be left out.

        Those that would take too long to check are returned as they are: the graph may still refuse them.

        Raises InvalidError, with the argument's name, for arguments that the graph does not take.
        """
        if self._validator is None:
            return arguments
        required = _root(self._given).get("required", ())
        self._left = MOST_KEYWORDS
        try:
            wrong = {next(iter(error.absolute_path), "") for error in self._errors(arguments)}
            nulls = {name for name in wrong if arguments.get(name, "") is None} - {*required}
            told = {name: value for name, value in arguments.items() if name not in nulls}
            error = best_match(self._errors(told)) if wrong else None
        except (Unresolvable, TooLongError, RecursionError):
            return arguments
        if error is not None:
            at = ".".join(["arguments", *map(str, error.absolute_path)])
            raise InvalidError(f"{at}: {error.message[: 2 * MAX_VALUE_CHARS]}")
        return told

    def _errors(self, arguments: dict[str, Any]) -> Iterator[Any]:
        found: Iterator[Any] = self._validator.iter_errors(arguments)
        return found


def _keys(told: Schema) -> Schema:
    """Returns the schema of a result by its keys: of a state, a run may leave any of them out."""
    root = _root(told)
    if root.get("type") != "object":
        return ANYTHING
    return {"type": "object", "properties": {key: {} for key in root.get("properties", {})}}


def _root(schema: Schema) -> Schema:
    """Returns what the schema says of the value itself: a model that holds others of its kind is a definition."""
    found: Schema = schema.get("$defs", {}).get(_name_of(schema), schema)
    return found


def compact(schema: Schema) -> Schema:
    """Returns the schema with the same meaning in fewer bytes.

    Left out are titles, defaults that are null and nulls where a value may be left out; definitions are told once,
    and in their place where that is the only one.
    """
    shorter = _pruned(_with_messages(schema, FOR_MODELS, single=False))
    defs = shorter.pop("$defs", {})
    names = _same(defs)
    shorter = _renamed(shorter, names)
    defs = {name: _renamed(each, names) for name, each in defs.items() if names[name] == name}
    return _inlined(shorter, defs)


# ── Messages ────────────────────────────────────────────────────────────────────────────────


def _with_messages(schema: Schema, message: Schema, *, single: bool) -> Schema:
    """Returns the schema with `message` for LangChain's; with `single`, one may stand for a list of one."""
    defs = schema.get("$defs", {})
    kinds = {DEFS + name for name, each in defs.items() if _is_message(each)}
    if not kinds:
        return schema
    one = {"$ref": DEFS + MESSAGE}

    def replaced(node: Schema) -> Schema:
        if node.get("$ref") in kinds:
            return {**node, **one}
        node = _mapped(node, replaced)
        for word in SEVERAL & node.keys():
            if word != "prefixItems":
                node[word] = _distinct(node[word])
        for word in ("anyOf", "oneOf"):
            if node.get(word) == [one]:
                del node[word]
                node |= one
        if single and node.get("type") == "array" and node.get("items") == one:
            return {"anyOf": [node, one]}
        return node

    rest = {name: each for name, each in defs.items() if DEFS + name not in kinds}
    return {
        **replaced({**schema, "$defs": rest}),
        "$defs": _mapped({"$defs": rest}, replaced)["$defs"] | {MESSAGE: message},
    }


def _is_message(definition: Any) -> bool:
    return isinstance(definition, dict) and definition.get("properties", {}).keys() >= OF_MESSAGES


# ── Fewer bytes ─────────────────────────────────────────────────────────────────────────────


def _mapped(node: Schema, change: Callable[[Schema], Schema]) -> Schema:
    """Returns the schema with its parts changed."""

    def of(part: Any) -> Any:
        return change(part) if isinstance(part, dict) else part

    made: Schema = {}
    for word, value in node.items():
        if word in ONE:
            made[word] = of(value)
        elif word in SEVERAL and isinstance(value, list):
            made[word] = [of(part) for part in value]
        elif word in NAMED and isinstance(value, dict):
            made[word] = {name: of(part) for name, part in value.items()}
        else:
            made[word] = value
    return made


def _pruned(node: Schema) -> Schema:
    made = _mapped(node, _pruned)
    made.pop("title", None)
    made.pop("x-mcp-header", None)
    if made.get("additionalProperties") is True:
        del made["additionalProperties"]
    if "default" in made and made["default"] is None:
        del made["default"]
    if isinstance(made.get("properties"), dict):
        required = made.get("required", ())
        made["properties"] = {
            name: each if name in required or not isinstance(each, dict) else _without_null(each)
            for name, each in made["properties"].items()
        }
    return made


def _without_null(node: Schema) -> Schema:
    kinds = node.get("type")
    if isinstance(kinds, list) and len(kinds) > 1:
        kept = [kind for kind in kinds if kind != "null"]
        return {**node, "type": kept[0] if len(kept) == 1 else kept}
    parts = node.get("anyOf")
    if isinstance(parts, list):
        kept = [part for part in parts if part != {"type": "null"}]
        if kept and len(kept) < len(parts):
            rest = {word: value for word, value in node.items() if word != "anyOf"}
            if len(kept) == 1 and not rest.keys() & kept[0].keys():
                return {**kept[0], **rest}
            return {**rest, "anyOf": kept}
    return node


def _distinct(parts: list[Any]) -> list[Any]:
    return [part for at, part in enumerate(parts) if part not in parts[:at]]


def _same(defs: dict[str, Schema]) -> dict[str, str]:
    """Returns for each definition the first one that says the same."""
    return {
        name: next(other for other in defs if defs[other] == each) for name, each in defs.items()
    }


def _renamed(node: Schema, names: dict[str, str]) -> Schema:
    made = _mapped(node, lambda part: _renamed(part, names))
    name = _name_of(made)
    return {**made, "$ref": DEFS + names[name]} if name in names else made


def _name_of(node: Schema) -> str:
    ref = node.get("$ref")
    return ref.removeprefix(DEFS) if isinstance(ref, str) and ref.startswith(DEFS) else ""


def _refs(node: Schema) -> Iterator[str]:
    found: list[str] = []

    def note(part: Schema) -> Schema:
        if name := _name_of(part):
            found.append(name)
        return _mapped(part, note)

    note(node)
    yield from found


def _inlined(schema: Schema, defs: dict[str, Schema]) -> Schema:
    """Returns the schema with what it refers to: in its place if once, else as a definition."""
    while True:
        reached = _reached(schema, defs)
        counted = [*_refs(schema), *(name for each in reached for name in _refs(defs[each]))]
        once = next(
            (name for name in reached if counted.count(name) == 1 and name not in _reached(defs[name], defs)),
            None,
        )  # fmt: skip
        if once is None:
            return (
                {**schema, "$defs": {name: defs[name] for name in reached}} if reached else schema
            )
        put = _putting(once, defs[once])
        schema = put(schema)
        defs = {name: put(defs[name]) for name in reached if name != once}


def _reached(node: Schema, defs: dict[str, Schema]) -> list[str]:
    found: dict[str, None] = {}
    waiting = list(_refs(node))
    while waiting:
        name = waiting.pop()
        if name in defs and name not in found:
            found[name] = None
            waiting += _refs(defs[name])
    return sorted(found)


def _putting(name: str, definition: Schema) -> Callable[[Schema], Schema]:
    def put(node: Schema) -> Schema:
        made = _mapped(node, put)
        if _name_of(made) != name:
            return made
        del made["$ref"]
        return {**definition, **made}

    return put
