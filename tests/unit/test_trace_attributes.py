"""What each span of a run says of it."""

import json
from typing import Any

import msgspec
import pytest

from millstream.shared.tracing.attributes import overridden_metadata, run_attributes
from millstream.shared.wire import RunSpec

SPEC = RunSpec(
    protocol=1,
    run_id="r",
    thread_id="t",
    assistant_id="a",
    graph_id="g",
    queue="q",
    strategy="enqueue",
    temporary=False,
    metadata=b"{}",
    kwargs=b"{}",
)


def spec(metadata: Any = None, tags: Any = None, **changes: Any) -> RunSpec:
    kwargs = {"input": {"deep": [1] * 100}, "config": {"tags": tags, "configurable": {"x": 1}}}
    return msgspec.structs.replace(
        SPEC, metadata=json.dumps(metadata or {}).encode(), kwargs=json.dumps(kwargs).encode(), **changes
    )  # fmt: skip


def test_a_run_without_anything_has_the_servers_own_attributes() -> None:
    ids = {"run_id": "r", "thread_id": "t", "graph_id": "g", "assistant_id": "a"}
    expected: dict[str, Any] = {
        "millstream.run.id": "r",
        "millstream.thread.id": "t",
        "millstream.graph.id": "g",
        "millstream.assistant.id": "a",
        "langfuse.trace.name": "g",
        "langfuse.session.id": "t",
        "session.id": "t",
        "gen_ai.conversation.id": "t",
        "gen_ai.agent.name": "g",
        "gen_ai.agent.id": "a",
    }
    for key, value in ids.items():
        expected |= {f"metadata.{key}": value, f"langfuse.trace.metadata.{key}": value}
    attributes = run_attributes(spec())
    assert json.loads(str(attributes.pop("metadata"))) == ids
    assert attributes == expected


def test_metadata_has_both_names_and_keeps_its_types() -> None:
    attributes = run_attributes(spec({"s": "x", "i": 3, "f": 1.5, "b": True}))
    for prefix in ("metadata.", "langfuse.trace.metadata."):
        assert {key: attributes[prefix + key] for key in "sifb"} == {
            "s": "x", "i": 3, "f": 1.5, "b": True,
        }  # fmt: skip
    assert attributes["metadata.b"] is True
    assert json.loads(str(attributes["metadata"]))["f"] == 1.5


def test_an_authenticated_user_wins_over_the_user_of_the_metadata() -> None:
    claimed = {"user_id": "claimed", "langfuse_user_id": "claimed"}
    names = ("user.id", "langfuse.user.id")
    attributes = run_attributes(spec(claimed, identity="alice"))
    assert [attributes[name] for name in names] == ["alice", "alice"]
    attributes = run_attributes(spec(claimed, identity="alice"), with_identity=False)
    assert [attributes[name] for name in names] == ["claimed", "claimed"]
    attributes = run_attributes(spec(identity="alice", user=b'{"token":"x"}'), with_identity=False)
    assert "alice" not in str(attributes)
    assert not attributes.keys() & set(names)


@pytest.mark.parametrize(
    ("number", "attribute"),
    [(2**63 - 1, 2**63 - 1), (2**63, str(2**63)), (-(2**70), str(-(2**70))), (True, True)],
)
def test_a_number_that_no_span_can_hold_is_a_string(number: int, attribute: Any) -> None:
    attributes = run_attributes(spec({"n": number}))
    assert attributes["metadata.n"] == attributes["langfuse.trace.metadata.n"] == attribute
    assert json.loads(str(attributes["metadata"]))["n"] == number


def test_the_servers_own_keys_win() -> None:
    run = spec({"run_id": "mine", "graph_id": "g", "other": 1}, request_id="req")
    attributes = run_attributes(run)
    assert attributes["metadata.run_id"] == attributes["langfuse.trace.metadata.run_id"] == "r"
    assert attributes["metadata.original_request_id"] == "req"
    assert json.loads(str(attributes["metadata"]))["run_id"] == "r"
    assert overridden_metadata(run) == ["run_id"]
    assert overridden_metadata(spec({"original_request_id": "mine"})) == []  # the server has none


def test_of_too_many_entries_the_requests_stay() -> None:
    """Those of an assistant come first in a run's metadata."""
    of_assistant = {f"a{number}": number for number in range(32)}
    of_request = {f"r{number}": number for number in range(32)}
    attributes = run_attributes(spec(of_assistant | of_request))
    keys = {name.removeprefix("metadata.") for name in attributes if name.startswith("metadata.")}
    assert keys == {*of_request, "run_id", "thread_id", "graph_id", "assistant_id"}


@pytest.mark.parametrize(
    "metadata", [{"bad key": 1}, {"k": "x" * 513}, {"k": None}, {"k": [1]}, {"k" * 65: 1}]
)
def test_what_no_attribute_may_be_is_left_out(metadata: dict[str, Any]) -> None:
    assert run_attributes(spec(metadata)) == run_attributes(spec())


@pytest.mark.parametrize("data", [b"", b"[]", b"{", b"\x00"])
def test_an_unreadable_record_has_attributes_all_the_same(data: bytes) -> None:
    broken = msgspec.structs.replace(SPEC, metadata=data, kwargs=data)
    assert run_attributes(broken)["millstream.run.id"] == "r"


@pytest.mark.parametrize(
    ("metadata", "user", "langfuse_user"),
    [
        ({}, None, None),
        ({"user_id": "u"}, "u", "u"),
        ({"langfuse_user_id": "l"}, "l", "l"),
        ({"user_id": "u", "langfuse_user_id": "l"}, "u", "l"),
        ({"user_id": 7}, "7", "7"),
    ],
)
def test_the_user_is_named_by_the_metadata(
    metadata: dict[str, Any], user: str | None, langfuse_user: str | None
) -> None:
    attributes = run_attributes(spec(metadata))
    assert attributes.get("user.id") == user
    assert attributes.get("langfuse.user.id") == langfuse_user


@pytest.mark.parametrize(
    ("metadata", "session", "langfuse_session"),
    [
        ({"session_id": "s"}, "s", "s"),
        ({"conversation_id": "c"}, "c", "c"),
        ({"langfuse_session_id": "l"}, "t", "l"),
        ({"session_id": "s", "conversation_id": "c", "langfuse_session_id": "l"}, "s", "l"),
    ],
)
def test_the_session_is_the_thread_unless_the_metadata_names_one(
    metadata: dict[str, Any], session: str, langfuse_session: str
) -> None:
    attributes = run_attributes(spec(metadata))
    assert attributes["session.id"] == session
    assert attributes["langfuse.session.id"] == langfuse_session
    assert attributes["gen_ai.conversation.id"] == "t"


def test_tags_environment_and_release() -> None:
    attributes = run_attributes(spec(tags=["a", "b"]), environment="prod", release="v1")
    assert attributes["langfuse.trace.tags"] == attributes["tag.tags"] == ["a", "b"]
    assert attributes["langfuse.environment"] == "prod"
    assert attributes["langfuse.release"] == "v1"
