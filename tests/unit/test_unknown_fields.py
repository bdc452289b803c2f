"""Fields without an effect are logged."""

import json
import logging
import uuid
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from millstream.api.http.body import read_model
from millstream.api.runs.schemas import RunCreateStateless
from millstream.shared.settings import Settings

NEW = f"new_{uuid.uuid4().hex}"  # each name is logged once


def request(body: dict[str, Any]) -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}

    process = SimpleNamespace(settings=Settings())
    app = SimpleNamespace(state=SimpleNamespace(process=process))
    return Request({"type": "http", "headers": [], "app": app}, receive)


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"agent_id": "chat", "messages": []}, []),
        ({"agent_id": "chat", "messages": [], NEW: 1}, [NEW]),
        ({"assistant_id": "chat", "agent_id": "chat", "messages": []}, ["agent_id", "messages"]),
    ],
)
async def test_fields_without_an_effect_are_logged(
    body: dict[str, Any], fields: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "millstream.api.http.body")
    assert (await read_model(request(body), RunCreateStateless)).assistant_id == "chat"
    said = sorted(
        str(record.args[1]) for record in caplog.records if isinstance(record.args, tuple)
    )
    assert said == fields
