"""Projects whose packages lie below `src`."""

from harness.sample_projects.project import PYPROJECT, SampleProject

# One package below src, which imports itself; `__init__.py` hides the module `graph` behind the graph.
REACT = SampleProject(
    {
        "pyproject.toml": PYPROJECT.format(name="react-agent"),
        "src/react_agent/__init__.py": 'from react_agent.graph import graph\n\n__all__ = ["graph"]\n',
        "src/react_agent/prompts.py": 'SYSTEM = "You help at {time}"\n',
        "src/react_agent/context.py": """
            from __future__ import annotations
            from dataclasses import dataclass, field, fields
            from . import prompts

            @dataclass(kw_only=True)
            class Context:
                system_prompt: str = field(default=prompts.SYSTEM, metadata={"description": "what the model is told"})
                model: str = field(default="fake/one")
        """,
        "src/react_agent/state.py": """
            from __future__ import annotations
            from dataclasses import dataclass, field
            from typing import Annotated, Sequence
            from langchain_core.messages import AnyMessage
            from langgraph.graph import add_messages
            from langgraph.managed import IsLastStep

            @dataclass
            class InputState:
                messages: Annotated[Sequence[AnyMessage], add_messages] = field(default_factory=list)

            @dataclass
            class State(InputState):
                is_last_step: IsLastStep = field(default=False)
        """,
        "src/react_agent/graph.py": """
            from langchain_core.messages import AIMessage
            from langgraph.graph import StateGraph
            from langgraph.runtime import Runtime
            from react_agent.context import Context
            from react_agent.state import InputState, State

            async def call_model(state: State, runtime: Runtime[Context]) -> dict:
                return {"messages": [AIMessage(runtime.context.system_prompt)]}

            builder = StateGraph(State, input_schema=InputState, context_schema=Context)
            builder.add_node(call_model)
            builder.add_edge("__start__", "call_model")
            graph = builder.compile(name="ReAct Agent")
        """,
    },
    {
        "$schema": "https://langgra.ph/schema.json",
        "dependencies": ["."],
        "graphs": {"agent": "./src/react_agent/graph.py:graph"},
        "env": ".env",
        "image_distro": "wolfi",
    },
    {"agent": "You help at {time}"},
)

# Two packages below src, a store with a lifetime, and keys of images.
MEMORY = SampleProject(
    {
        **{
            f"src/{name}/{file}": text
            for name in ("chatbot", "memory_graph")
            for file, text in {
                "__init__.py": "",
                "configuration.py": f"""
                    import os
                    from dataclasses import dataclass, fields
                    from typing import Any
                    from langgraph.config import get_config

                    @dataclass(kw_only=True)
                    class Configuration:
                        user_id: str = "default"
                        word: str = "{name}"

                        @classmethod
                        def from_context(cls) -> "Configuration":
                            given: dict[str, Any] = get_config().get("configurable", {{}})
                            return cls(**{{f.name: given[f.name] for f in fields(cls) if f.name in given}})
                """,
                "utils.py": f'WORD = "{name}"\n',
                "graph.py": f"""
                    import datetime
                    from dataclasses import dataclass
                    from typing import Annotated
                    from langchain_core.messages import AnyMessage
                    from langgraph.config import get_store
                    from langgraph.graph import StateGraph, add_messages
                    from langgraph_sdk import get_client
                    from {name} import configuration
                    from {name}.utils import WORD

                    @dataclass
                    class State:
                        messages: Annotated[list[AnyMessage], add_messages]

                    async def bot(state: State) -> dict:
                        assert get_store() is not None and WORD
                        return {{"messages": ["ai " + configuration.Configuration.from_context().word]}}

                    builder = StateGraph(State, context_schema=configuration.Configuration)
                    builder.add_node(bot)
                    builder.add_edge("__start__", "bot")
                    graph = builder.compile()
                """,
            }.items()
        },
    },
    {
        "dockerfile_lines": [],
        "graphs": {
            "chatbot": "./src/chatbot/graph.py:graph",
            "memory_graph": {
                "path": "./src/memory_graph/graph.py:graph",
                "description": "remembers",
            },
        },
        "env": ".env",
        "python_version": "3.11",
        "dependencies": ["."],
        "store": {"ttl": {"default_ttl": 1, "refresh_on_read": False, "sweep_interval_minutes": 1}},
    },
    {"chatbot": "ai chatbot", "memory_graph": "ai memory_graph"},
)

# Graphs that import each other's builders, and a configuration of a subclass.
RETRIEVAL = SampleProject(
    {
        "src/retrieval_graph/__init__.py": """
            from retrieval_graph.graph import graph
            from retrieval_graph.index_graph import graph as index_graph

            __all__ = ["graph", "index_graph"]
        """,
        "src/retrieval_graph/configuration.py": """
            from dataclasses import dataclass

            @dataclass(kw_only=True)
            class IndexConfiguration:
                user_id: str = "nobody"

            @dataclass(kw_only=True)
            class Configuration(IndexConfiguration):
                query_model: str = "fake"
        """,
        "src/retrieval_graph/state.py": """
            from dataclasses import dataclass, field
            from typing import Annotated, Any, Sequence
            from langchain_core.documents import Document
            from langgraph.graph import add_messages

            def reduce_docs(old: Sequence[Document], new: Any) -> Sequence[Document]:
                return [Document(page_content=new)] if isinstance(new, str) else list(new or old)

            @dataclass(kw_only=True)
            class State:
                messages: Annotated[Sequence[Any], add_messages] = field(default_factory=list)
                docs: Annotated[Sequence[Document], reduce_docs] = field(default_factory=list)
        """,
        "src/retrieval_graph/index_graph.py": """
            from langgraph.graph import StateGraph
            from langchain_core.runnables import RunnableConfig
            from retrieval_graph.configuration import IndexConfiguration
            from retrieval_graph.state import State

            async def index_docs(state: State, *, config: RunnableConfig) -> dict:
                return {"messages": ["ai indexed"], "docs": "one"}

            builder = StateGraph(State, context_schema=IndexConfiguration)
            builder.add_node(index_docs)
            builder.add_edge("__start__", "index_docs")
            graph = builder.compile(name="IndexGraph")
        """,
        "src/retrieval_graph/graph.py": """
            from langgraph.graph import StateGraph
            from langchain_core.runnables import RunnableConfig
            from retrieval_graph.configuration import Configuration
            from retrieval_graph.index_graph import graph as index_graph
            from retrieval_graph.state import State

            async def respond(state: State, *, config: RunnableConfig) -> dict:
                return {"messages": ["ai " + state.docs[0].page_content]}

            builder = StateGraph(State, context_schema=Configuration)
            builder.add_node("index", index_graph)
            builder.add_node(respond)
            builder.add_edge("__start__", "index")
            builder.add_edge("index", "respond")
            graph = builder.compile(name="RetrievalGraph")
        """,
    },
    {
        "dependencies": ["."],
        "graphs": {
            "indexer": "./src/retrieval_graph/index_graph.py:graph",
            "retrieval_graph": "./src/retrieval_graph/graph.py:graph",
        },
        "env": ".env",
    },
    {"indexer": "ai indexed", "retrieval_graph": "ai one"},
)

# A package without `__init__.py` that imports itself, another beside it, and a graph id of two words.
DEEP_RESEARCH = SampleProject(
    {
        "pyproject.toml": PYPROJECT.format(name="deep"),
        "src/legacy/__init__.py": "",
        "src/legacy/state.py": "",
        "src/deep_research/configuration.py": """
            from enum import Enum
            from pydantic import BaseModel, Field

            class Search(Enum):
                NONE = "none"

            class Configuration(BaseModel):
                search: Search = Field(default=Search.NONE, metadata={"x_oap_ui_config": {"type": "select"}})
        """,
        "src/deep_research/state.py": """
            import operator
            from typing import Annotated, Optional
            from langgraph.graph import MessagesState
            from pydantic import BaseModel

            class Question(BaseModel):
                text: str

            class InputState(MessagesState):
                "Only messages."

            class AgentState(MessagesState):
                notes: Annotated[list[Question], operator.add]
                brief: Optional[str]
        """,
        "src/deep_research/researcher.py": """
            from typing import Literal
            from langchain_core.messages import AIMessage
            from langchain_core.runnables import RunnableConfig
            from langgraph.graph import END, START, StateGraph
            from langgraph.types import Command
            from deep_research.configuration import Configuration
            from deep_research.state import AgentState, InputState, Question

            async def clarify(state: AgentState, config: RunnableConfig) -> Command[Literal["report", "__end__"]]:
                return Command(goto="report", update={"notes": [Question(text="deep")]})

            async def report(state: AgentState, config: RunnableConfig):
                return {"messages": [AIMessage("ai " + state["notes"][-1].text)]}

            builder = StateGraph(AgentState, input_schema=InputState, context_schema=Configuration)
            builder.add_node("clarify", clarify)
            builder.add_node("report", report)
            builder.add_edge(START, "clarify")
            builder.add_edge("report", END)
            researcher = builder.compile()
        """,
    },
    {
        "dockerfile_lines": [],
        "graphs": {"Deep Researcher": "./src/deep_research/researcher.py:researcher"},
        "python_version": "3.11",
        "env": "./.env",
        "dependencies": ["."],
    },
    {"Deep Researcher": "ai deep"},
)
