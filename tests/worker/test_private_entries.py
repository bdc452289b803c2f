"""What a graph reads and nothing stores: the user and the headers of its client."""

import copy
import pickle
from typing import Any

import orjson
from langchain_core.runnables import RunnableConfig
from langgraph.pregel.remote import RemoteGraph
from langgraph_sdk.auth.types import BaseUser

from millstream.shared.access import User
from millstream.worker import private_entries, remote_graph
from millstream.worker.checkpoints.serializer import MessageSerializer
from millstream.worker.encode import encode
from millstream.worker.graph_user import GraphUser

ALICE = User.of(
    {"identity": "alice", "permissions": ["a"], "team": {"name": "blue"}, "get": 1, "items": []}
)
OTHERS: dict[str, Any] = {"thread_id": "t", "model": "m"}
PRIVATE = {"langgraph_auth_user", "langgraph_auth_user_id", "langgraph_auth_permissions", "x-a"}


def config() -> RunnableConfig:
    return {"configurable": private_entries.add(OTHERS, ALICE, {"x-a": "1", "model": "h"})}


def test_private_entries_are_added_and_left_out() -> None:
    full = config()
    assert full["configurable"].keys() == {*OTHERS, *PRIVATE, private_entries.NAMES}
    assert full["configurable"]["model"] == "h"
    assert private_entries.without(full) == {"configurable": {"thread_id": "t"}}
    assert private_entries.user_in(full) == ALICE.fields
    assert (
        private_entries.user_in({"configurable": {"langgraph_auth_user": {"identity": "x"}}})
        is None
    )
    assert private_entries.add(OTHERS, None) is OTHERS
    plain: RunnableConfig = {"configurable": OTHERS}
    assert private_entries.without(plain) is plain


def test_the_event_of_a_checkpoint_has_none_in_any_config() -> None:
    payload: dict[str, Any] = {
        "config": config(),
        "parent_config": config(),
        "tasks": [{"id": "1", "state": config()}, {"id": "2", "state": None}, {"id": "3"}],
    }
    clean = private_entries.without_in_checkpoint(payload)
    assert not [name for name in PRIVATE if name in str(clean)]
    assert clean["tasks"][1:] == payload["tasks"][1:]
    assert "alice" in str(payload)  # the graph's own config is unchanged


def test_a_user_is_read_as_a_mapping_and_by_attributes() -> None:
    user = GraphUser(ALICE.fields)
    assert isinstance(user, BaseUser)
    assert (user.identity, user["identity"], user.get("identity")) == ("alice",) * 3
    assert (user.display_name, user.is_authenticated, user.permissions) == ("alice", True, ["a"])
    assert (user.team, "team" in user, set(user) > {"team", "identity"}) == (
        {"name": "blue"},
        True,
        True,
    )
    assert user.get("token", "none") == "none"  # a field named `get` does not hide the method
    assert not hasattr(user, "token")


def test_a_user_may_be_copied_stored_and_streamed() -> None:
    user = GraphUser(ALICE.fields)
    serde = MessageSerializer()
    assert serde.loads_typed(serde.dumps_typed({"user": user})) == {"user": ALICE.fields}
    assert orjson.loads(encode({"user": user})) == {"user": ALICE.fields}
    for copied in (copy.deepcopy(user), pickle.loads(pickle.dumps(user))):
        assert copied == user
        assert copied.identity == "alice"


def test_a_remote_graph_sends_neither_user_nor_headers() -> None:
    remote_graph.connect()
    graph = RemoteGraph("agent", url="http://other:1")
    sent = graph._sanitize_config(config())
    assert sent["configurable"] == {"thread_id": "t"}
