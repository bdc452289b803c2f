"""Entries of a config that the graph alone reads: headers of the run's client, and the user.

LangGraph copies entries of `configurable` to the metadata of checkpoints and to events, which other clients of the
thread read. So these entries are added where a graph is opened, and left out of all that is stored or sent.
"""

from collections.abc import Mapping
from typing import Any, Final

from langchain_core.runnables import RunnableConfig

from millstream.shared.access import User
from millstream.worker.graph_user import GraphUser

NAMES: Final = "__millstream_private"  # in `configurable`: the names of the private entries in it
# Source of the names: LangGraph's server.
USER: Final = "langgraph_auth_user"
USER_ID: Final = "langgraph_auth_user_id"
PERMISSIONS: Final = "langgraph_auth_permissions"


def add(
    configurable: dict[str, Any], user: User | None, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Returns `configurable` with the user and the headers, which win over entries of the same name."""
    private: dict[str, Any] = dict(headers or {})
    if user is not None:
        private |= {
            USER: GraphUser(user.fields),
            USER_ID: user.identity,
            PERMISSIONS: list(user.permissions),
        }
    return {**configurable, **private, NAMES: tuple(private)} if private else configurable


def without(config: RunnableConfig) -> RunnableConfig:
    """Returns the config without the private entries."""
    configurable = config.get("configurable", {})
    names = configurable.get(NAMES)
    if not names:
        return config
    others = {name: value for name, value in configurable.items() if name not in (*names, NAMES)}
    return {**config, "configurable": others}


def without_in_checkpoint(payload: dict[str, Any]) -> dict[str, Any]:
    """Returns LangGraph's event of a checkpoint, without the private entries of its configs."""
    configs = {
        name: without(payload[name]) for name in ("config", "parent_config") if payload.get(name)
    }
    tasks = [
        {**task, "state": without(task["state"])} if isinstance(task.get("state"), dict) else task
        for task in payload["tasks"]
    ]
    return {**payload, **configs, "tasks": tasks}


def user_in(config: RunnableConfig) -> GraphUser | None:
    """Returns the user in a config, or None."""
    user = config.get("configurable", {}).get(USER)
    return user if isinstance(user, GraphUser) else None
