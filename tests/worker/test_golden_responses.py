"""Responses for graphs with every kind of state schema equal those of the reference server."""

import json
from pathlib import Path
from typing import Any

import httpx

from golden.responses import respond_to_all

GOLDEN = Path(__file__).parents[1] / "golden" / "responses.json"


async def test_responses_equal_the_reference(web: httpx.AsyncClient) -> None:
    recorded: dict[str, Any] = json.loads(GOLDEN.read_text())
    responses = await respond_to_all(web)
    assert responses.keys() == recorded.keys()
    expected = {name: each.get("ours", each["reference"]) for name, each in recorded.items()}
    wrong = {
        name: (response, expected[name])
        for name, response in responses.items()
        if response != expected[name]
    }
    assert wrong == {}


def test_each_deliberate_difference_differs() -> None:
    recorded: dict[str, Any] = json.loads(GOLDEN.read_text())
    assert all(each["ours"] != each["reference"] for each in recorded.values() if "ours" in each)
