"""The keys of the index of threads, for scripts that change a thread's record: see parts/thread_index.lua."""

from typing import Any

from millstream.shared import keys
from millstream.shared.rules.lifecycle import ThreadStatus


def thread_index_keys() -> dict[str, Any]:
    """Returns the keys by the names that parts/thread_index.lua declares."""
    return {
        "threads_by_thread_id": keys.threads_by("thread_id"),
        "threads_by_created_at": keys.threads_by("created_at"),
        "threads_by_updated_at": keys.threads_by("updated_at"),
        "threads_by_state_updated_at": keys.threads_by("state_updated_at"),
        "threads_of_status": [keys.threads_of(status) for status in ThreadStatus],
    }
