"""One environment variable: how it is declared, read and listed."""

from collections.abc import Iterable, Mapping
from dataclasses import Field, field, fields
from typing import Any, Final

from millstream.shared.errors import SettingError

ON: Final = ("true", "1")  # values of a setting that is on or off


def setting(
    names: str,
    default: Any,
    doc: str,
    *,
    low: float | None = None,
    high: float = float("inf"),
    unit: str = "",
    choices: str = "",
    secret: bool = False,
) -> Any:
    """Declares a setting: its variable (and aliases, first wins), default, least value, meaning.

    `choices` are the only values allowed, in any capitalisation. The value of a secret is never printed.
    """
    return field(
        default=default,
        repr=not secret,
        metadata={
            "names": names.split(),
            "doc": doc,
            "low": low,
            "high": high,
            "unit": unit,
            "choices": choices.split(),
        },
    )


def read_values(cls: Any, environ: Mapping[str, str]) -> dict[str, Any]:
    """Returns the values of a dataclass of settings that the environment has.

    Raises SettingError, which names the variable and its limits.
    """
    values: dict[str, Any] = {}
    for declared in fields(cls):
        for name in declared.metadata["names"]:
            text = environ.get(name, "").strip()
            if text:
                values[declared.name] = _parse(declared, name, text)
                break
    return values


def _parse(declared: Field[Any], name: str, text: str) -> Any:
    kind: type[Any] = type(declared.default)
    try:
        value = kind(text)
    except ValueError:
        noun = "a whole number" if kind is int else "a number"
        raise SettingError(f"{name}={text!r} is not {noun}.") from None
    choices = declared.metadata["choices"]
    if choices:
        value = {choice.upper(): choice for choice in choices}.get(value.upper())
        if value is None:
            raise SettingError(f"{name}={text!r} is not one of {', '.join(choices)}.")
    low, high = declared.metadata["low"], declared.metadata["high"]
    if low is not None and not (low <= value <= high and value < float("inf")):
        maximum = "" if high == float("inf") else f" and at most {high:.0f}"
        raise SettingError(f"{name}={text} is out of range: it must be at least {low:g}{maximum}.")
    return value


def table_of(settings: Iterable[Field[Any]]) -> str:
    """Returns the Markdown table of the settings."""
    rows = ["| Variable | Default | Unit | What it does |", "|---|---|---|---|"]
    for declared in settings:
        meta = declared.metadata
        names = " or ".join(f"`{name}`" for name in meta["names"])
        default = _format_default(declared.default)
        rows.append(f"| {names} | `{default}` | {meta['unit']} | {meta['doc']} |")
    return "\n".join(rows) + "\n"


def _format_default(default: Any) -> str:
    return f"{default:g}" if isinstance(default, float) else str(default)
