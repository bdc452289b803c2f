"""Texts of values and exceptions whose own methods raise."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from millstream.worker.encode import encode
from millstream.worker.failure import describe_error, summarise_error, traceback_of


class NoNotes(Exception):
    __notes__ = cast("list[str]", 5)


class NoneWithin(ExceptionGroup[Exception]):
    exceptions = ()


class NoTrace(Exception):
    @property
    def __traceback__(self) -> Any:  # type: ignore[override]
        raise SystemExit(3)


@pytest.mark.parametrize(
    "error",
    [NoNotes(), NoneWithin("a", [ValueError("b")]), NoTrace()],
    ids=lambda e: type(e).__name__,
)
def test_an_exception_without_a_readable_text_is_named_by_its_type(error: Exception) -> None:
    kind = type(error).__name__
    reported = describe_error(error)
    assert reported["error"] == kind
    assert kind in reported["message"]
    assert kind in summarise_error(error)
    assert kind in traceback_of(error)


class Exits:
    """Raises SystemExit in every method."""

    def model_dump(self) -> Any:
        raise SystemExit(3)

    def __repr__(self) -> str:
        return "<exits>"


class ExitsOnRead(Mapping[str, int]):
    def __getitem__(self, key: str) -> int:
        raise KeyboardInterrupt

    def __iter__(self) -> Iterator[str]:
        raise KeyboardInterrupt

    def __len__(self) -> int:
        raise KeyboardInterrupt

    def __getattr__(self, name: str) -> Any:
        raise GeneratorExit

    def __repr__(self) -> str:
        return "<exits when asked>"


@pytest.mark.parametrize("value", [Exits(), ExitsOnRead()], ids=lambda v: type(v).__name__)
def test_a_value_whose_dump_exits_is_encoded_as_its_repr(value: Any) -> None:
    assert json.loads(encode([value, 1])) == [repr(value), 1]
