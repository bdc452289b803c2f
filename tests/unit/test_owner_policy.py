"""What users of API keys and JWTs may do: each question with each scope, and the owner."""

from typing import Any

import pytest

from millstream.shared.access import ASKS, Ask, Decision, User
from millstream.shared.access.owner_policy import OwnerPolicy, namespace_label, owned_namespace
from millstream.shared.errors import ForbiddenError
from millstream.shared.rules.scopes import SCOPES

READ_ASKS = {
    ask for ask in ASKS if ask.split(".")[1] in ("read", "search", "get", "list_namespaces")
}
OPS_ASKS = {ask for ask in ASKS if ask.startswith("ops.")}
ALLOWED: dict[str, set[Any]] = {
    "read": READ_ASKS - OPS_ASKS,
    "write": set(ASKS) - OPS_ASKS,
    "admin": set(ASKS),
    "ops": {"ops.read"},
}


def user(*scopes: str, identity: str = "ann") -> User:
    return User.of({"identity": identity, "permissions": list(scopes)})


async def decide(ask: Ask, value: dict[str, Any] | None = None, *scopes: str) -> Decision:
    return await OwnerPolicy().decide(user(*scopes), ask, {} if value is None else value)


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("scope", SCOPES)
async def test_a_scope_allows_exactly_its_questions(scope: str, ask: Ask) -> None:
    if ask in ALLOWED[scope]:
        decision = await decide(ask, None, scope)
        is_restricted = decision.filter is not None or decision.value.get("namespace") == ["ann"]
        assert is_restricted == (scope != "admin" and not ask.startswith("ops."))
    else:
        with pytest.raises(ForbiddenError, match="needs the scope"):
            await decide(ask, None, scope)


@pytest.mark.parametrize("ask", ASKS)
async def test_without_a_known_scope_everything_is_denied(ask: Ask) -> None:
    for scopes in ((), ("root",), ("READ",), ("read ",), ("read:write",)):
        with pytest.raises(ForbiddenError):
            await decide(ask, None, *scopes)


async def test_scopes_add_up() -> None:
    both = await decide("ops.read", None, "read", "ops")
    assert both.filter is None
    assert (await decide("threads.read", None, "ops", "read")).filter is not None


@pytest.mark.parametrize("resource", ["threads", "assistants", "crons"])
async def test_the_owner_is_set_when_a_record_is_created(resource: str) -> None:
    ask: Any = f"{resource}.create"
    for metadata in (
        {},
        {"owner": "bob", "a": 1},
        {"owner": None},
        {"owner": {"$eq": "bob"}},
        None,
    ):
        decision = await decide(ask, {"metadata": metadata}, "write")
        assert decision.value["metadata"]["owner"] == "ann"
    assert (await decide(ask, {}, "write")).value["metadata"] == {"owner": "ann"}
    assert decision.filter is not None
    assert decision.filter.matches({"owner": "ann"})
    assert not decision.filter.matches({"owner": "bob"})
    assert not decision.filter.matches({})


async def test_an_update_gives_nothing_away() -> None:
    decision = await decide("threads.update", {"metadata": {"owner": "bob"}}, "write")
    assert decision.value["metadata"] == {"owner": "ann"}
    assert (await decide("threads.update", {"thread_id": "t"}, "write")).value == {"thread_id": "t"}


async def test_nobody_but_the_server_makes_default_assistants() -> None:
    asks: list[Ask] = ["assistants.create", "assistants.update"]
    for ask in asks:
        decision = await decide(ask, {"metadata": {"created_by": "system"}}, "write")
        assert decision.value["metadata"] == {"owner": "ann"}


async def test_default_assistants_are_read_by_all_and_changed_by_admins() -> None:
    system = {"created_by": "system"}
    reads: list[Ask] = ["assistants.read", "assistants.search"]
    changes: list[Ask] = ["assistants.update", "assistants.delete"]
    for ask in reads:
        decision = await decide(ask, None, "read")
        assert decision.filter is not None
        assert decision.filter.matches(system)
        assert decision.filter.matches({"owner": "ann"})
        assert not decision.filter.matches({"owner": "bob"})
    for ask in changes:
        decision = await decide(ask, {}, "write")
        assert decision.filter is not None
        assert not decision.filter.matches(system)
        assert (await decide(ask, {}, "admin")).filter is None


async def test_an_admin_may_act_for_others() -> None:
    created = await decide("threads.create", {"metadata": {"owner": "bob"}}, "admin")
    assert created.value["metadata"] == {"owner": "bob"}
    assert (await decide("threads.create", {}, "admin")).value["metadata"] == {"owner": "ann"}
    value: dict[str, Any] = {"metadata": {"x": 1}}
    assert (await decide("threads.update", value, "admin")).value == {"metadata": {"x": 1}}
    value = {"namespace": ["bob", "notes"]}
    assert (await decide("store.put", value, "admin")).value["namespace"] == ["bob", "notes"]


@pytest.mark.parametrize("ask", [ask for ask in ASKS if ask.startswith("store.")])
async def test_a_namespace_begins_with_the_identity(ask: Ask) -> None:
    value: dict[str, Any] = {"namespace": ["ann", "notes"]}
    assert (await decide(ask, value, "write")).value["namespace"] == ["ann", "notes"]
    empties: list[Any] = [[], (), None]
    for empty in empties:
        assert (await decide(ask, {"namespace": empty}, "write")).value["namespace"] == ["ann"]
    for others in (["bob"], ["bob", "ann"], ["annex"], ["*"], ["", "ann"], ["ANN"]):
        with pytest.raises(ForbiddenError, match="namespace"):
            await decide(ask, {"namespace": others}, "write")


def test_identities_have_different_labels_without_periods() -> None:
    identities = ["a.b", "a%2Eb", "a%b", "a%25b", "a", "a%252Eb", "auth0|1", "ann@example.com"]
    labels = [namespace_label(identity) for identity in identities]
    assert len(set(labels)) == len(identities)
    assert not any("." in label for label in labels)
    assert owned_namespace("ann@example.com", []) == ["ann@example%2Ecom"]
