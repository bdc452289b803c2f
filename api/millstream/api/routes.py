"""Every route: method, path, handler, and the models of its request and response."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.websockets import WebSocket

from millstream.api import health_routes, ui_routes
from millstream.api.a2a import routes as a2a
from millstream.api.a2a.schemas import CardQuery
from millstream.api.agent_protocol import routes as agent_protocol
from millstream.api.agent_protocol.schemas import (
    Agent,
    AgentRun,
    AgentSchemas,
    AgentSearch,
    RunSearch,
    RunWait,
)
from millstream.api.assistants import graph_routes as assistant_graphs
from millstream.api.assistants import routes as assistants
from millstream.api.assistants.schemas import (
    Assistant,
    AssistantCreate,
    AssistantDelete,
    AssistantFilter,
    AssistantPatch,
    AssistantSearch,
    AssistantVersion,
    DrawQuery,
    GraphDrawing,
    GraphSchemas,
    SubgraphsQuery,
    VersionChoice,
    VersionSearch,
)
from millstream.api.crons import routes as crons
from millstream.api.crons.schemas import (
    Cron,
    CronCreateStateful,
    CronCreateStateless,
    CronFilter,
    CronPatch,
    CronSearch,
)
from millstream.api.health_schemas import Health, ServerInfo
from millstream.api.http.endpoint import AUTHENTICATED, BY_METHOD, OPEN, Endpoint
from millstream.api.http.schema_base import JsonRpcCall
from millstream.api.mcp import routes as mcp
from millstream.api.ops import routes as ops
from millstream.api.ops.schemas import (
    MetricsQuery,
    PauseRequest,
    Queue,
    QueueQuery,
    QueueStatus,
    Scaling,
    ScalingQuery,
    WorkerInfo,
)
from millstream.api.protocol import routes as protocol
from millstream.api.protocol import websocket
from millstream.api.protocol.schemas import EventStreamRequest, ProtocolCommand
from millstream.api.runs import routes as runs
from millstream.api.runs.explanation_schemas import RunExplanation
from millstream.api.runs.schemas import (
    Run,
    RunBatch,
    RunCancel,
    RunCreateStateful,
    RunCreateStateless,
    RunJoin,
    RunJoinStream,
    RunList,
    RunsCancel,
    RunsCancelQuery,
)
from millstream.api.store import routes as store
from millstream.api.store.schemas import (
    FoundItems,
    FoundNamespaces,
    Item,
    ItemDelete,
    ItemGet,
    ItemPut,
    ItemSearch,
    NamespaceSearch,
)
from millstream.api.threads import routes as threads
from millstream.api.threads import state_routes
from millstream.api.threads.schemas import (
    Thread,
    ThreadCreate,
    ThreadFilter,
    ThreadPatch,
    ThreadQuery,
    ThreadSearch,
    ThreadsPrune,
    ThreadsPruned,
    ThreadStorage,
    ThreadStreamQuery,
)
from millstream.api.threads.state_schemas import (
    HistoryQuery,
    HistoryRequest,
    StateAtCheckpoint,
    StateQuery,
    StateUpdate,
    StateUpdated,
    ThreadState,
)
from millstream.shared.langgraph_json.http import HttpSettings

SocketHandler = Callable[[WebSocket], Awaitable[None]]
ASSISTANT = "/assistants/{assistant_id}"
AGENT = "/agents/{agent_id}"
THREAD_RUNS = "/threads/{thread_id}/runs"
CRON = "/runs/crons/{cron_id}"
QUEUE = "/ops/queues/{queue}"
STATE = "/threads/{thread_id}/state"
# Events of a thread in the event streaming protocol. The second path is the Agent Protocol's.
EVENTS = ("/threads/{thread_id}/stream/events", "/threads/{thread_id}/stream")
HISTORY = "/threads/{thread_id}/history"
# fmt: off
ASSISTANTS = [
    Endpoint("POST", "/assistants", assistants.create, "assistants.create", body=AssistantCreate, answer=Assistant),
    Endpoint(
        "POST", "/assistants/search", assistants.search, "assistants.search", body=AssistantSearch,
        answer=list[Assistant],
    ),
    Endpoint("POST", "/assistants/count", assistants.count, "assistants.search", body=AssistantFilter, answer=int),
    Endpoint("GET", ASSISTANT, assistants.get, "assistants.read", answer=Assistant),
    Endpoint("PATCH", ASSISTANT, assistants.patch, "assistants.update", body=AssistantPatch, answer=Assistant),
    Endpoint("DELETE", ASSISTANT, assistants.delete, "assistants.delete", query=AssistantDelete, status=204),
    Endpoint(
        "POST", f"{ASSISTANT}/versions", assistants.versions, "assistants.read", body=VersionSearch,
        answer=list[AssistantVersion],
    ),
    Endpoint(
        "POST", f"{ASSISTANT}/latest", assistants.latest, "assistants.update", body=VersionChoice, answer=Assistant,
    ),
    Endpoint("GET", f"{ASSISTANT}/schemas", assistant_graphs.schemas, "assistants.read", answer=GraphSchemas),
    Endpoint(
        "GET", f"{ASSISTANT}/graph", assistant_graphs.draw, "assistants.read", query=DrawQuery, answer=GraphDrawing,
    ),
    Endpoint(
        "GET", f"{ASSISTANT}/subgraphs", assistant_graphs.subgraphs, "assistants.read", query=SubgraphsQuery,
        answer=dict[str, Any],
    ),
    Endpoint(
        "GET", f"{ASSISTANT}/subgraphs/{{namespace}}", assistant_graphs.subgraphs, "assistants.read",
        query=SubgraphsQuery, answer=dict[str, Any],
    ),
    Endpoint(
        "POST", "/agents/search", agent_protocol.search, "assistants.search", body=AgentSearch, answer=list[Agent],
    ),
    Endpoint("GET", AGENT, agent_protocol.get, "assistants.read", answer=Agent),
    Endpoint("GET", f"{AGENT}/schemas", agent_protocol.schemas, "assistants.read", answer=AgentSchemas),
]
THREADS = [
    Endpoint("POST", "/threads", threads.create, "threads.create", body=ThreadCreate, answer=Thread),
    Endpoint("POST", "/threads/search", threads.search, "threads.search", body=ThreadSearch, answer=list[Thread]),
    Endpoint("POST", "/threads/count", threads.count, "threads.search", body=ThreadFilter, answer=int),
    Endpoint("POST", "/threads/prune", threads.prune, "threads.delete", body=ThreadsPrune, answer=ThreadsPruned),
    Endpoint("GET", "/threads/{thread_id}", threads.get, "threads.read", query=ThreadQuery, answer=Thread),
    Endpoint("PATCH", "/threads/{thread_id}", threads.patch, "threads.update", body=ThreadPatch, answer=Thread),
    Endpoint("GET", "/threads/{thread_id}/storage", threads.storage, "threads.read", answer=ThreadStorage),
    Endpoint("POST", "/threads/{thread_id}/copy", threads.copy, asks=("threads.read", "threads.create"), answer=Thread),
    Endpoint("DELETE", "/threads/{thread_id}", threads.delete, "threads.delete", status=204),
    Endpoint(
        "GET", "/threads/{thread_id}/stream", threads.stream, "threads.read", query=ThreadStreamQuery, streams=True,
    ),
    Endpoint("GET", STATE, state_routes.get, "threads.read", query=StateQuery, answer=ThreadState),
    Endpoint("POST", STATE, state_routes.update, "threads.update", body=StateUpdate, answer=StateUpdated),
    # The npm SDK's threads.patchState calls this to change the thread's metadata.
    Endpoint("PATCH", STATE, threads.patch, "threads.update", body=ThreadPatch, answer=Thread),
    Endpoint(
        "POST", f"{STATE}/checkpoint", state_routes.at_checkpoint, "threads.read", body=StateAtCheckpoint,
        answer=ThreadState,
    ),
    Endpoint(
        "GET", f"{STATE}/{{checkpoint_id}}", state_routes.get, "threads.read", query=StateQuery, answer=ThreadState,
    ),
    Endpoint("GET", HISTORY, state_routes.history_page, "threads.read", query=HistoryQuery, answer=list[ThreadState]),
    Endpoint("POST", HISTORY, state_routes.history, "threads.read", body=HistoryRequest, answer=list[ThreadState]),
]
RUNS = [
    Endpoint(
        "POST", "/threads/{thread_id}/commands", protocol.commands, BY_METHOD, body=ProtocolCommand, answer=dict[str,
        Any],
    ),
    *(
        Endpoint("POST", path, protocol.events, "threads.read", body=EventStreamRequest, streams=True)
        for path in EVENTS
    ),
    Endpoint(
        "POST", f"{THREAD_RUNS}/crons", crons.create_for_thread, asks=("crons.create", "threads.create_run"),
        body=CronCreateStateful, answer=Cron,
    ),
    Endpoint(
        "POST", "/runs/crons", crons.create, asks=("crons.create", "threads.create_run"), body=CronCreateStateless,
        answer=Cron,
    ),
    Endpoint("POST", "/runs/crons/search", crons.search, "crons.search", body=CronSearch, answer=list[Cron]),
    Endpoint("POST", "/runs/crons/count", crons.count, "crons.search", body=CronFilter, answer=int),
    Endpoint("GET", CRON, crons.get, "crons.read", answer=Cron),
    Endpoint("PATCH", CRON, crons.patch, "crons.update", body=CronPatch, answer=Cron),
    Endpoint("DELETE", CRON, crons.delete, "crons.delete", status=204),
    Endpoint(
        "POST", THREAD_RUNS, runs.create, "threads.create_run", body=RunCreateStateful, answer=Run,
        starts_run=True,
    ),
    Endpoint(
        "POST", f"{THREAD_RUNS}/stream", runs.stream, "threads.create_run", body=RunCreateStateful, streams=True,
        starts_run=True,
    ),
    Endpoint("POST", f"{THREAD_RUNS}/wait", runs.wait, "threads.create_run", body=RunCreateStateful, starts_run=True),
    Endpoint(
        "POST", "/runs", runs.create_stateless, "threads.create_run", body=RunCreateStateless, answer=Run,
        starts_run=True,
    ),
    Endpoint(
        "POST", "/runs/stream", runs.stream_stateless, "threads.create_run", body=RunCreateStateless, streams=True,
        starts_run=True,
    ),
    Endpoint("POST", "/runs/wait", runs.wait_stateless, "threads.create_run", body=RunCreateStateless, starts_run=True),
    Endpoint("GET", THREAD_RUNS, runs.list_runs, "threads.read", query=RunList, answer=list[Run]),
    Endpoint("POST", "/runs/batch", runs.create_batch, "threads.create_run", body=RunBatch, answer=list[Run]),
    Endpoint(
        "POST", "/runs/cancel", runs.cancel_many, "threads.update", body=RunsCancel, query=RunsCancelQuery,
        status=204,
    ),
    Endpoint("POST", "/runs/search", agent_protocol.search_runs, BY_METHOD, body=RunSearch, answer=list[AgentRun]),
    *(
        endpoint
        for run in (f"{THREAD_RUNS}/{{run_id}}", "/runs/{run_id}")
        for endpoint in (
            Endpoint("GET", run, runs.get, "threads.read", answer=Run),
            Endpoint("DELETE", run, runs.delete, "threads.delete", status=204),
            Endpoint("GET", f"{run}/explain", runs.explain, "threads.read", answer=RunExplanation),
            Endpoint("GET", f"{run}/join", runs.join, "threads.read", query=RunJoin),
            Endpoint("GET", f"{run}/wait", agent_protocol.wait, "threads.read", query=RunJoin, answer=RunWait),
            Endpoint("GET", f"{run}/stream", runs.join_stream, "threads.read", query=RunJoinStream, streams=True),
            Endpoint("POST", f"{run}/cancel", runs.cancel, "threads.update", query=RunCancel, status=202),
        )
    ),
]
STORE = [
    Endpoint("PUT", "/store/items", store.put, "store.put", body=ItemPut, status=204),
    Endpoint("GET", "/store/items", store.get, "store.get", query=ItemGet, answer=Item | None),
    Endpoint("DELETE", "/store/items", store.delete, "store.delete", body=ItemDelete, status=204),
    Endpoint("POST", "/store/items/search", store.search, "store.search", body=ItemSearch, answer=FoundItems),
    Endpoint(
        "POST", "/store/namespaces", store.namespaces, "store.list_namespaces", body=NamespaceSearch,
        answer=FoundNamespaces,
    ),
]
MCP = [
    endpoint
    for path in ("/mcp", "/mcp/")
    for endpoint in (
        Endpoint("POST", path, mcp.post, BY_METHOD, body=JsonRpcCall, answer=dict[str, Any], streams=True),
        Endpoint("GET", path, mcp.get, AUTHENTICATED, status=405),
        Endpoint("DELETE", path, mcp.delete, AUTHENTICATED, status=405),
    )
]
A2A = [
    Endpoint(
        "POST", "/a2a/{assistant_id}", a2a.post, "assistants.read", body=JsonRpcCall, answer=dict[str, Any],
        streams=True,
    ),
    Endpoint(
        "POST", "/a2a/{assistant_id}/", a2a.post, "assistants.read", body=JsonRpcCall, answer=dict[str, Any],
        streams=True,
    ),
    Endpoint(
        "GET", "/.well-known/agent-card.json", a2a.default_card, "assistants.read", query=CardQuery, answer=dict[str,
        Any],
    ),
    Endpoint(
        "GET", "/a2a/{assistant_id}/.well-known/agent-card.json", a2a.card, "assistants.read", answer=dict[str, Any],
    ),
]
UI = [Endpoint("POST", "/ui/{assistant_id}", ui_routes.component, AUTHENTICATED, status=404)]
META = [
    Endpoint("GET", "/info", health_routes.info, OPEN, answer=ServerInfo),
    Endpoint("GET", "/ops/scaling", ops.scaling, "ops.read", query=ScalingQuery, answer=Scaling),
    Endpoint("GET", "/ops/workers", ops.workers, "ops.read", query=QueueQuery, answer=list[WorkerInfo]),
    Endpoint("GET", "/ops/queues", ops.queues, "ops.read", answer=list[Queue]),
    Endpoint("POST", f"{QUEUE}/pause", ops.pause, "ops.write", body=PauseRequest, answer=QueueStatus),
    Endpoint("POST", f"{QUEUE}/resume", ops.resume, "ops.write", answer=QueueStatus),
    Endpoint("GET", "/metrics", ops.metrics, "ops.read", query=MetricsQuery, answer=dict[str, Any], text="text/plain"),
]
ALWAYS = [  # for probes: langgraph.json can't disable it
    Endpoint("GET", "/ok", health_routes.ok, OPEN, answer=Health),
]
SOCKETS: list[tuple[str, SocketHandler]] = [(path, websocket.connect) for path in EVENTS]
ENDPOINTS = [*ASSISTANTS, *THREADS, *RUNS, *STORE, *MCP, *A2A, *UI, *META, *ALWAYS]
# fmt: on


def enabled_endpoints(http: HttpSettings) -> list[Endpoint]:
    """Returns the endpoints that langgraph.json has not disabled."""
    groups = [
        (ASSISTANTS, http.disable_assistants),
        (THREADS, http.disable_threads),
        (RUNS, http.disable_runs),
        (STORE, http.disable_store),
        (MCP, http.disable_mcp),
        (A2A, http.disable_a2a),
        (UI, http.disable_ui),
        (META, http.disable_meta),
        (ALWAYS, False),
    ]
    return [endpoint for group, disabled in groups if not disabled for endpoint in group]


def enabled_sockets(http: HttpSettings) -> list[tuple[str, SocketHandler]]:
    """Returns paths and handlers of the WebSockets that langgraph.json has not disabled."""
    return [] if http.disable_runs else SOCKETS
