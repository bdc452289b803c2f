"""A sample project: its files, its langgraph.json, and the answers of its graphs."""

from typing import Any, NamedTuple


class SampleProject(NamedTuple):
    """A project in memory."""

    files: dict[str, str]
    config: dict[str, Any]
    answers: dict[str, Any]
    """Graph id → the content of the last message of a run with the message `hi`."""


PYPROJECT = """\
[project]
name = "{name}"
version = "0.0.1"
dependencies = ["a-package-that-is-not-installed>=1"]
"""


WORKFLOW = """
    from typing import Annotated, Sequence, TypedDict
    from langchain_core.messages import BaseMessage
    from langgraph.graph import END, StateGraph, add_messages
    {imports}

    class AgentState(TypedDict):
        messages: Annotated[Sequence[BaseMessage], add_messages]

    def agent(state, config):
        return {{"messages": ["ai {word}"]}}

    workflow = StateGraph(AgentState)
    workflow.add_node("agent", agent)
    workflow.set_entry_point("agent")
    workflow.add_edge("agent", END)
    graph = workflow.compile()
"""
