"""Records → the JSON that clients see."""

from typing import Any

import msgspec

from millstream.shared.assistants.records import AssistantRecord
from millstream.shared.crons import CronRecord
from millstream.shared.runs.json_view import iso_time
from millstream.shared.threads import ThreadRecord

NULL = msgspec.Raw(b"null")


def show_thread(record: ThreadRecord) -> dict[str, Any]:
    """Returns a `Thread`."""
    return {
        "thread_id": record.thread_id,
        "created_at": iso_time(record.created_at),
        "updated_at": iso_time(record.updated_at),
        "state_updated_at": iso_time(record.state_updated_at),
        "metadata": record.metadata,
        "status": record.status.value,
        "config": {"configurable": {}} if record.graph_id else {},
        "values": NULL if record.values is None else msgspec.Raw(record.values),
        "interrupts": msgspec.Raw(record.interrupts),
        "error": NULL if record.error is None else msgspec.Raw(record.error),
    }


def show_ttl(record: ThreadRecord, expires_at: int | None) -> dict[str, Any] | None:
    """Returns how long the thread lives, and until when (µs) if it is not used again."""
    if record.ttl is None:
        return None
    return {
        "strategy": record.ttl.strategy,
        "ttl_minutes": record.ttl.milliseconds / 60_000,
        "expires_at": None if expires_at is None else iso_time(expires_at),
    }


def show_assistant(record: AssistantRecord, select: list[str] | None = None) -> dict[str, Any]:
    """Returns an `Assistant`, or the selected fields of it."""
    assistant = record.assistant
    shown = {
        "assistant_id": assistant.assistant_id,
        "graph_id": assistant.graph_id,
        "config": msgspec.Raw(assistant.config),
        "context": msgspec.Raw(assistant.context),
        "metadata": msgspec.Raw(assistant.metadata),
        "name": assistant.name,
        "created_at": iso_time(record.created_at),
        "updated_at": iso_time(record.updated_at),
        "version": record.version,
        "description": assistant.description,
    }
    return {field: shown[field] for field in select} if select else shown


def show_version(record: AssistantRecord) -> dict[str, Any]:
    """Returns an `AssistantVersion`: an `Assistant` without the time of its last change."""
    shown = show_assistant(record)
    del shown["updated_at"]
    return shown


def show_cron(record: CronRecord, select: list[str] | None = None) -> dict[str, Any]:
    """Returns a `Cron`, or the selected fields of it."""
    cron = record.cron
    shown = {
        "cron_id": cron.cron_id,
        "assistant_id": cron.assistant_id,
        "thread_id": cron.thread_id,
        "on_run_completed": cron.on_run_completed,
        "end_time": None if cron.end_time is None else iso_time(cron.end_time),
        "schedule": cron.schedule,
        "timezone": cron.timezone,
        "created_at": iso_time(record.created_at),
        "updated_at": iso_time(record.updated_at),
        "user_id": "",  # nobody's, as long as nobody signs in
        "payload": msgspec.Raw(record.payload),
        "next_run_date": None if record.next_ms is None else iso_time(record.next_ms * 1000),
        "metadata": msgspec.Raw(cron.metadata),
        "enabled": record.enabled,
    }
    if not select:
        return shown
    shown["now"] = iso_time(round(record.read_at * 1_000_000))
    return {field: shown[field] for field in select}


def show_empty_state(
    thread_id: str, checkpoint_id: str | None, select: list[str]
) -> dict[str, Any]:
    """Returns the `ThreadState` of a thread that has none, or the selected fields of it."""
    state = dict(EMPTY_STATE)
    if checkpoint_id is not None:
        place = {"checkpoint_id": checkpoint_id, "thread_id": thread_id, "checkpoint_ns": ""}
        state |= {"checkpoint": place, "checkpoint_id": checkpoint_id}
    fields = {name.partition(".")[0] for name in select} or state.keys()
    return {name: value for name, value in state.items() if name in fields}


EMPTY_STATE: dict[str, Any] = {
    "values": {},
    "next": [],
    "tasks": [],
    "metadata": None,
    "created_at": None,
    "checkpoint": None,
    "parent_checkpoint": None,
    "interrupts": [],
    "checkpoint_id": None,
    "parent_checkpoint_id": None,
}
