"""`desk`: a chat that streams its answers, and asks a person before it sends a mail.

It reads the same entries of `config.configurable` as `chat`: `tokens` (20), `delay`, seconds per token (0).
"""

from typing import Any

from langchain_core.messages import AIMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import interrupt

from graphs import Graph, ask_model


def wants_mail(state: MessagesState) -> str:
    """Return "mail" if the last message mentions one, else "model"."""
    return "mail" if "mail" in str(state["messages"][-1].content).lower() else "model"


async def send_mail(state: MessagesState) -> dict[str, Any]:
    """Stop until a person decides; `interrupt` returns the decision when the run is resumed."""
    decision = interrupt("Send the mail to all customers?")
    text = "The mail is on its way." if decision == "approved" else "No mail was sent."
    return {"messages": [AIMessage(text)]}


def build_desk() -> Graph:
    """START → model, or mail (stops there) → END."""
    builder = StateGraph(MessagesState)
    builder.add_node("model", ask_model)
    builder.add_node("mail", send_mail)
    builder.add_conditional_edges(START, wants_mail, ["model", "mail"])
    builder.add_edge("model", END)
    builder.add_edge("mail", END)
    return builder.compile(name="desk")


desk = build_desk()
