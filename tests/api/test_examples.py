"""Each example request of openapi.json is sent. Its response fits the schema and the recorded response.

Only ids are replaced, by those of a new thread, run, cron, checkpoint and assistant. `RECORD_EXAMPLES=1` records the
responses for the document.
"""

import json
import os
import re
import socket
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from jsonschema import Draft202012Validator

from harness.processes import EXAMPLES as GRAPHS
from millstream.api.examples import (
    CHECKPOINT,
    CRON,
    DAILY,
    EXAMPLES,
    ITEM,
    LONG,
    OTHER_ASSISTANT,
    RUN,
    STEPS,
    THREAD,
)
from millstream.api.http.openapi import describe
from millstream.api.reference import ANSWERS, REFERENCE
from millstream.api.routes import ENDPOINTS

DOCUMENT = describe(ENDPOINTS, REFERENCE)
ACCEPT = {"accept": "application/json, text/event-stream"}
PUBLIC_URL = "https://millstream.example"  # in recorded responses
HOST = socket.gethostname()
# Fields of any contents.
FREE = {"config", "context", "fields", "kwargs", "metadata", "payload", "values"}
ENDLESS = ("run_done", "completed")  # when the stream of a thread has all its events


class Operation(NamedTuple):
    """One operation of the document."""

    method: str
    path: str
    described: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def success(self) -> tuple[int, dict[str, Any]]:
        """The status of its first response, and what the response has."""
        status, response = next(iter(self.described["responses"].items()))
        return int(status), response.get("content", {})

    def request(self) -> dict[str, Any]:
        """The example: the path, the query, and the body if there is one."""
        path, query = self.path, {}
        for parameter in self.described["parameters"]:
            if "example" not in parameter:
                continue
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", parameter["example"])
            else:
                query[parameter["name"]] = parameter["example"]
        body = self.described.get("requestBody", {}).get("content", {})
        return {
            "url": path,
            "params": query,
            "json": body.get("application/json", {}).get("example"),
        }


OPERATIONS = [
    Operation(method.upper(), path, described)
    for path, item in DOCUMENT["paths"].items()
    for method, described in item.items()
]
SUPPORTED = [operation for operation in OPERATIONS if operation.success[0] < 400]


def misfits(value: Any, schema: dict[str, Any]) -> list[str]:
    """Returns what is wrong with a value by a schema of the document."""
    checked = Draft202012Validator({"components": DOCUMENT["components"], **schema})
    return [f"{error.json_path}: {error.message}" for error in checked.iter_errors(value)]


class Resources:
    """Makes what a request needs to exist. Replaces the examples' ids by those of what it made, and back."""

    def __init__(self, http: httpx.AsyncClient, operation: Operation) -> None:
        self._http = http
        self._operation = operation
        self.ids = {THREAD: str(uuid.uuid4()), OTHER_ASSISTANT: str(uuid.uuid4())}

    async def _post(self, path: str, body: dict[str, Any]) -> httpx.Response:
        response = await self._http.post(path, json=body)
        assert response.status_code == 200, response.text
        return response

    async def make(self, request: str) -> None:
        thread = self.ids[THREAD]
        cancels = "cancel" in self._operation.path
        if THREAD in request and (cancels or self._operation.path != "/threads"):
            body = {**(LONG if cancels else STEPS), "if_not_exists": "create"}
            route = "runs" if cancels else "runs/wait"
            created = await self._post(f"/threads/{thread}/{route}", body)
            self.ids[RUN] = created.headers["content-location"].rpartition("/")[2]
        elif RUN in request:
            body = {**(LONG if cancels else STEPS), "on_completion": "keep"}
            created = await self._post("/runs" if cancels else "/runs/wait", body)
            self.ids[RUN] = created.headers["content-location"].rpartition("/")[2]
        if CHECKPOINT in request:
            state = (await self._http.get(f"/threads/{thread}/state")).json()
            self.ids[CHECKPOINT] = state["checkpoint"]["checkpoint_id"]
        if CRON in request:
            self.ids[CRON] = (await self._post("/runs/crons", DAILY)).json()["cron_id"]
        if self._operation.path.startswith("/runs/crons/"):
            await self._post("/runs/crons", DAILY)
        if OTHER_ASSISTANT in request and self._operation.path != "/assistants":
            body = dict(EXAMPLES["POST", "/assistants"].body)
            await self._post("/assistants", body | {"assistant_id": self.ids[OTHER_ASSISTANT]})
        if self._operation.path.startswith("/store/"):
            item = {**ITEM, "value": {"units": "metric"}}
            assert (await self._http.put("/store/items", json=item)).status_code == 204

    def with_new_ids(self, text: str) -> str:
        for example, new in self.ids.items():
            text = text.replace(example, new)
        return text

    def with_examples(self, text: str) -> str:
        for example, new in self.ids.items():
            text = text.replace(new, example)
        return text


async def send(http: httpx.AsyncClient, method: str, request: dict[str, Any]) -> tuple[int, Any]:
    """Returns the status and the response: JSON, the text of an event stream, or None."""
    async with http.stream(method, **request, headers=ACCEPT) as response:
        media_type = response.headers.get("content-type", "")
        if not media_type.startswith("text/"):
            content = await response.aread()
            return response.status_code, json.loads(content) if content else None
        text = ""
        async for part in response.aiter_text():
            text += part
            if any(event in text for event in ENDLESS):
                break
        return response.status_code, text


def shape(value: Any) -> Any:
    """Returns the names in a value at all depths but in free objects; of a stream, those of its first two events."""
    if isinstance(value, dict):
        return {name: None if name in FREE else shape(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shape(part) for part in value[:1]]
    if isinstance(value, str) and "event: " in value:
        return re.findall(r"^event: .*$", value, re.MULTILINE)[:2]
    return None


@pytest.fixture(scope="module")
def recorded() -> Iterator[dict[str, Any]]:
    """The recorded responses, which are written back if they are recorded again."""
    answers: dict[str, Any] = json.loads(ANSWERS.read_text())
    yield answers
    if "RECORD_EXAMPLES" in os.environ:
        known = {str(operation) for operation in SUPPORTED}
        supported = {name: answers[name] for name in sorted(answers) if name in known}
        ANSWERS.write_text(json.dumps(supported, indent=1, ensure_ascii=False) + "\n")


@pytest.fixture
async def no_assistants_left(http: httpx.AsyncClient) -> AsyncIterator[None]:
    """Deletes the assistants of a test: others list those of the graphs."""
    yield
    listed = (await http.post("/assistants/search", json={"limit": 100})).json()
    for assistant in listed:
        if assistant["metadata"].get("created_by") != "system":
            await http.delete(f"/assistants/{assistant['assistant_id']}")


@pytest.mark.parametrize("operation", SUPPORTED, ids=str)
async def test_an_example_is_answered(
    http: httpx.AsyncClient,
    operation: Operation,
    recorded: dict[str, Any],
    no_crons_left: None,
    no_assistants_left: None,
) -> None:
    example = json.dumps(operation.request())
    resources = Resources(http, operation)
    await resources.make(example)
    request = json.loads(resources.with_new_ids(example))
    status, response = await send(http, operation.method, request)
    if operation.path.endswith("/pause"):
        await http.post(request["url"].replace("/pause", "/resume"))

    expected, content = operation.success
    # `wait` of a cancel responds after the end of the run, and so with 200.
    assert status == (200 if request["params"].get("wait") else expected), response
    if isinstance(response, dict) and response.get("status") == "pending" and "run_id" in response:
        run = f"/threads/{response['thread_id']}/runs/{response['run_id']}"
        await http.post(f"{run}/cancel", params={"wait": "1"})
    if "text/plain" in content:
        assert response.startswith("# HELP")
        return
    differs = shape(recorded.get(str(operation))) != shape(response)
    if "RECORD_EXAMPLES" in os.environ and content and differs:
        text = resources.with_examples(json.dumps(response))
        text = text.replace(str(http.base_url), PUBLIC_URL).replace(f'"{HOST}', '"worker-1')
        recorded[str(operation)] = json.loads(text)
    if isinstance(response, str):
        assert "text/event-stream" in content
        assert response.startswith(("event: ", ":"))
    elif content:
        assert misfits(response, content["application/json"]["schema"]) == []
    if content:
        assert shape(recorded[str(operation)]) == shape(response)


@pytest.mark.parametrize("operation", SUPPORTED, ids=str)
def test_an_example_fits_its_schema(operation: Operation) -> None:
    request = operation.request()
    assert not re.search(r"[{}]", request["url"])
    for parameter in operation.described["parameters"]:
        if "example" in parameter:
            assert misfits(parameter["example"], parameter["schema"]) == []
    if "requestBody" in operation.described:
        schema = operation.described["requestBody"]["content"]["application/json"]["schema"]
        assert request["json"] is not None
        assert misfits(request["json"], schema) == []


def test_each_route_has_an_example() -> None:
    assert set(EXAMPLES) == {(operation.method, operation.path) for operation in SUPPORTED}


def test_all_examples_are_of_the_example_graphs() -> None:
    names = set(re.findall(r'"assistant_id": "([a-z_]+)"', json.dumps(DOCUMENT)))
    assert {"steps", "chat"} <= names <= set(json.loads(GRAPHS.read_text())["graphs"])
