"""`talk`: an agent that answers as it is asked: with files, with two questions at once or one after the other, not at
all, or by failing.
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
    """What one of the questions is about."""

    topic: str


def asked_for(state: MessagesState) -> list[str | Send]:
    """Returns the nodes that answer the newest message."""
    text = str(state["messages"][-1].text)
    if text == "two questions":
        return [Send("ask", {"topic": topic}) for topic in ("colour", "size")]
    if text == "an interview":
        return ["interview"]
    return ["say"] if text != "say nothing" else [END]


async def ask(state: Topic) -> dict[str, Any]:
    """Asks, and says what was answered."""
    return {"messages": [AIMessage(f"{state['topic']}: {interrupt(state['topic'])}")]}


async def interview(state: MessagesState) -> dict[str, Any]:
    """Asks, and keeps question and answer among the messages."""
    asked = len(state["messages"]) // 2 + 1
    answer = interrupt(f"question {asked}?")
    return {"messages": [AIMessage(f"question {asked}?"), HumanMessage(answer)]}


def goes_on(state: MessagesState) -> str:
    """Tells whether there is another question."""
    return "say" if state["messages"][-1].text == "enough" else "interview"


async def say(state: MessagesState) -> dict[str, Any]:
    """Answers with what is asked for; `fail` fails."""
    text = str(state["messages"][-1].text)
    if text == "fail":
        raise ValueError("as asked")
    return {"messages": [AIMessage(FILES if text == "files" else f"{text}!")]}


def build_talk() -> Any:
    """START → ask (twice), interview (until it is enough) and say, say, or nothing → END."""
    builder = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.add_node("say", say)
    builder.add_node("interview", interview)
    builder.add_conditional_edges(START, asked_for, ["ask", "interview", "say", END])
    builder.add_conditional_edges("interview", goes_on, ["interview", "say"])
    builder.add_edge("ask", END)
    builder.add_edge("say", END)
    return builder.compile()


talk = build_talk()
