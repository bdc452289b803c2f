"""A thread's life on graphs of every shape of state: what clients get equals the reference server's."""

import json
from pathlib import Path
from typing import Any

import httpx

from golden.responses import respond_to_all

GOLDEN = Path(__file__).parents[1] / "golden" / "responses.json"


async def test_what_clients_get_equals_the_reference(web: httpx.AsyncClient) -> None:
    recorded: dict[str, Any] = json.loads(GOLDEN.read_text())
    found = await respond_to_all(web)
    assert found.keys() == recorded.keys()
    expected = {name: each.get("ours", each["told"]) for name, each in recorded.items()}
    wrong = {name: (found[name], expected[name]) for name in found if found[name] != expected[name]}
    assert wrong == {}


def test_what_is_told_on_purpose_differs() -> None:
    recorded: dict[str, Any] = json.loads(GOLDEN.read_text())
    assert all(each["ours"] != each["told"] for each in recorded.values() if "ours" in each)
