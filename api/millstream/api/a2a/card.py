"""Builds agents' cards: an agent's name, the media types of its input and output, and the URL for its messages.

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
    """Media types of input and output. In those of input, `*` matches any text."""

    input: Sequence[str] = (
        "text/*", "application/json", "application/pdf", "application/octet-stream", "image/*", "audio/*",
        "video/*",
    )  # fmt: skip
    output: Sequence[str] = ("text/plain", "application/json", "image/*", "audio/*", "video/*")


def modes_of(resolved: Resolved) -> Modes:
    """Returns the agent's media types: `a2a` of the assistant's metadata, or the defaults.

    Ignores values that are not lists of texts.
    """
    metadata = msgspec.json.decode(resolved.assistant.metadata).get("a2a")
    modes = metadata if isinstance(metadata, dict) else {}
    default = Modes()
    return Modes(
        _list(modes.get("input_modes")) or default.input,
        _list(modes.get("output_modes")) or default.output,
    )


def _list(value: Any) -> list[str]:
    items = value if isinstance(value, list) else []
    return [each.strip().lower() for each in items if isinstance(each, str) and each.strip()]


def make_card(resolved: Resolved, url: str) -> dict[str, Any]:
    """Returns the agent's card for clients of both versions. `url` is the URL for its messages."""
    assistant = resolved.assistant
    description = assistant.description or f"The agent {assistant.name!r}."
    modes = modes_of(resolved)
    scope = {
        "uri": HISTORY_SCOPE,
        "description": "Whether a task's history has the messages of its context, or of the task only.",
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
