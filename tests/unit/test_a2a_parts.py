"""Content of LangChain messages → parts of A2A: no content of a message makes its task unreadable."""

import json
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from millstream.api.a2a.parts import data_of, data_part, parts_of


def nested(levels: int) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = {"a": value} if levels % 2 else [value]
    return value


@pytest.mark.parametrize("levels", [0, 40, 41])
def test_a_value_becomes_a_data_part(levels: int) -> None:
    assert data_of(data_part(nested(levels))) == nested(levels)


@pytest.mark.parametrize("levels", [100, 101, 240, 241])
def test_a_value_too_deep_for_data_becomes_text(levels: int) -> None:
    part = data_part(nested(levels))
    assert json.loads(part.text) == nested(levels)
    assert part.media_type == "application/json"


@pytest.mark.parametrize(
    "odd", [None, 1, {}, {"type": None}, {"type": ["text"]}, {"type": {}}, {"type": "text", "text": 1},
            {"type": "image"}, {"type": "file", "url": 1}, {"type": "image", "base64": "é"}]
)  # fmt: skip
def test_other_values_are_skipped(odd: Any) -> None:
    parts = parts_of([odd, {"type": "text", "text": "hello"}])
    assert [MessageToDict(part) for part in parts] == [{"text": "hello"}]
