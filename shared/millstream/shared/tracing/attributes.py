"""The attributes of every span of a run, by the names that Langfuse, Phoenix and GenAI dashboards read. Pure.

Sources: https://langfuse.com/integrations/native/opentelemetry#property-mapping; the semantic conventions of
OpenInference (`session.id`, `user.id`, `metadata`, `tag.tags`) and of OpenTelemetry (`gen_ai.*`).
"""

from typing import Any, Final

import msgspec

from millstream.shared.rules.run_metadata import MAX_KEYS, run_metadata_error
from millstream.shared.wire import RunSpec, to_json

Attributes = dict[str, str | bool | int | float | list[str]]
# What names the user and the session in a run's metadata: LangChain's callbacks and Langfuse read these names too.
LANGFUSE_USER: Final = "langfuse_user_id"
LANGFUSE_SESSION: Final = "langfuse_session_id"
USER: Final = "user_id"
MAX_INT: Final = 2**63 - 1  # a span with a larger number can't be encoded
SESSIONS: Final = (
    "session_id",
    "conversation_id",
)  # OpenInference takes them in this order, before the thread


class _Config(msgspec.Struct):
    tags: list[str] | None = None


class _Tagged(msgspec.Struct):
    """The tags of RunKwargs: a large input is not decoded for them."""

    config: _Config = msgspec.field(default_factory=_Config)


_tagged: Final = msgspec.json.Decoder(_Tagged)
_object: Final = msgspec.json.Decoder(dict[str, Any])


def system_metadata(spec: RunSpec) -> dict[str, str]:
    """Returns the entries of metadata that the server sets: they go before those that a client sent."""
    entries = {
        "run_id": spec.run_id,
        "thread_id": spec.thread_id,
        "graph_id": spec.graph_id,
        "assistant_id": spec.assistant_id,
        "original_request_id": spec.request_id,
    }
    return {key: value for key, value in entries.items() if value}


def overridden_metadata(spec: RunSpec) -> list[str]:
    """Returns the keys of a run's metadata whose values are replaced by the server's."""
    system, client = system_metadata(spec), _client_metadata(spec)
    return [key for key, value in client.items() if key in system and system[key] != value]


def run_attributes(
    spec: RunSpec, *, environment: str = "", release: str = "", with_identity: bool = True
) -> Attributes:
    """Returns the attributes of every span of the run.

    The user is the one that the run is executed for. Without authentication it is the one that the metadata names.

    Args:
        spec: the run.
        environment: of the deployment, '' for none.
        release: of the project, '' for none.
        with_identity: whether spans name the user that the run is executed for.
    """
    client, system = _client_metadata(spec), system_metadata(spec)
    others = [(key, value) for key, value in client.items() if key not in system]
    # The request's entries come after its assistant's: of too many, they stay.
    metadata = {**dict(others[-MAX_KEYS:]), **system}
    session = next((str(client[key]) for key in SESSIONS if client.get(key)), spec.thread_id)
    identity = spec.identity if with_identity else ""
    user = identity or str(client.get(USER) or "")
    tags = _tags(spec)
    attributes: Attributes = {
        "millstream.run.id": spec.run_id,
        "millstream.thread.id": spec.thread_id,
        "millstream.graph.id": spec.graph_id,
        "millstream.assistant.id": spec.assistant_id,
        "langfuse.trace.name": spec.graph_id,
        "langfuse.session.id": str(client.get(LANGFUSE_SESSION) or session),
        "session.id": session,
        "langfuse.user.id": identity or str(client.get(LANGFUSE_USER) or user),
        "user.id": user or str(client.get(LANGFUSE_USER) or ""),
        "gen_ai.conversation.id": spec.thread_id,
        "gen_ai.agent.name": spec.graph_id,
        "gen_ai.agent.id": spec.assistant_id,
        "langfuse.trace.tags": tags,
        "tag.tags": tags,
        "langfuse.environment": environment,
        "langfuse.release": release,
        "metadata": to_json(metadata).decode(),
    }
    for key, entry in metadata.items():
        value = entry if not isinstance(entry, int) or abs(entry) <= MAX_INT else str(entry)
        attributes[f"langfuse.trace.metadata.{key}"] = value
        attributes[f"metadata.{key}"] = value
    return {name: value for name, value in attributes.items() if value not in ("", [])}


def _client_metadata(spec: RunSpec) -> dict[str, Any]:
    """Returns the metadata of the request and its assistant, as far as it has the form of attributes."""
    try:
        metadata = _object.decode(spec.metadata)
    except msgspec.DecodeError:
        return {}
    return {key: value for key, value in metadata.items() if not run_metadata_error({key: value})}


def _tags(spec: RunSpec) -> list[str]:
    try:
        return _tagged.decode(spec.kwargs).config.tags or []
    except msgspec.DecodeError:
        return []
