"""What the description of the API (`/docs`, `/openapi.json`) says of its subjects, ids and streams."""

import json
from pathlib import Path
from typing import Final

from millstream.api.examples import (
    ASSISTANT,
    CHECKPOINT,
    CRON,
    EXAMPLES,
    RUN,
    THREAD,
)
from millstream.api.http.endpoint import Endpoint
from millstream.api.http.openapi import PathParameter, Reference, Subject
from millstream.api.runs.schemas import RunBatch, RunCreateStateful, RunCreateStateless
from millstream.shared.events.modes import MODES
from millstream.shared.events.protocol import CHANNELS

INTRODUCTION: Final = f"""
The LangGraph Platform API, on Redis alone.

**Examples** are complete requests. They need the graphs of Millstream's `examples/langgraph.json`; with other graphs,
replace the graph's name (`steps`, `chat`) and the input. They use the thread `{THREAD}`, which the first example of a
run creates. For the ids that the server assigns (of runs, crons and checkpoints) this page sends the last one that it
has received, so create a run before you read it.

**Errors** have a 4xx or 5xx status and the body `{{"detail": "…"}}`, which names the field that is wrong. After 503,
repeat the request when `Retry-After` has passed.

**Lists** are pages: `limit` and `offset` select one. Searches return `X-Pagination-Total`, and `X-Pagination-Next` if
there is a next page.
"""


OF_STREAMS: Final = (
    "With `stream_subgraphs`, the name of a subgraph's event ends with its namespace: `values|child:…`. `Location` is "
    "the path at which a client that was cut off continues."
)


def _events_of_runs() -> str:
    rows = [
        '| `metadata` | first, and again when another worker continues the run: `{"run_id", "attempt"}` |',
        *(
            f"| {', '.join(f'`{event}`' for event in mode.events)} | of the stream mode `{mode.name}` |"
            for mode in MODES.values()
        ),
        '| `error` | only if the run failed, before the end: `{"error", "message"}` |',
        "| `gap` | the client's position was trimmed: the events that are left follow |",
        '| `end` | always last: `{"status"}`, the status of the run |',
    ]
    return "\n".join(
        [
            "Server-sent events: `event`, `data` (JSON) and `id`. Comments (`: heartbeat`) keep the connection open.",
            "",
            "| event | |",
            "|---|---|",
            *rows,
            "",
            OF_STREAMS,
        ]
    )


SUBJECTS: Final = {
    "runs": Subject(
        "Runs",
        "A run executes a graph: in the background, streamed, or waited for; on a thread, or on a new one.",
        _events_of_runs(),
    ),
    "threads": Subject(
        "Threads",
        "A thread has the state of one conversation, its history and its runs.",
        'Server-sent events of all runs of the thread: those of a run\'s stream. `metadata` with `{"status": '
        '"run_done", "run_id"}` is the end of a run; `state_update` a state that was written outside of runs. '
        "The stream stays open until the client leaves.",
    ),
    "assistants": Subject(
        "Assistants",
        "A graph with a config. Each graph has a default assistant; clients create others.",
    ),
    "crons": Subject("Crons", "Runs that a schedule creates, each on a new thread or all on one."),
    "store": Subject("Store", "Values by namespace and key, which graphs keep across threads."),
    "protocol": Subject(
        "Event streaming",
        "The event streaming protocol: commands to a thread, and its events by channel. The paths of events accept "
        "WebSockets too.",
        "Server-sent events. `event` is the channel's name, `id` a number that rises, and `data` "
        '`{"type": "event", "event_id", "seq", "method", "params": {"namespace", "timestamp", "data"}}`. The channels '
        f"are {', '.join(f'`{name}`' for name in CHANNELS)}. The stream stays open until the client leaves.",
    ),
    "agent_protocol": Subject(
        "Agent Protocol", "The routes of the Agent Protocol. An agent is an assistant."
    ),
    "mcp": Subject(
        "MCP",
        "The Model Context Protocol: each assistant is a tool.",
        "The reply, in JSON or as one server-sent event. `Accept` must name both media types.",
    ),
    "a2a": Subject(
        "A2A",
        "The Agent2Agent protocol: each assistant is an agent.",
        "The reply, in JSON; for `message/stream` and `tasks/resubscribe`, server-sent events with a reply each.",
    ),
    "ops": Subject("Operations", "What operators and autoscalers read."),
    "health": Subject("Server", "The server's health and version."),
    "ui": Subject("Generative UI", "Not supported."),
}
PATH_PARAMETERS: Final = {
    "thread_id": PathParameter("The thread's id, which its client may choose.", THREAD),
    "run_id": PathParameter("The run's id.", RUN),
    "assistant_id": PathParameter(
        "The assistant's id. For schemas, drawings, A2A and UI also the name of its graph.",
        ASSISTANT,
    ),
    "agent_id": PathParameter("The agent's id, or the name of its graph.", "steps", is_uuid=False),
    "cron_id": PathParameter("The cron's id.", CRON),
    "checkpoint_id": PathParameter("The checkpoint's id.", CHECKPOINT),
    "queue": PathParameter("The queue's name.", "default", is_uuid=False),
    "namespace": PathParameter("The subgraph's namespace.", "child", is_uuid=False),
}
CREATES_RUNS: Final = (RunCreateStateful, RunCreateStateless, RunBatch)


def errors_of(endpoint: Endpoint) -> tuple[int, ...]:
    """Returns the statuses of the errors that only routes of this kind have."""
    if endpoint.body in CREATES_RUNS:
        return 400, 429
    if endpoint.handler.__module__.endswith(("graph_routes", "state_routes")):
        return 400, 413, 424
    return (400,) if endpoint.tag == "protocol" else ()


ANSWERS: Final = Path(__file__).with_name("example_answers.json")
REFERENCE: Final = Reference(
    introduction=INTRODUCTION.strip(),
    subjects=SUBJECTS,
    path_parameters=PATH_PARAMETERS,
    examples=EXAMPLES,
    answers=json.loads(ANSWERS.read_text()),
    errors_of=errors_of,
)
