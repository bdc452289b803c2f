"""Graphs that show the user that they are executed for.

| graph | shows |
|---|---|
| `user_echo` | what its node, a subgraph and a synchronous node read of the user, and their whole config and context |
| `made_for` | the user and the access of its factory, in the name of its node, or in its error |
"""

from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.runtime import Runtime, get_runtime
from langgraph.types import interrupt
from langgraph_sdk.runtime import ServerRuntime

USER = "langgraph_auth_user"


class Seen(MessagesState, total=False):
    """What the nodes saw; with `ask`, the graph first waits for an answer."""

    ask: bool
    seen: dict[str, Any]
    inside: dict[str, Any]
    aside: dict[str, Any]


def user_of(config: RunnableConfig, runtime: Runtime[Any]) -> dict[str, Any]:
    """Returns what the node reads of the user, in each of the ways that LangGraph documents."""
    configurable = config.get("configurable", {})
    user = configurable.get(USER)
    server = runtime.server_info
    return {
        "fields": None if user is None else dict(user),
        "attributes": None
        if user is None
        else [user.identity, user.display_name, user.is_authenticated, user.permissions, user.team],
        "entries": None if user is None else [user["identity"], user.get("team"), "team" in user],
        "id": configurable.get("langgraph_auth_user_id"),
        "permissions": configurable.get("langgraph_auth_permissions"),
        "server": None if server is None else [server.assistant_id, server.graph_id, server.user],
    }


async def look(state: Seen, config: RunnableConfig, runtime: Runtime[Any]) -> dict[str, Any]:
    """Writes the config, the context and the user to the state."""
    if state.get("ask"):
        interrupt("go on?")
    configurable = config.get("configurable", {})
    return {
        "seen": {
            # Without the objects of LangGraph and of the server.
            "configurable": {
                name: value
                for name, value in configurable.items()
                if isinstance(value, str | list | dict) and not name.startswith("__pregel_")
            },
            "metadata": dict(config.get("metadata", {})),
            "context": runtime.context,
            "user": user_of(config, runtime),
        }
    }


def look_aside(state: Seen, config: RunnableConfig) -> dict[str, Any]:
    """Writes the user that a thread reads."""
    return {"aside": user_of(config, get_runtime())}


def look_inside(state: Seen, config: RunnableConfig, runtime: Runtime[Any]) -> dict[str, Any]:
    """Writes the user that a subgraph reads."""
    return {"inside": user_of(config, runtime)}


inner: Any = StateGraph(Seen)
inner.add_node("look_inside", look_inside)
inner.add_edge(START, "look_inside")
_user_echo: Any = StateGraph(Seen)
for node in (look, look_aside):
    _user_echo.add_node(node)
_user_echo.add_node("inner", inner.compile())
for before, after in (
    (START, "look"),
    ("look", "look_aside"),
    ("look_aside", "inner"),
    ("inner", END),
):
    _user_echo.add_edge(before, after)
user_echo = _user_echo.compile()


def made_for(runtime: ServerRuntime[Any], config: RunnableConfig) -> Any:
    """Makes a graph whose node is named after the user and the access of the factory.

    A read whose config has `fails` fails with that name.
    """
    user = runtime.user
    name = f"{None if user is None else user.identity}_{runtime.access_context.replace('.', '_')}"
    server = get_runtime().server_info
    assert server is not None
    assert server.user == user
    if runtime.execution_runtime is None and config["configurable"].get("fails"):
        raise ValueError(name)
    return StateGraph(Seen).add_node(name, lambda _: {}).add_edge(START, name).add_edge(name, END)
