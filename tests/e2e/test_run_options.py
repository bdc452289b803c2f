"""A run that answers an interrupt, and a run of a cron, have each option that a client gave: none is lost."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx
import pytest

from e2e.conftest import BEHAVIOUR
from harness.event_stream import command
from harness.processes import Fleet
from harness.waiting import until
from harness.webhook_receiver import Receiver
from millstream.api.runs.option_schemas import OptionFields
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import keys
from millstream.shared.events.protocol import COMMAND_MODES
from millstream.shared.redis import connect
from millstream.shared.wire import RunOptions

OPTIONS: Final = RunOptions.__struct_fields__
IN_KWARGS: Final = dict(zip(OPTIONS, RunOptions.__struct_encode_fields__, strict=True))
# Of each option a value that is not the default, as a request has it; `webhook` is the receiver's URL.
VALUES: Final[dict[str, Any]] = {
    "stream_mode": ["updates", "custom"],
    "stream_subgraphs": True,
    "stream_resumable": True,
    "interrupt_before": ["say"],
    "interrupt_after": ["nowhere"],
    "webhook": "/hook",
    "feedback_keys": ["liked"],
    "durability": "sync",
    "strict_resume": True,
    "langsmith_tracer": {"project_name": "p"},
}
# What a path has to stream for its own clients, beside or in place of what the client of the first run wanted.
STREAMED: Final[dict[str, Any]] = {
    "input.respond": {"stream_mode": list(COMMAND_MODES)},
    "A2A": {"stream_mode": [*VALUES["stream_mode"], "messages-tuple"]},
    "cron": {},
}
ANSWERED: Final = ("input.respond", "A2A")


@dataclass(frozen=True, slots=True)
class Site:
    """A deployment whose webhooks lead to a receiver."""

    url: str
    redis_url: str
    receiver: Receiver

    async def webhook_called(self, run_id: str) -> None:
        """Waits until the webhook of the run was called."""
        calls = self.receiver.requests
        await until(lambda: any(call.json["run_id"] == run_id for call in calls), what="a webhook")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("options")
    config = folder / "langgraph.json"
    graphs = {"talk": f"{BEHAVIOUR.with_name('conversation.py')}:talk"}
    webhooks = {"url": {"disable_loopback": False}}
    config.write_text(json.dumps({"graphs": graphs, "webhooks": webhooks}))
    with (
        Receiver() as receiver,
        EmbeddedRedis(folder / "redis", appendonly=False) as server,
        Fleet(server.url, WEBHOOK_BASE_URL=receiver.url) as fleet,
    ):
        api = fleet.api()
        fleet.worker(config).wait_ready()
        yield Site(api.wait_ready().url, server.url, receiver)


@pytest.fixture
async def http(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=site.url, timeout=30) as client:
        yield client


async def run_of(http: httpx.AsyncClient, thread: str) -> dict[str, Any]:
    """Returns the thread's newest run, once it has ended."""

    async def ended() -> Any:
        runs = (await http.get(f"/threads/{thread}/runs")).json()
        return runs and runs[0]["status"] not in ("pending", "running") and runs[0]

    return dict(await until(ended, what="the end of the run"))


async def paused(http: httpx.AsyncClient, **options: Any) -> tuple[str, dict[str, Any]]:
    """Has a run ask its question; returns the thread and the run."""
    thread = str((await http.post("/threads", json={})).json()["thread_id"])
    state = {"messages": [{"role": "user", "content": "an interview"}]}
    body = {"assistant_id": "talk", "input": state, **options}
    output = (await http.post(f"/threads/{thread}/runs/wait", json=body)).json()
    assert "__interrupt__" in output
    return thread, await run_of(http, thread)


async def answered(
    http: httpx.AsyncClient, path: str, thread: str, first: dict[str, Any]
) -> dict[str, Any]:
    """Answers over this path, so that the interview ends; returns the run of the answer, once it has ended."""
    if path == "input.respond":
        [question] = (await http.get(f"/threads/{thread}/state")).json()["interrupts"]
        await command(http, thread, path, interrupt_id=question["id"], response="enough")
    else:
        message = {
            "messageId": str(uuid.uuid4()),
            "role": "ROLE_USER",
            "parts": [{"text": "enough"}],
            "taskId": f"{thread}:{first['run_id']}",
        }
        call = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
        response = await http.post("/a2a/talk", json=call, headers={"A2A-Version": "1.0"})
        assert "result" in response.json(), response.text
    run = await run_of(http, thread)
    assert run["run_id"] != first["run_id"]
    return run


async def fired(site: Site, http: httpx.AsyncClient, **options: Any) -> dict[str, Any]:
    """Returns the run of a cron that is due, once it has ended."""
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    state = {"messages": [{"role": "user", "content": "hello"}]}
    body = {"assistant_id": "talk", "schedule": "0 0 1 1 *", "input": state, **options}
    response = await http.post(f"/threads/{thread}/runs/crons", json=body)
    assert response.status_code == 200, response.text
    cron = response.json()
    for option, value in options.items():
        assert cron["payload"][option] == value
    redis = connect(site.redis_url)
    await redis.zadd(keys.crons(), {cron["cron_id"]: 1.0}, xx=True)
    await redis.aclose()
    return await run_of(http, thread)


async def runs_with_options(
    site: Site, http: httpx.AsyncClient, path: str, **options: Any
) -> list[dict[str, Any]]:
    """Returns the run with these options and, if it paused, the run that answered its interrupt."""
    if path == "cron":
        return [await fired(site, http, **options)]
    thread, first = await paused(http, **options)
    return [first, await answered(http, path, thread, first)]


# ── On the record ───────────────────────────────────────────────────────────────────────────


def test_each_option_is_looked_at_here_and_is_a_field_of_requests() -> None:
    assert VALUES.keys() == set(OPTIONS)
    default = RunOptions()
    assert not [name for name in OPTIONS if getattr(default, name) == VALUES[name]]
    assert set(OPTIONS) == OptionFields.model_fields.keys() - {"checkpoint_during"}


@pytest.fixture(scope="module", params=STREAMED)
def path_and_runs(request: pytest.FixtureRequest, site: Site) -> tuple[str, list[dict[str, Any]]]:
    """A path, and the runs of which the first was given all options and the last is to have them."""

    async def play() -> list[dict[str, Any]]:
        async with httpx.AsyncClient(base_url=site.url, timeout=30) as client:
            return await runs_with_options(site, client, request.param, **VALUES)

    return request.param, asyncio.run(play())


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_is_kept(option: str, path_and_runs: tuple[str, list[dict[str, Any]]]) -> None:
    path, runs = path_and_runs
    expected = [VALUES[option] for _ in runs[:-1]] + [STREAMED[path].get(option, VALUES[option])]
    assert [run["kwargs"][IN_KWARGS[option]] for run in runs] == expected


# ── What can be seen ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", STREAMED)
@pytest.mark.parametrize(
    "breakpoint", [{"interrupt_before": ["say"]}, {"interrupt_after": ["interview", "say"]}]
)
async def test_the_run_stops_at_its_breakpoints_and_calls_its_webhook(
    site: Site, http: httpx.AsyncClient, path: str, breakpoint: dict[str, Any]
) -> None:
    [*_, run] = await runs_with_options(site, http, path, webhook="/hook", **breakpoint)
    state = (await http.get(f"/threads/{run['thread_id']}/state")).json()
    before = breakpoint == {"interrupt_before": ["say"]}
    assert state["next"] == (["say"] if before or path in ANSWERED else [])
    await site.webhook_called(run["run_id"])
