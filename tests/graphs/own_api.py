"""Graphs that call the API of their own deployment, each in another way.

All but `caller` run `caller` there and return its answer: the caller's headers in its config.
"""

from typing import Any, TypedDict

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk import get_client, get_sync_client

EARLY = get_client()  # created at import, before any run


class Said(TypedDict, total=False):
    """The answer: headers, and the identity of the user."""

    v: Any
    user: str | None


def one(node: Any, state: Any = Said) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Returns a graph of one node."""
    return StateGraph(state).add_node("node", node).add_edge(START, "node").compile()


def answer(values: Any) -> Said:
    """Returns the answer of `caller`."""
    return {"v": values["v"], "user": values["user"]}


async def _caller(state: Said, config: RunnableConfig) -> Said:
    configurable = config["configurable"]
    headers = {name: configurable.get(name) for name in ("x-tenant", "authorization")}
    return {"v": headers, "user": configurable.get("langgraph_auth_user_id")}


async def _in_a_coroutine(state: Said) -> Said:
    return answer(await get_client().runs.wait(None, "caller", input={}))


async def _early(state: Said) -> Said:
    return answer(await EARLY.runs.wait(None, "caller", input={}))


async def _explicit(state: Said) -> Said:
    async with get_client(url=None, headers={"x-tenant": "its own"}) as client:
        return answer(await client.runs.wait(None, "caller", input={}))


def _in_a_thread(state: Said) -> Said:
    with get_sync_client() as client:
        return answer(client.runs.wait(None, "caller", input={}))


async def _streamed(state: Said) -> Said:
    async for part in get_client().runs.stream(None, "caller", input={}, stream_mode="updates"):
        if part.event == "updates":
            return answer(part.data["node"])
    return {}


async def _remote(state: Said) -> Said:
    return answer(await RemoteGraph("caller").ainvoke({}))


@tool
async def ask_home() -> str:
    """Calls the deployment."""
    return str(answer(await get_client().runs.wait(None, "caller", input={}))["v"]["x-tenant"])


def _call(state: MessagesState) -> MessagesState:
    call = {"name": "ask_home", "args": {}, "id": "1"}
    return {"messages": [AIMessage("", tool_calls=[call])]}


caller = one(_caller)
in_a_coroutine = one(_in_a_coroutine)
early = one(_early)
explicit = one(_explicit)
in_a_thread = one(_in_a_thread)
streamed = one(_streamed)
in_a_subgraph = one(in_a_thread)
remote = one(_remote)
in_a_tool = (
    StateGraph(MessagesState)
    .add_node("call", _call)
    .add_node("tools", ToolNode([ask_home]))
    .add_edge(START, "call")
    .add_edge("call", "tools")
    .add_edge("tools", END)
    .compile()
)


async def in_a_factory(config: RunnableConfig) -> Any:
    """Calls the deployment before the graph exists."""
    said = answer(await get_client().runs.wait(None, "caller", input={}))
    return one(lambda state: said)
