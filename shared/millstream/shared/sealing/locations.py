"""The locations of sealed values: a scope, a blank, and a field. No id has a blank.

Places are made of ids and not of keys, so that a key can get another form without a change of the data.
"""

from typing import Final

from millstream.shared import keys

CHECKPOINT: Final = "checkpoints value"  # scripts copy checkpoints to other threads


def of_run(thread_id: str, run_id: str, field: str) -> str:
    """Returns the location of a field of a run: `spec`, `webhook`, `error`, `event`, `output`."""
    return f"{thread_id}/{run_id} {field}"


def of_stream(key: str, field: str) -> str:
    """Returns the location of a field of the run or update whose stream has the key (`keys.events`)."""
    return of_run(keys.thread_id_of(key), key.rsplit(":", 2)[1], field)


def of_thread(thread_id: str, field: str) -> str:
    """Returns the location of a field of a thread's record."""
    return f"{thread_id} {field}"


def of_assistant(assistant_id: str, field: str) -> str:
    """Returns the location of a field in all versions of an assistant."""
    return f"assistant/{assistant_id} {field}"


def of_cron(cron_id: str, field: str) -> str:
    """Returns the location of a field of a cron: `payload`, `request`."""
    return f"cron/{cron_id} {field}"


def of_call(call_id: str, field: str) -> str:
    """Returns the location of a call to a worker (`call`), of its reply (`reply`) or of its user (`user`)."""
    return f"call {call_id}/{field}"


def of_item(name: str) -> str:
    """Returns the location of an item of the store; `name` is that of its key."""
    return f"items {name}"
