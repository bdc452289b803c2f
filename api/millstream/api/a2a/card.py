"""Agents' cards: an agent's name, the media types that it takes and answers, and the URL for its messages.

Source: a2a-protocol.org; the LangGraph Platform API for `metadata.a2a` of an assistant and the extension's name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from a2a.server.request_handlers.response_helpers import agent_card_to_dict
from a2a.types import a2a_pb2 as pb
from google.protobuf.json_format import ParseDict

from millstream.shared.assistants import Resolved

VERSIONS: Final = ("1.0", "0.3")
HISTORY_SCOPE: Final = "https://langchain.com/a2a/extensions/history-scope/v1"
HISTORY_SCOPE_HEADER: Final = "LangGraph-A2A-History-Scope"


@dataclass(frozen=True, slots=True)
class Modes:
    """Media types; in those that are taken, `*` stands for anything."""

    input: Sequence[str] = (
        "text/*", "application/json", "application/pdf", "application/octet-stream", "image/*", "audio/*",
        "video/*",
    )  # fmt: skip
    output: Sequence[str] = ("text/plain", "application/json", "image/*", "audio/*", "video/*")


def modes_of(resolved: Resolved) -> Modes:
    """Returns what the agent takes and answers: `a2a` of the assistant's metadata, where it says so.

    What there is no list of media types says nothing.
    """
    told = msgspec.json.decode(resolved.assistant.metadata).get("a2a")
    own = told if isinstance(told, dict) else {}
    default = Modes()
    return Modes(
        _list(own.get("input_modes")) or default.input,
        _list(own.get("output_modes")) or default.output,
    )


def _list(value: Any) -> list[str]:
    found = value if isinstance(value, list) else []
    return [each.strip().lower() for each in found if isinstance(each, str) and each.strip()]


def card(resolved: Resolved, url: str) -> dict[str, Any]:
    """Returns the agent's card, for clients of both versions; `url` is where its messages go."""
    assistant = resolved.assistant
    description = assistant.description or f"The agent {assistant.name!r}."
    modes = modes_of(resolved)
    scope = {
        "uri": HISTORY_SCOPE,
        "description": "Whether a task's history is that of its context or of the task alone.",
        "params": {
            "header": HISTORY_SCOPE_HEADER,
            "values": ["context", "task"],
            "default": "context",
        },
    }
    return agent_card_to_dict(
        pb.AgentCard(
            name=assistant.name,
            description=description,
            version=str(resolved.record.version),
            supported_interfaces=[
                pb.AgentInterface(url=url, protocol_binding="JSONRPC", protocol_version=version)
                for version in VERSIONS
            ],
            capabilities=pb.AgentCapabilities(
                streaming=True,
                push_notifications=False,
                extensions=[ParseDict(scope, pb.AgentExtension())],
            ),
            default_input_modes=modes.input,
            default_output_modes=modes.output,
            skills=[
                pb.AgentSkill(
                    id=assistant.graph_id,
                    name=assistant.name,
                    description=description,
                    tags=["langgraph"],
                )
            ],
        )
    )
