"""Executes the commands of the protocol, and builds the envelopes of their replies."""

from typing import Any, Final

import msgspec
from msgspec import structs
from pydantic import ValidationError

from millstream.api.context import RequestContext
from millstream.api.http.problems import sentence
from millstream.api.protocol.events import event_of
from millstream.api.protocol.schemas import (
    INTERRUPT_ID,
    GetTree,
    InputRespond,
    ProtocolCommand,
    RunStart,
)
from millstream.api.runs import admission
from millstream.api.runs import operations as runs
from millstream.api.runs.option_schemas import Command
from millstream.api.threads import operations as threads
from millstream.shared.errors import (
    AccessError,
    ConflictError,
    InvalidError,
    MillstreamError,
    TooLargeError,
    UnavailableError,
)
from millstream.shared.events.protocol import COMMAND_MODES, decode_params
from millstream.shared.events.thread_stream import Segment
from millstream.shared.rules.lifecycle import TERMINAL
from millstream.shared.rules.multitask import Strategy
from millstream.shared.runs import RunRecord
from millstream.shared.runs.continuation import continuation
from millstream.shared.wire import RunOptions, RunRequest

Reply = dict[str, Any]
INVALID_COMMAND: Final = "Protocol commands must include an integer id and string method."
RUNS: Final = 100  # newest runs of a thread, in which the paused one is searched
# Commands of the protocol that this server does not support.
NOT_SUPPORTED: Final = frozenset(
    {"input.inject", "state.get", "state.listCheckpoints", "state.fork", "subscription.reconnect"}
)


class CommandError(MillstreamError):
    """A command failed; `code` is one of the protocol's."""

    def __init__(self, code: str, message: str) -> None:
        """Takes the protocol's code, and a message for the client."""
        super().__init__(message)
        self.code = code


def read_command(value: Any) -> ProtocolCommand:
    """Returns the command. Raises CommandError for an invalid envelope."""
    try:
        return ProtocolCommand.model_validate(value)
    except ValidationError:
        raise CommandError("invalid_argument", INVALID_COMMAND) from None


def error_reply(command_id: Any, error: MillstreamError) -> Reply:
    """Returns the reply to a command that failed."""
    code = error.code if isinstance(error, CommandError) else "unknown_error"
    if isinstance(error, (InvalidError, ConflictError, TooLargeError)):
        code = "invalid_argument"
    if isinstance(error, AccessError):
        code = "permission_denied"
    return {"type": "error", "id": command_id, "error": code, "message": str(error)}


def success_reply(command_id: int, result: Reply) -> Reply:
    """Returns the reply to a command that succeeded.

    `applied_through_seq` is 0, as in the LangGraph Platform API: clients resume from it, and must not miss events
    that they have not got yet.
    """
    return {
        "type": "success",
        "id": command_id,
        "result": result,
        "meta": {"applied_through_seq": 0},
    }


async def execute(context: RequestContext, thread_id: str, command: ProtocolCommand) -> Reply:
    """Executes the command and returns its reply.

    Raises UnavailableError, and the errors of redis-py. After them, the client may send the command again.
    """
    try:
        match command.method:
            case "run.start":
                result = await _start(context, thread_id, command.params)
            case "input.respond":
                result = await _respond(context, thread_id, command.params)
            case "agent.getTree":
                result = await _get_tree(context, thread_id, command.params)
            case method if method in NOT_SUPPORTED:
                raise CommandError("not_supported", f"{method} is not supported by this server.")
            case method:
                raise CommandError("unknown_command", f"Unknown protocol command: {method[:100]}")
    except UnavailableError:
        raise
    except ValidationError as error:
        return error_reply(command.id, CommandError("invalid_argument", sentence(error)))
    except MillstreamError as error:
        return error_reply(command.id, error)
    return success_reply(command.id, result)


async def _start(context: RequestContext, thread_id: str, params: dict[str, Any]) -> Reply:
    """`run.start`: Admits a run, and creates the thread if it does not exist.

    On a thread that waits for answers, the input is the answer (source: langchain_protocol).
    """
    if not (params.get("assistant_id") or params.get("assistantId")):
        raise CommandError("invalid_argument", "run.start requires an assistant_id.")
    body = RunStart.model_validate(params)
    interrupts = await threads.interrupts(context, thread_id) if body.input is not None else b"{}"
    waiting = _interrupt_ids(interrupts)
    if _forks(body) or not (waiting or _names_interrupts(body.input)):
        return {"run_id": await _admit(context, body.request(), thread_id)}
    answers = _by_interrupt(body.input, waiting)
    body.command, body.input = Command(resume=answers), None
    if "multitask_strategy" not in body.model_fields_set:
        body.multitask_strategy = Strategy.REJECT  # of several answers, one counts
    try:
        return {"run_id": await _admit(context, body.request(), thread_id, answers=interrupts)}
    except ConflictError:
        raise _unknown_interrupt(next(iter(answers))) from None


def _forks(body: RunStart) -> bool:
    """Returns whether the run starts from a checkpoint, where the thread's current interrupts do not count."""
    selects = body.checkpoint is not None and body.checkpoint.selects_checkpoint()
    return bool(selects or body.checkpoint_id or body.config.configurable.get("checkpoint_id"))


def _interrupt_ids(interrupts: bytes) -> set[str]:
    """Returns the ids of interrupts in the form of `threads.get_interrupts`."""
    return {
        interrupt["id"]
        for of_task in msgspec.json.decode(interrupts).values()
        for interrupt in of_task
    }


def _names_interrupts(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(map(INTERRUPT_ID.fullmatch, value))


def _by_interrupt(value: Any, waiting: set[str]) -> dict[str, Any]:
    """Returns the answers in a run's input, by the ids of the interrupts."""
    if _names_interrupts(value):
        for interrupt_id in value:
            if interrupt_id not in waiting:
                raise _unknown_interrupt(interrupt_id)
        return dict(value)
    if len(waiting) > 1:
        raise CommandError(
            "invalid_argument",
            f"input: the thread waits for {len(waiting)} answers, and the input is one answer without an id. "
            "Use input.respond, or an object of interrupt ids and answers.",
        )
    return {next(iter(waiting)): value}


async def _respond(context: RequestContext, thread_id: str, params: dict[str, Any]) -> Reply:
    """`input.respond`: Admits a run that continues with the answers, with the config and options of the paused run.

    The admission checks that the thread still waits for the interrupts read here, so that one of several answers
    counts.
    """
    body = InputRespond.model_validate(params)
    interrupts = await threads.interrupts(context, thread_id)
    waiting = _interrupt_ids(interrupts)
    for answer in body.responses:
        if answer.interrupt_id not in waiting:
            raise _unknown_interrupt(answer.interrupt_id)
    command = body.model_dump(include={"update", "goto"}, exclude_unset=True)
    command["resume"] = {answer.interrupt_id: answer.response for answer in body.responses}
    before = continuation(
        await _paused_run(context, thread_id), command=command, metadata=body.metadata
    )
    try:
        run_id = await _admit(context, _with_changes(before, body), thread_id, answers=interrupts)
    except ConflictError:
        raise _unknown_interrupt(body.responses[0].interrupt_id) from None
    return {"run_id": run_id}


def _with_changes(before: RunRequest, body: InputRespond) -> RunRequest:
    """Returns the request with the config entries and options of the answer in place of the earlier ones."""
    config: dict[str, Any] = body.config.model_dump(exclude_unset=True)
    for name in ("configurable", "metadata"):
        config[name] = getattr(before.config, name) | config.get(name, {})
    options = body.model_dump(include=set(RunOptions.__struct_fields__), exclude_unset=True)
    return structs.replace(
        before,
        config=structs.replace(before.config, **config),
        options=structs.replace(before.options, **options),
    )


async def _admit(
    context: RequestContext, request: RunRequest, thread_id: str, answers: bytes | None = None
) -> str:
    """Admits a run that streams the protocol's events. Returns its id."""
    options = structs.replace(
        request.options,
        stream_mode=list(COMMAND_MODES),
        stream_subgraphs=True,
        stream_resumable=True,
    )
    request = structs.replace(request, options=options, event_streaming=True)
    record = await admission.admit(context, request, thread_id, answers=answers)
    return record.spec.run_id


def _unknown_interrupt(interrupt_id: str) -> CommandError:
    message = f"Unknown or already-consumed interrupt: {interrupt_id[:100]}"
    return CommandError("no_such_interrupt", message)


async def _paused_run(context: RequestContext, thread_id: str) -> RunRecord:
    """Returns the newest run of the thread that was executed, so not one that is due later or was cancelled first."""
    records = await runs.newest_runs(context, thread_id, limit=RUNS)
    executed = (run for run in records if run.status in TERMINAL and run.attempt)
    record = next(executed, records[0] if records else None)
    if record is None:
        raise CommandError("no_such_run", "There is no run on this thread.")
    return record


async def _run_of(context: RequestContext, thread_id: str, run_id: str | None) -> RunRecord:
    """Returns a run of the thread, by default the newest. Raises CommandError."""
    if run_id is None:
        records = await runs.newest_runs(context, thread_id, limit=1)
        record = records[0] if records else None
    else:
        record = await runs.find(context, thread_id, run_id)
    if record is None:
        raise CommandError("no_such_run", "There is no such run on this thread.")
    return record


async def _get_tree(context: RequestContext, thread_id: str, params: dict[str, Any]) -> Reply:
    """`agent.getTree`: Returns the graphs of a run, each with its status, from the stored events."""
    record = await _run_of(context, thread_id, GetTree.model_validate(params).run_id)
    run_id, graph_id = record.spec.run_id, record.spec.graph_id
    root: Reply = {"namespace": [], "status": "started", "graph_name": graph_id}
    nodes: dict[tuple[str, ...], Reply] = {(): root}
    segment = Segment(0, run_id, graph_id)
    async for entry in runs.stored_entries(context, thread_id, run_id):
        event = event_of(segment, entry)
        if event is None or event[0] != b"lifecycle":
            continue
        lifecycle = decode_params(event[1])
        _note(nodes, tuple(lifecycle.namespace), msgspec.json.decode(lifecycle.data))
    return {"tree": root}


def _note(
    nodes: dict[tuple[str, ...], Reply], namespace: tuple[str, ...], lifecycle: dict[str, Any]
) -> None:
    node = nodes.get(namespace)
    if node is None:
        name = namespace[-1].partition(":")[0]
        node = nodes[namespace] = {"namespace": list(namespace), "graph_name": name}
        above = namespace[:-1]
        while above not in nodes:  # a graph without events of its own
            above = above[:-1]
        nodes[above].setdefault("children", []).append(node)
    node["status"] = lifecycle["event"]
    if "graph_name" in lifecycle:
        node["graph_name"] = lifecycle["graph_name"]
