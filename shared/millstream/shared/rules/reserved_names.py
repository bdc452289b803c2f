"""Names of entries in a run's config, context and metadata that the server alone sets. Pure.

A graph trusts these entries: they name its user, its run and its thread. So the entries of requests, assistants, crons
and headers are filtered before they are merged. Source of the names: LangGraph and LangGraph's server.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

# Entries of `configurable` that identify a run and its checkpoint: no part of the config that another run inherits.
ID_FIELDS: Final = frozenset({
    "run_id", "thread_id", "graph_id", "assistant_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map",
})  # fmt: skip
CRON_ID: Final = "cron_id"  # in `configurable` and in the metadata of a cron's runs
# Entries of a run's metadata that say where the run belongs.
METADATA_IDS: Final = frozenset({"run_id", "thread_id", "graph_id", "assistant_id", CRON_ID})
# Prefixes: LangGraph's own, which RemoteGraph sends for the graph that contains it, and those with which a server
# identifies the user, the request and the trace.
PREFIXES: Final = (
    "__pregel_", "__millstream_", "__langsmith_", "__request_", "__after_seconds__", "__otel_", "langgraph_auth_",
    "langgraph_request_id",
)  # fmt: skip
# The header of the token with which the graph of a run or a call calls the API (runs/access.py, calls.py). No graph and
# no log gets it.
RUN_HEADER: Final = "x-millstream-run"


def without_reserved(
    entries: Mapping[str, Any], names: Iterable[str] = frozenset()
) -> dict[str, Any]:
    """Returns the entries without those that have a reserved prefix or one of `names`."""
    return {
        name: value
        for name, value in entries.items()
        if not name.startswith(PREFIXES) and name not in names
    }
