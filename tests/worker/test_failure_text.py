"""What is told of values and exceptions that can hardly be looked at."""

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
def test_of_an_exception_that_can_not_be_looked_at_the_type_is_told(error: Exception) -> None:
    kind = type(error).__name__
    told = describe_error(error)
    assert told["error"] == kind
    assert kind in told["message"]
    assert kind in summarise_error(error)
    assert kind in traceback_of(error)


class Exits:
    """Ends the process, as far as Python lets it, wherever it is looked at."""

    def model_dump(self) -> Any:
        raise SystemExit(3)

    def __repr__(self) -> str:
        return "<exits>"


class ExitsWhenAsked(Mapping[str, int]):
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


@pytest.mark.parametrize("value", [Exits(), ExitsWhenAsked()], ids=lambda v: type(v).__name__)
def test_a_value_that_ends_the_process_when_it_is_looked_at_is_its_repr(value: Any) -> None:
    assert json.loads(encode([value, 1])) == [repr(value), 1]
