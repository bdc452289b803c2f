"""The keys of langgraph.json: of the structs that read it, whose comments say what a key means."""

import inspect
import re
import types
from typing import Any, Final, Literal, get_args, get_origin

import msgspec

from docsite.reference.markdown import code, paragraph, table
from millstream.shared.langgraph_json.config import ProjectConfig
from millstream.shared.langgraph_json.reader import FOR_IMAGES, NOT_DONE

PAGE: Final = """\
# langgraph.json

The keys that Millstream reads. [Projects](../projects.md) explains the file as a whole; [http](../http.md),
[the store](../store.md), [checkpoints](../checkpoints.md) and [webhooks](../webhooks.md) have examples of their
sections. A section refuses a key that it does not know.

"""


def page() -> str:
    """Returns the page: the keys with an effect by section, then those without."""
    parts = [PAGE]
    for path, struct in sections(ProjectConfig, ""):
        parts.append(f"## {code(path) if path else 'Top level'}\n\n")
        # The root's docstring speaks of its sections.
        parts.append(f"{paragraph(struct.__doc__)}\n\n" if path else "")
        parts.append(table(["Key", "Type", "Default", "Meaning"], keys_of(struct)))
    parts.append("## Without an effect\n\n")
    parts.append("Logged once when a process starts:\n\n")
    parts.append(table(["Key", "Why"], [(code(key), why) for key, why in NOT_DONE.items()]))
    parts.append("Used by builders of images alone, and not logged: ")
    parts.append(", ".join(map(code, sorted(FOR_IMAGES))) + ".\n")
    return "".join(parts)


def sections(struct: type[msgspec.Struct], path: str) -> list[tuple[str, type[msgspec.Struct]]]:
    """Returns the struct and all structs within it, each with the path of its key."""
    result = [(path, struct)]
    for field in msgspec.structs.fields(struct):
        for inner, suffix in _structs(field.type, ""):
            key = f"{path}.{field.encode_name}{suffix}".removeprefix(".")
            result += sections(inner, key)
    return result


def _structs(kind: Any, suffix: str) -> list[tuple[type[msgspec.Struct], str]]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return [(kind, suffix)]
    if get_origin(kind) is dict:
        suffix += ".<name>"
    return [each for argument in get_args(kind) for each in _structs(argument, suffix)]


def keys_of(struct: type[msgspec.Struct]) -> list[tuple[str, str, str, str]]:
    """Returns key, type, default and meaning of each key."""
    notes = _comments(struct)
    return [
        (code(field.encode_name), type_name(field.type), _default(field), notes.get(field.name, ""))
        for field in msgspec.structs.fields(struct)
    ]


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default
    if value is msgspec.NODEFAULT:
        value = field.default_factory()
    if isinstance(value, msgspec.Struct):
        return ""
    return code(msgspec.json.encode(value).decode()) if value not in (None, "", [], {}) else ""


def type_name(kind: Any) -> str:
    """Returns a type in words of JSON."""
    names: dict[Any, str] = {
        str: "text", bool: "boolean", int: "whole number", float: "number", Any: "any",
        types.NoneType: "null",
    }  # fmt: skip
    if kind in names:
        return names[kind]
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return "section"
    origin, arguments = get_origin(kind), get_args(kind)
    if hasattr(kind, "__metadata__"):
        return type_name(kind.__origin__)
    if origin is Literal:
        return ", ".join(code(value) for value in arguments)
    if origin is list:
        return f"list of {type_name(arguments[0])}"
    if origin is dict:
        return f"object of {type_name(arguments[1])}"
    return " or ".join(dict.fromkeys(type_name(each) for each in arguments))


def _comments(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Returns field → the comment beside it, or above it if there is none beside it."""
    notes: dict[str, str] = {}
    above: list[str] = []
    for line in inspect.getsource(struct).splitlines():
        if comment := re.fullmatch(r" +# ?(.*)", line):
            above.append(comment[1])
            continue
        if field := re.match(r"    (\w+): [^#]*(?:#\s*(.*))?$", line):
            notes[field[1]] = field[2] or " ".join(above)
        above = []
    return notes
