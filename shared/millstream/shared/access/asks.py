"""The questions that decide rights: a resource and an action. Source: `langgraph_sdk.Auth`; `ops` is Millstream's."""

from typing import Final, Literal, get_args

Ask = Literal[
    "threads.create", "threads.read", "threads.update", "threads.delete", "threads.search", "threads.create_run",
    "assistants.create", "assistants.read", "assistants.update", "assistants.delete", "assistants.search",
    "crons.create", "crons.read", "crons.update", "crons.delete", "crons.search",
    "store.put", "store.get", "store.delete", "store.search", "store.list_namespaces",
    "ops.read",  # figures of queues and workers
    "ops.write",  # pauses and resumes queues
]  # fmt: skip
ASKS: Final[tuple[Ask, ...]] = get_args(Ask)
READS: Final = frozenset(
    {"read", "search", "get", "list_namespaces"}
)  # actions that change nothing
