"""`talk`: an agent that does what the message says. It answers with text or files, asks two questions at once or one
after the other, does not answer, or fails.
"""

from typing import Any, TypedDict

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Send, interrupt

FILES: list[str | dict[Any, Any]] = [
    {"type": "reasoning", "reasoning": "thinking"},
    {"type": "text", "text": "see "},
    {"type": "text", "text": "here"},
    {"type": "image", "url": "https://x.example/y.png", "mime_type": "image/png"},
    {
        "type": "file",
        "base64": "aGk",
        "mime_type": "text/csv",
        "extras": {"filename": "a.csv"},
    },
    {"type": "data", "data": {"rows": 2, "share": 0.5}},
]


class Topic(TypedDict):
    """The topic of one question."""

    topic: str


def next_nodes(state: MessagesState) -> list[str | Send]:
    """Returns the nodes that answer the newest message."""
    text = str(state["messages"][-1].text)
    if text == "two questions":
        return [Send("ask", {"topic": topic}) for topic in ("colour", "size")]
    if text == "an interview":
        return ["interview"]
    return ["say"] if text != "say nothing" else [END]


async def ask(state: Topic) -> dict[str, Any]:
    """Asks, and answers with the topic and the reply."""
    return {"messages": [AIMessage(f"{state['topic']}: {interrupt(state['topic'])}")]}


async def interview(state: MessagesState) -> dict[str, Any]:
    """Asks, and adds question and reply to the messages."""
    number = len(state["messages"]) // 2 + 1
    reply = interrupt(f"question {number}?")
    return {"messages": [AIMessage(f"question {number}?"), HumanMessage(reply)]}


def after_interview(state: MessagesState) -> str:
    """Returns `say` after the reply `enough`, else asks again."""
    return "say" if state["messages"][-1].text == "enough" else "interview"


async def say(state: MessagesState) -> dict[str, Any]:
    """Answers the newest message; `fail` fails."""
    text = str(state["messages"][-1].text)
    if text == "fail":
        raise ValueError("as asked")
    return {"messages": [AIMessage(FILES if text == "files" else f"{text}!")]}


def build_talk() -> Any:
    """START → ask (twice), interview (until `enough`) and say, say, or nothing → END."""
    builder = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.add_node("say", say)
    builder.add_node("interview", interview)
    builder.add_conditional_edges(START, next_nodes, ["ask", "interview", "say", END])
    builder.add_conditional_edges("interview", after_interview, ["interview", "say"])
    builder.add_edge("ask", END)
    builder.add_edge("say", END)
    return builder.compile()


talk = build_talk()
