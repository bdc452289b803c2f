"""Converts records to the JSON of the API."""

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
    """Returns the thread's lifetime, and when it expires (`expires_at` in µs) unless it is used again."""
    if record.ttl is None:
        return None
    return {
        "strategy": record.ttl.strategy,
        "ttl_minutes": record.ttl.milliseconds / 60_000,
        "expires_at": None if expires_at is None else iso_time(expires_at),
    }


def show_assistant(record: AssistantRecord, select: list[str] | None = None) -> dict[str, Any]:
    """Returns an `Assistant`, or its selected fields."""
    assistant = record.assistant
    view = {
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
    return {field: view[field] for field in select} if select else view


def show_version(record: AssistantRecord) -> dict[str, Any]:
    """Returns an `AssistantVersion`: an `Assistant` without the time of its last change."""
    view = show_assistant(record)
    del view["updated_at"]
    return view


def show_cron(record: CronRecord, select: list[str] | None = None) -> dict[str, Any]:
    """Returns a `Cron`, or its selected fields."""
    cron = record.cron
    view = {
        "cron_id": cron.cron_id,
        "assistant_id": cron.assistant_id,
        "thread_id": cron.thread_id,
        "on_run_completed": cron.on_run_completed,
        "end_time": None if cron.end_time is None else iso_time(cron.end_time),
        "schedule": cron.schedule,
        "timezone": cron.timezone,
        "created_at": iso_time(record.created_at),
        "updated_at": iso_time(record.updated_at),
        "user_id": "",  # clients are not authenticated
        "payload": msgspec.Raw(record.payload),
        "next_run_date": None if record.next_ms is None else iso_time(record.next_ms * 1000),
        "metadata": msgspec.Raw(cron.metadata),
        "enabled": record.enabled,
    }
    if not select:
        return view
    view["now"] = iso_time(round(record.read_at * 1_000_000))
    return {field: view[field] for field in select}


def show_empty_state(
    thread_id: str, checkpoint_id: str | None, select: list[str]
) -> dict[str, Any]:
    """Returns the `ThreadState` of a thread without a state, or its selected fields."""
    state = dict(EMPTY_STATE)
    if checkpoint_id is not None:
        checkpoint = {"checkpoint_id": checkpoint_id, "thread_id": thread_id, "checkpoint_ns": ""}
        state |= {"checkpoint": checkpoint, "checkpoint_id": checkpoint_id}
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
