"""The commands of the protocol: what each does, and the envelopes of their answers."""

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
from millstream.api.runs.schemas import Command
from millstream.api.threads import operations as threads
from millstream.shared.errors import (
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
NOT_A_COMMAND: Final = "Protocol commands must include an integer id and string method."
RUNS: Final = 100  # newest ones of a thread, among which the paused one is looked for
# The commands of the protocol that are not carried out here, beside those that nobody knows.
NOT_SUPPORTED: Final = frozenset(
    {"input.inject", "state.get", "state.listCheckpoints", "state.fork", "subscription.reconnect"}
)


class CommandError(MillstreamError):
    """A command that can't be carried out; `code` is one of the protocol's."""

    def __init__(self, code: str, message: str) -> None:
        """Takes the protocol's code, and a sentence for the client."""
        super().__init__(message)
        self.code = code


def read_command(value: Any) -> ProtocolCommand:
    """Returns the command; raises CommandError for an envelope that is none."""
    try:
        return ProtocolCommand.model_validate(value)
    except ValidationError:
        raise CommandError("invalid_argument", NOT_A_COMMAND) from None


def refusal(command_id: Any, error: MillstreamError) -> Reply:
    """Returns the answer to a command that can't be carried out."""
    code = error.code if isinstance(error, CommandError) else "unknown_error"
    if isinstance(error, (InvalidError, ConflictError, TooLargeError)):
        code = "invalid_argument"
    return {"type": "error", "id": command_id, "error": code, "message": str(error)}


def success(command_id: int, result: Reply) -> Reply:
    """Returns the answer to a command that was carried out.

    `applied_through_seq` is 0, as it is elsewhere: clients resume from it, and must not miss what they have
    not been sent yet.
    """
    return {
        "type": "success",
        "id": command_id,
        "result": result,
        "meta": {"applied_through_seq": 0},
    }


async def carry_out(context: RequestContext, thread_id: str, command: ProtocolCommand) -> Reply:
    """Carries the command out and returns its answer.

    Raises UnavailableError, and what redis-py raises: then it may help to send it again.
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
        return refusal(command.id, CommandError("invalid_argument", sentence(error)))
    except MillstreamError as error:
        return refusal(command.id, error)
    return success(command.id, result)


async def _start(context: RequestContext, thread_id: str, params: dict[str, Any]) -> Reply:
    """`run.start`: a run, on a thread that is created if there is none.

    On a thread that waits for answers, the input is the answer (source: langchain_protocol).
    """
    if not (params.get("assistant_id") or params.get("assistantId")):
        raise CommandError("invalid_argument", "run.start requires an assistant_id.")
    body = RunStart.model_validate(params)
    asked = await threads.interrupts(context, thread_id) if body.input is not None else b"{}"
    waiting = _ids(asked)
    if _forks(body) or not (waiting or _names_interrupts(body.input)):
        return {"run_id": await _admit(context, body.request(), thread_id)}
    answers = _by_interrupt(body.input, waiting)
    body.command, body.input = Command(resume=answers), None
    if "multitask_strategy" not in body.model_fields_set:
        body.multitask_strategy = Strategy.REJECT  # of many answers one counts
    try:
        return {"run_id": await _admit(context, body.request(), thread_id, answers=asked)}
    except ConflictError:
        raise _no_such(next(iter(answers))) from None


def _forks(body: RunStart) -> bool:
    """Returns whether the run starts from a checkpoint, where nothing of now is asked."""
    place = body.checkpoint is not None and body.checkpoint.selects_checkpoint()
    return bool(place or body.checkpoint_id or body.config.configurable.get("checkpoint_id"))


def _ids(asked: bytes) -> set[str]:
    """Returns the ids of interrupts, which are read as `threads.get_interrupts` returns them."""
    return {
        interrupt["id"] for of_task in msgspec.json.decode(asked).values() for interrupt in of_task
    }


def _names_interrupts(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(map(INTERRUPT_ID.fullmatch, value))


def _by_interrupt(value: Any, waiting: set[str]) -> dict[str, Any]:
    """Returns the answers that a run's input gives, by the ids of the interrupts."""
    if _names_interrupts(value):
        for interrupt_id in value:
            if interrupt_id not in waiting:
                raise _no_such(interrupt_id)
        return dict(value)
    if len(waiting) > 1:
        raise CommandError(
            "invalid_argument",
            f"input: the thread waits for {len(waiting)} answers, and one can't say which it is. "
            "Answer with input.respond, or with an object of interrupt ids and answers.",
        )
    return {next(iter(waiting)): value}


async def _respond(context: RequestContext, thread_id: str, params: dict[str, Any]) -> Reply:
    """`input.respond`: a run, configured as the paused one, continues with the answers, once.

    Which of several answers counts is decided with the admission: what was read of the thread must still hold then.
    """
    given = InputRespond.model_validate(params)
    asked = await threads.interrupts(context, thread_id)
    waiting = _ids(asked)
    for answer in given.responses:
        if answer.interrupt_id not in waiting:
            raise _no_such(answer.interrupt_id)
    command = given.model_dump(include={"update", "goto"}, exclude_unset=True)
    command["resume"] = {answer.interrupt_id: answer.response for answer in given.responses}
    before = continuation(
        await _paused_run(context, thread_id), command=command, metadata=given.metadata
    )
    try:
        run_id = await _admit(context, _changed(before, given), thread_id, answers=asked)
    except ConflictError:
        raise _no_such(given.responses[0].interrupt_id) from None
    return {"run_id": run_id}


def _changed(before: RunRequest, given: InputRespond) -> RunRequest:
    """Returns the request with the config and the options that the answer names in place of the earlier ones."""
    config: dict[str, Any] = given.config.model_dump(exclude_unset=True)
    for name in ("configurable", "metadata"):
        config[name] = getattr(before.config, name) | config.get(name, {})
    options = given.model_dump(include=set(RunOptions.__struct_fields__), exclude_unset=True)
    return structs.replace(
        before,
        config=structs.replace(before.config, **config),
        options=structs.replace(before.options, **options),
    )


async def _admit(
    context: RequestContext, request: RunRequest, thread_id: str, answers: bytes | None = None
) -> str:
    """Admits a run that streams the protocol's events; returns its id."""
    options = structs.replace(
        request.options,
        stream_mode=list(COMMAND_MODES),
        stream_subgraphs=True,
        stream_resumable=True,
    )
    request = structs.replace(request, options=options, event_streaming=True)
    record = await admission.admit(context, request, thread_id, answers=answers)
    return record.spec.run_id


def _no_such(interrupt_id: str) -> CommandError:
    message = f"Unknown or already-consumed interrupt: {interrupt_id[:100]}"
    return CommandError("no_such_interrupt", message)


async def _paused_run(context: RequestContext, thread_id: str) -> RunRecord:
    """Returns the newest run of the thread that was executed: not one that is due later, or was cancelled before."""
    found = await runs.list_runs(context, thread_id, limit=RUNS)
    executed = (run for run in found if run.status in TERMINAL and run.attempt)
    record = next(executed, found[0] if found else None)
    if record is None:
        raise CommandError("no_such_run", "There is no run on this thread.")
    return record


async def _run_of(context: RequestContext, thread_id: str, run_id: str | None) -> RunRecord:
    """Returns a run of the thread, the newest if none is named; raises CommandError."""
    if run_id is None:
        found = await runs.list_runs(context, thread_id, limit=1)
        record = found[0] if found else None
    else:
        record = await runs.find(context, thread_id, run_id)
    if record is None:
        raise CommandError("no_such_run", "There is no such run on this thread.")
    return record


async def _get_tree(context: RequestContext, thread_id: str, params: dict[str, Any]) -> Reply:
    """`agent.getTree`: the graphs of a run, each with its status; made of the events that are kept."""
    record = await _run_of(context, thread_id, GetTree.model_validate(params).run_id)
    run_id, graph_id = record.spec.run_id, record.spec.graph_id
    root: Reply = {"namespace": [], "status": "started", "graph_name": graph_id}
    nodes: dict[tuple[str, ...], Reply] = {(): root}
    segment = Segment(0, run_id, graph_id)
    async for entry in runs.stored_entries(context, thread_id, run_id):
        found = event_of(segment, entry)
        if found is None or found[0] != b"lifecycle":
            continue
        told = decode_params(found[1])
        _note(nodes, tuple(told.namespace), msgspec.json.decode(told.data))
    return {"tree": root}


def _note(
    nodes: dict[tuple[str, ...], Reply], namespace: tuple[str, ...], told: dict[str, Any]
) -> None:
    node = nodes.get(namespace)
    if node is None:
        name = namespace[-1].partition(":")[0]
        node = nodes[namespace] = {"namespace": list(namespace), "graph_name": name}
        above = namespace[:-1]
        while above not in nodes:  # a graph that is not told of by itself
            above = above[:-1]
        nodes[above].setdefault("children", []).append(node)
    node["status"] = told["event"]
    if "graph_name" in told:
        node["graph_name"] = told["graph_name"]
