"""Writes a thread's state from outside of runs: an update, a fork, or the first states of a new thread.

LangGraph works on a copy (`StagedSaver`). Then one script stores the checkpoints and the thread's record if the
thread has not changed since it was read: see store_state.lua. No run waits for an update. A worker that is late or
dies changes nothing.

An external checkpointer stores each write at once. The thread is checked before and after the update. If a run began
in between, the client gets a conflict, but the run may already continue from the older state.
"""

import logging
import re
from collections.abc import Sequence
from typing import Any, Final

import orjson
from langchain_core.runnables import RunnableConfig
from langgraph.errors import InvalidUpdateError
from langgraph.types import StateUpdate

from millstream.shared import scripts, threads
from millstream.shared.errors import (
    ConflictError,
    InvalidError,
    MillstreamError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from millstream.shared.redis import OUTAGE_ERRORS
from millstream.shared.rules.lifecycle import ThreadStatus
from millstream.shared.runs.submission import without_ids
from millstream.shared.wire import Call
from millstream.worker.answers.context import AnswerContext, merge_config
from millstream.worker.answers.state import config_of
from millstream.worker.checkpoints.checkpointing import Staging
from millstream.worker.checkpoints.unstorable import UnstorableError
from millstream.worker.client_errors import show_or
from millstream.worker.encode import encode
from millstream.worker.graphs import Graph
from millstream.worker.request import read_command
from millstream.worker.thread_record import record_of

log = logging.getLogger(__name__)

# Beginnings of LangGraph's messages about `as_node`.
AS_NODE_MESSAGE: Final = re.compile(r"Node |Ambiguous update|as_node ")
REJECTED: Final = "values: the graph rejects them"


async def update(context: AnswerContext, call: Call) -> bytes:
    """`update`: writes a state after the newest one, or after a checkpoint, which forks the thread.

    Arguments: thread_id, assistant_id, checkpoint, values, as_node (None: the node that wrote last).

    Raises NotFoundError (the thread, the checkpoint), ConflictError (a run is active), RefusedError
    (as_node), InvalidError (values), GraphError, UnavailableError (the deadline passed).
    """
    args = call.arguments
    thread_id, base = args["thread_id"], args["checkpoint"]
    while True:
        epoch = await threads.idle_epoch(context.redis, thread_id)
        staging = context.checkpointing.stage_update()
        config = config_of(call, base)
        factory_config = await context.factory_config(call)
        async with context.graph(
            call, "threads.update", merge_config(factory_config, config), staging.saver
        ) as graph:
            if "checkpoint_id" in base and await staging.saver.aget_tuple(config) is None:
                raise NotFoundError(
                    f"checkpoint: thread {thread_id} has no checkpoint {base['checkpoint_id']}"
                    + (f" in {base['checkpoint_ns']!r}" if base["checkpoint_ns"] else "")
                )
            step = [StateUpdate(args["values"], args["as_node"])]
            written = await _apply(graph, config, [step])
            fields = await _record_fields(context, call, graph, factory_config)
        if await _store(context, call, staging, epoch, fields):
            checkpoint = {
                key: written["configurable"][key]
                for key in ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")
                if key in written["configurable"]
            }
            return encode(
                {
                    "checkpoint": checkpoint,
                    "configurable": checkpoint,
                    "checkpoint_id": checkpoint["checkpoint_id"],
                }
            )


async def seed(context: AnswerContext, call: Call) -> bytes:
    """`seed`: creates a thread with the states that the supersteps produce. It stores all of them, or nothing.

    Arguments: thread_id, assistant_id, supersteps ([[{values, command, as_node}, …], …]), fields (of
    the new thread's record). Reply: `{"created": false}` if the thread exists already.

    Raises RefusedError, InvalidError, GraphError, UnavailableError as `update` does.
    """
    supersteps = [[_state_update(u) for u in step] for step in call.arguments["supersteps"]]
    thread_id = call.arguments["thread_id"]
    staging = context.checkpointing.stage_update()
    if staging.is_stored_at_once and await threads.exists(context.redis, thread_id):
        return encode({"created": False})
    config = config_of(call, {})
    try:
        factory_config = await context.factory_config(call)
        async with context.graph(
            call, "threads.update", merge_config(factory_config, config), staging.saver
        ) as graph:
            await _apply(graph, config, supersteps)
            record = await _record_fields(context, call, graph, factory_config)
            fields = call.arguments["fields"] | record
        await _store(context, call, staging, None, fields)
    except ConflictError:
        return encode({"created": False})
    except BaseException:
        # If another client has created the thread meanwhile, its checkpoints must stay.
        if staging.is_stored_at_once and not await threads.exists(context.redis, thread_id):
            await context.checkpointing.delete(thread_id)
        raise
    return encode({"created": True})


async def _apply(
    graph: Graph, config: RunnableConfig, supersteps: Sequence[Sequence[StateUpdate]]
) -> RunnableConfig:
    """Applies the updates. Raises InvalidError or RefusedError that names the field which the graph rejects."""
    try:
        return await graph.abulk_update_state(config, supersteps)
    except InvalidUpdateError as error:
        message = str(error).partition("\n")[0]
        if AS_NODE_MESSAGE.match(message):
            raise RefusedError(f"as_node: {message}") from None
        log.info("graph %r rejected an update: %s", graph.name, message)
        raise InvalidError(show_or(f"values: {message}", masked=REJECTED)) from None
    except (MillstreamError, *OUTAGE_ERRORS):
        raise
    except UnstorableError as error:
        raise InvalidError(f"values: {error}") from None
    except Exception as error:  # of the graph's code: a reducer, a conditional edge
        if isinstance(error, ValueError) and str(error).startswith("Subgraph "):
            raise InvalidError(f"checkpoint.checkpoint_ns: {error}") from None
        log.info("graph %r rejected an update", graph.name, exc_info=error)
        text = f"{type(error).__name__}: {str(error)[:500]}"
        raise InvalidError(show_or(f"{REJECTED}: {text}", masked=REJECTED)) from None


async def _record_fields(
    context: AnswerContext, call: Call, graph: Graph, factory_config: dict[str, Any] | None
) -> dict[str, str | bytes]:
    """Returns the fields of the thread's record that follow from its newest state, as at the end of a run.

    `factory_config` is stored so that later reads open the same graph; None without a factory.
    """
    record = record_of(graph, await graph.aget_state(config_of(call, {})))
    status = ThreadStatus.INTERRUPTED if record.has_next else ThreadStatus.IDLE
    limit = context.settings.max_event
    values, output, interrupts = record.values or b"", record.output or b"", record.interrupts
    if max(len(values), len(output)) > limit:
        values, output = b"", b""  # too large for the record; the checkpoint holds them
    fields: dict[str, str | bytes] = {
        "status": status.value,
        "idle_status": status.value,
        "graph_id": call.graph_id,
        "assistant_id": call.arguments["assistant_id"],
        "values": values,
        "output": b"" if output == values else output,
        "interrupts": interrupts if len(interrupts) <= limit else b"{}",
        "error": b"",
    }
    if factory_config is None:
        return fields
    return {**fields, "config": encode(without_ids(factory_config))}


def state_event(thread_id: str, fields: dict[str, Any]) -> bytes:
    """Returns the event of an update in the thread's stream."""
    state = {
        "values": orjson.Fragment(fields["values"] or b"null"),
        "interrupts": orjson.Fragment(fields["interrupts"]),
        "status": fields["status"],
    }
    return orjson.dumps({"thread_id": thread_id, "state": state})


async def _store(
    context: AnswerContext,
    call: Call,
    staging: Staging,
    epoch: int | None,
    fields: dict[str, Any],
) -> bool:
    """Stores the staged writes. Returns False if the thread has changed, so that the update must be repeated."""
    thread_id = call.arguments["thread_id"]
    result = await scripts.store_state(
        context.redis,
        thread_id,
        staging.namespaces,
        epoch=epoch,
        deadline_ms=int(call.deadline * 1000),
        fields=fields,
        update=state_event(thread_id, fields),
        stream_ttl=context.settings.stream_ttl,
        guard=call.arguments.get("guard", ""),
    )
    at_once = staging.is_stored_at_once
    if at_once and epoch is not None and result in ("busy", "changed", "late"):
        why = "took too long" if result == "late" else "met an active run or another change"
        raise ConflictError(
            f"Thread {thread_id}: the state is stored, but the update {why}. The thread's record may be "
            "older, and a run that began meanwhile may continue from the earlier state. Read the state."
        )
    if at_once and result == "missing":  # deleted meanwhile: no checkpoint may remain
        await context.checkpointing.delete(thread_id)
    match result:
        case "missing" | "rejudge":  # it became another's meanwhile
            raise NotFoundError(f"Thread with ID {thread_id} not found")
        case "busy":
            raise ConflictError(threads.busy_message(thread_id))
        case "exists":
            raise ConflictError(threads.already_exists_message(thread_id))
        case "late":
            raise UnavailableError("The update took too long. Nothing was written.", retry_after=5)
    return result == "stored"


def _state_update(update: dict[str, Any]) -> StateUpdate:
    command = update.get("command")
    values: Any = update.get("values") if command is None else read_command(command)
    return StateUpdate(values, update.get("as_node"))
