"""The doors of the server, and what each caller gets at them: the table of test_matrix.py and docs/access-matrix.md.

The callers are nobody; another user; a guest, whose filter is `$contains`; the owner of the records; an admin.
"""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

CALLERS: Final = ("nobody", "other", "guest", "owner", "admin")
OK, NO_USER, MISSING, FORBIDDEN = "allowed", "401", "missing", "403"
SILENT, LEFT_OUT, SAME = "silent", "left out", "same"


class Row(Enum):
    """What the callers get, in the order of CALLERS."""

    OPEN = (OK, OK, OK, OK, OK)
    EACH_USER = (NO_USER, OK, OK, OK, OK)
    RECORD = (NO_USER, MISSING, MISSING, OK, OK)
    LIST = (NO_USER, LEFT_OUT, LEFT_OUT, OK, OK)
    STREAM = (NO_USER, SILENT, SILENT, OK, OK)
    STORE = (NO_USER, FORBIDDEN, FORBIDDEN, OK, OK)
    OPS = (NO_USER, FORBIDDEN, FORBIDDEN, FORBIDDEN, OK)
    NOT_SERVED = (NO_USER, SAME, SAME, SAME, SAME)


THREAD = "thread_id"
RUN = (
    "threads.create_run: after_seconds assistant_id if_not_exists kwargs metadata multitask_strategy "
    "prevent_insert_if_inflight run_id status thread_id"
)
READ = f"threads.read: {THREAD}"
CREATE = "threads.create: if_exists metadata thread_id"
ASSISTANT = "assistants.read: assistant_id"
ASSISTANTS = "assistants.search: graph_id limit metadata offset"
THREADS = "threads.search: limit metadata offset status values"
CANCEL = f"threads.update: action metadata {THREAD}"
CRON = "crons.create: cron_id end_time metadata payload schedule thread_id user_id"
CRONS = "crons.search: assistant_id limit metadata offset thread_id"
NOTHING = "nothing"


@dataclass(frozen=True)
class Door:
    """One door. `{names}` in its path, query and body are those of a scene (matrix_scene.py).

    Attributes:
        row: what the callers get.
        asks: the questions with the names of their values that the owner's request leads to, separated by `;`.
        body: of the request; for a WebSocket, the method and the parameters of a command.
        path: names in the scene of the parameters in the path, if they differ.
        fresh: whether the owner and the admin each need records of their own, because the door changes them.
        allowed: a text in the response to those that may, if that is an error.
        taken: a text in the response to those that may not, where an unknown id would create a record.
        first: whether only the beginning of the response is read, because it does not end.
    """

    row: Row
    asks: str = NOTHING
    body: Any = None
    query: str = ""
    path: dict[str, str] = field(default_factory=dict)
    fresh: bool = False
    allowed: str = ""
    taken: str = ""
    first: bool = False

    @property
    def questions(self) -> dict[str, set[str]]:
        """The questions of `asks`, with the names of their values."""
        pairs = [each.split(":") for each in self.asks.split(";") if self.asks != NOTHING]
        return {name.strip(): set(keys.split()) for name, keys in pairs}


OPEN, EACH_USER, RECORD, LIST = Row.OPEN, Row.EACH_USER, Row.RECORD, Row.LIST
STREAM, STORE, OPS, NOT_SERVED = Row.STREAM, Row.STORE, Row.OPS, Row.NOT_SERVED
TAGGED = {"metadata": {"tag": "{tag}"}}
STEPS: dict[str, Any] = {"assistant_id": "steps", "input": {"items": []}}
OF_ASSISTANT = {**STEPS, "assistant_id": "{assistant_id}"}
YEARLY = {**STEPS, "schedule": "0 0 1 1 *", "metadata": {}}
ITEM = {"namespace": ["owner", "{tag}"], "key": "k"}
DUE = {"thread_id": "due_thread_id", "run_id": "due_run_id"}
LOOSE, DUE_LOOSE = {"run_id": "loose_run_id"}, {"run_id": "due_loose_run_id"}
SUPERSTEP = {"values": {"items": [1]}, "as_node": "step"}
LEAVING = "?cancel_on_disconnect=true"
TAKEN = "Thread or assistant not found."
EVENTS = {"channels": ["lifecycle"]}

DOORS: Final[dict[str, Door]] = {
    "POST /assistants": Door(
        EACH_USER, "assistants.create: assistant_id graph_id metadata name",
        {"graph_id": "steps", "name": "made", "metadata": {}}
    ),
    "POST /assistants # config": Door(
        EACH_USER, "assistants.create: assistant_id config context graph_id metadata name",
        {"graph_id": "steps", "name": "made", "config": {}, "context": {}, "metadata": {}},
    ),
    "POST /assistants/search": Door(LIST, ASSISTANTS, TAGGED),
    "POST /assistants/count": Door(LIST, ASSISTANTS, TAGGED),
    "GET /assistants/{assistant_id}": Door(RECORD, ASSISTANT),
    "PATCH /assistants/{assistant_id}": Door(
        RECORD, "assistants.update: assistant_id graph_id metadata name",
        {"graph_id": "steps", "name": "mine", "metadata": {}}, fresh=True
    ),
    "DELETE /assistants/{assistant_id}": Door(RECORD, "assistants.delete: assistant_id", fresh=True),
    "POST /assistants/{assistant_id}/versions": Door(RECORD, ASSISTANT, {}),
    "POST /assistants/{assistant_id}/latest": Door(RECORD, "assistants.update: assistant_id version", {"version": 1}),
    "GET /assistants/{assistant_id}/schemas": Door(RECORD, ASSISTANT),
    "GET /assistants/{assistant_id}/graph": Door(RECORD, ASSISTANT),
    "GET /assistants/{assistant_id}/subgraphs": Door(RECORD, ASSISTANT),
    "GET /assistants/{assistant_id}/subgraphs/{namespace}": Door(RECORD, ASSISTANT, allowed="has no subgraph"),
    "POST /agents/search": Door(LIST, f"{ASSISTANTS}; {ASSISTANT}", TAGGED),
    "GET /agents/{agent_id}": Door(RECORD, ASSISTANT),
    "GET /agents/{agent_id}/schemas": Door(RECORD, ASSISTANT),
    "POST /threads": Door(EACH_USER, CREATE, {}),
    "POST /threads # do_nothing": Door(
        RECORD, f"{CREATE}; {READ}", {"thread_id": "{thread_id}", "if_exists": "do_nothing"}, taken="already exists"
    ),
    "POST /threads # supersteps": Door(
        EACH_USER, f"{CREATE}; threads.update: {THREAD}",
        {"metadata": {"graph_id": "steps"}, "supersteps": [{"updates": [SUPERSTEP]}]},
    ),
    "POST /threads/search": Door(LIST, THREADS, TAGGED),
    "POST /threads/search # ids": Door(LIST, THREADS, {"ids": ["{thread_id}"]}),
    "POST /threads/count": Door(LIST, THREADS, TAGGED),
    "POST /threads/prune": Door(RECORD, "threads.delete: thread_ids", {"thread_ids": ["{thread_id}"]}, fresh=True),
    "GET /threads/{thread_id}": Door(RECORD, READ),
    "PATCH /threads/{thread_id}": Door(RECORD, f"threads.update: metadata {THREAD}", {"metadata": {"n": 1}}),
    "GET /threads/{thread_id}/storage": Door(RECORD, READ),
    "POST /threads/{thread_id}/copy": Door(RECORD, f"{READ}; threads.create: {THREAD}"),
    "DELETE /threads/{thread_id}": Door(RECORD, f"threads.delete: {THREAD}", fresh=True),
    "GET /threads/{thread_id}/stream": Door(RECORD, READ, first=True),
    "GET /threads/{thread_id}/state": Door(RECORD, READ),
    "POST /threads/{thread_id}/state": Door(
        RECORD, f"threads.update: {THREAD}", {"values": {"items": [9]}}, fresh=True,
    ),
    "PATCH /threads/{thread_id}/state": Door(RECORD, f"threads.update: metadata {THREAD}", {"metadata": {"n": 1}}),
    "POST /threads/{thread_id}/state/checkpoint": Door(
        RECORD, READ, {"checkpoint": {"checkpoint_id": "{checkpoint_id}"}},
    ),
    "GET /threads/{thread_id}/state/{checkpoint_id}": Door(RECORD, READ),
    "GET /threads/{thread_id}/history": Door(RECORD, READ),
    "POST /threads/{thread_id}/history": Door(RECORD, READ, {}),
    "POST /threads/{thread_id}/stream/events": Door(STREAM, READ, EVENTS, first=True),
    "POST /threads/{thread_id}/stream": Door(STREAM, READ, EVENTS, first=True),
    "POST /threads/{thread_id}/runs/crons": Door(RECORD, f"{CRON}; {RUN}", YEARLY, fresh=True),
    "POST /runs/crons": Door(EACH_USER, f"{CRON}; {RUN}", YEARLY),
    "POST /runs/crons # assistant": Door(
        RECORD, f"{CRON}; {RUN}; {ASSISTANT}", {**YEARLY, "assistant_id": "{assistant_id}"}, fresh=True
    ),
    "POST /runs/crons/search": Door(LIST, CRONS, TAGGED),
    "POST /runs/crons/count": Door(LIST, CRONS, TAGGED),
    "GET /runs/crons/{cron_id}": Door(RECORD, "crons.read: cron_id"),
    "PATCH /runs/crons/{cron_id}": Door(
        RECORD, "crons.update: cron_id enabled end_time metadata on_run_completed payload schedule",
        {"schedule": "1 1 1 1 *"}
    ),
    "DELETE /runs/crons/{cron_id}": Door(RECORD, "crons.delete: cron_id", fresh=True),
    "POST /threads/{thread_id}/runs": Door(RECORD, RUN, STEPS, fresh=True),
    "POST /threads/{thread_id}/runs/stream": Door(RECORD, RUN, STEPS, fresh=True),
    "POST /threads/{thread_id}/runs/wait": Door(RECORD, RUN, STEPS, fresh=True),
    "POST /threads/{thread_id}/runs/wait # creates": Door(
        EACH_USER, f"{RUN}; {CREATE}", {**STEPS, "if_not_exists": "create"}, path={"thread_id": "new_id"}
    ),
    "POST /threads/{thread_id}/runs/wait # exists": Door(
        RECORD, RUN, {**STEPS, "if_not_exists": "create"}, fresh=True, taken=TAKEN
    ),
    "POST /runs": Door(EACH_USER, RUN, STEPS),
    "POST /runs/stream": Door(EACH_USER, RUN, STEPS),
    "POST /runs/wait": Door(EACH_USER, RUN, STEPS),
    "POST /runs/wait # assistant": Door(RECORD, f"{RUN}; {ASSISTANT}", OF_ASSISTANT),
    "GET /threads/{thread_id}/runs": Door(RECORD, READ),
    "POST /runs/batch": Door(EACH_USER, RUN, [STEPS]),
    "POST /runs/batch # assistant": Door(RECORD, f"{RUN}; {ASSISTANT}", [OF_ASSISTANT]),
    "POST /runs/cancel": Door(
        RECORD, CANCEL, {"thread_id": "{due_thread_id}", "run_ids": ["{due_run_id}"]}, fresh=True,
    ),
    "POST /runs/search": Door(RECORD, READ, {"thread_id": "{thread_id}"}),
    "POST /runs/search # live": Door(LIST, THREADS, {"status": "pending", **TAGGED}),
    "POST /runs/search # assistant": Door(
        RECORD, f"{THREADS}; {ASSISTANT}", {"status": "pending", "agent_id": "{assistant_id}"}
    ),
    **{
        door: each
        for run, path in (("/threads/{thread_id}/runs/{run_id}", {}), ("/runs/{run_id}", LOOSE))
        for due in [DUE if not path else DUE_LOOSE]
        for door, each in {
            f"GET {run}": Door(RECORD, READ, path=path),
            f"DELETE {run}": Door(RECORD, f"threads.delete: run_id {THREAD}", path=path, fresh=True),
            f"GET {run}/explain": Door(RECORD, READ, path=path),
            f"GET {run}/join": Door(RECORD, READ, path=path),
            f"GET {run}/join # cancels": Door(RECORD, f"{READ}; {CANCEL}", query=LEAVING, path=path),
            f"GET {run}/wait": Door(RECORD, READ, path=path),
            f"GET {run}/stream": Door(RECORD, READ, path=path),
            f"POST {run}/cancel": Door(RECORD, CANCEL, path=due, fresh=True),
        }.items()
    },
    "PUT /store/items": Door(STORE, "store.put: index key namespace ttl value", {**ITEM, "value": {}}),
    "GET /store/items": Door(STORE, "store.get: key namespace refresh_ttl", query="?namespace=owner&key=k"),
    "DELETE /store/items": Door(STORE, "store.delete: key namespace", {**ITEM, "key": "gone"}),
    "POST /store/items/search": Door(
        STORE, "store.search: filter limit namespace offset query refresh_ttl", {"namespace_prefix": ["owner"]}
    ),
    "POST /store/namespaces": Door(
        STORE, "store.list_namespaces: limit max_depth namespace offset suffix", {"prefix": ["owner"]}
    ),
    "GET /.well-known/agent-card.json": Door(RECORD, ASSISTANT, query="?assistant_id={assistant_id}"),
    "GET /a2a/{assistant_id}/.well-known/agent-card.json": Door(RECORD, ASSISTANT),
    "POST /ui/{assistant_id}": Door(NOT_SERVED),
    "GET /info": Door(OPEN),
    "GET /ok": Door(OPEN),
    "GET /docs": Door(OPEN),
    "GET /openapi.json": Door(OPEN),
    "GET /ops/scaling": Door(OPS),
    "GET /ops/workers": Door(OPS),
    "GET /ops/queues": Door(OPS),
    "POST /ops/queues/{queue}/pause": Door(OPS, body={"reason": "x"}, allowed="is unknown"),
    "POST /ops/queues/{queue}/resume": Door(OPS, allowed="is unknown"),
    "GET /metrics": Door(OPS),
    "GET /no/such/path": Door(NOT_SERVED),
}  # fmt: skip
