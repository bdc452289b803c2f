"""What the handlers of a project get, and what their results mean. The handlers run in a real process."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from harness.projects import write
from harness.waiting import until
from millstream.shared import auth_process
from millstream.shared.access import Ask, User
from millstream.shared.auth_process.authorizer import ProjectAuthorizer, open_authorizer
from millstream.shared.auth_process.processes import AuthProcesses
from millstream.shared.errors import (
    AccessError,
    ForbiddenError,
    SettingError,
    TooLargeError,
    UnauthenticatedError,
)
from millstream.shared.settings import Settings
from worker.auth_project import ADA, CASES, config, request, scope, started, unstarted

pytestmark = pytest.mark.asyncio(loop_scope="module")

MISSING = object()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("auth")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def processes(folder: Path) -> AsyncIterator[AuthProcesses]:
    async with started(folder, f"{CASES}:auth") as running:
        yield running


@pytest.fixture
def authorizer(processes: AuthProcesses) -> ProjectAuthorizer:
    return ProjectAuthorizer(processes, deny_unhandled=False)


# ── authenticate ────────────────────────────────────────────────────────────────────────────────

USERS: list[tuple[str, dict[str, Any]]] = [
    ("text", {"identity": "ada", "permissions": []}),
    ("dict", {"identity": "ada", "org": {"id": 7}, "permissions": ["x"]}),
    ("pair", {"identity": "ada", "permissions": ["read", "write"]}),
    ("pair_of_object", {"identity": "ada", "permissions": ["read"], "since": "2026-01-02"}),
    ("object", {"identity": "ada", "permissions": ["a", "b"], "since": "2026-01-02", "_private": "no"}),
    ("plain", {"identity": "ada", "team": "red", "database": MISSING}),
    ("studio", {"identity": "ada", "permissions": ["authenticated"], "kind": "StudioUser"}),
]  # fmt: skip


@pytest.mark.parametrize(("case", "fields"), USERS)
async def test_each_form_of_a_user_is_accepted(
    processes: AuthProcesses, case: str, fields: dict[str, Any]
) -> None:
    user = await processes.authenticate(request(case))
    expected = {"display_name": "ada", "is_authenticated": True, **fields}
    assert {name: user.fields.get(name, MISSING) for name in expected} == expected


async def test_the_function_gets_its_arguments_by_name(processes: AuthProcesses) -> None:
    sent = {
        "path": "/threads/t/runs", "method": "POST", "path_params": {"thread_id": "t"},
        "query_params": {"a": "b"}, "headers": [(b"x-one", b"first"), (b"x-two", b"second")],
    }  # fmt: skip
    user = await processes.authenticate(request("echo", **sent))
    del sent["headers"]
    assert user.fields.items() >= {**sent, "header": "first", "more": "default"}.items()


UNKNOWN = (
    "number", "empty", "nothing", "list", "triple", "bad_permissions", "worse_permissions", "long",
    "unauthenticated", "success", "assert", "error", "exit", "cancelled", "interrupt", "stop_iteration", "no such case",
)  # fmt: skip


@pytest.mark.parametrize("case", UNKNOWN)
async def test_what_is_no_user_and_each_exception_is_401_without_its_text(
    processes: AuthProcesses, case: str
) -> None:
    with pytest.raises(UnauthenticatedError) as error:
        await processes.authenticate(request(case))
    assert str(error.value) == "Unauthorized"
    assert error.value.headers == {"www-authenticate": "Bearer"}


HTTP_ERRORS = [
    ("refused", 403, "not today", {"WWW-Authenticate": "Custom realm=x"}),
    ("default", 401, "Unauthorized", {"www-authenticate": "Bearer"}),
    ("starlette", 429, '{"retry": 1}', {}),
]


@pytest.mark.parametrize(("case", "status", "detail", "headers"), HTTP_ERRORS)
async def test_an_http_exception_passes(
    processes: AuthProcesses, case: str, status: int, detail: str, headers: dict[str, str]
) -> None:
    with pytest.raises(AccessError) as error:
        await processes.authenticate(request(case))
    assert (error.value.status, str(error.value), error.value.headers) == (status, detail, headers)


# ── on ──────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("case", "restriction"),
    [
        ("none", None),
        ("true", None),
        ("empty", None),
        ("filter", {"owner": "ada", "room": "00000000-0000-0000-0000-000000000005"}),
    ],
)
async def test_what_allows(
    authorizer: ProjectAuthorizer, case: str, restriction: dict[str, Any] | None
) -> None:
    value = {"metadata": {"case": case}}
    decision = await authorizer.decide(ADA, "threads.search", value)
    assert decision.value == {"metadata": {"case": case}}
    assert (decision.filter and decision.filter.equalities()) == restriction


DENIED = (
    "false", "unknown_operator", "number", "text", "zero", "not_json", "error", "assert", "exit", "no such case",
    "not_json_value",
)  # fmt: skip


@pytest.mark.parametrize("case", DENIED)
async def test_what_denies(authorizer: ProjectAuthorizer, case: str) -> None:
    with pytest.raises(ForbiddenError) as error:
        await authorizer.decide(ADA, "threads.search", {"metadata": {"case": case}})
    assert (error.value.status, str(error.value), error.value.headers) == (403, "Forbidden", {})


async def test_an_http_exception_of_a_handler_passes(authorizer: ProjectAuthorizer) -> None:
    with pytest.raises(AccessError) as error:
        await authorizer.decide(ADA, "threads.search", {"metadata": {"case": "refused"}})
    assert (error.value.status, str(error.value)) == (404, "no such thing")


async def test_what_a_handler_gets(authorizer: ProjectAuthorizer) -> None:
    value = {"metadata": {"case": "user"}}
    decision = await authorizer.decide(ADA, "threads.update", value)
    assert decision.value["seen"] == {
        "class": "ProjectUser", "identity": "ada", "item": "ada", "permissions": ["x"],
        "resource": "threads", "action": "update",
    }  # fmt: skip
    studio = User.of({"identity": "s", "kind": "StudioUser"})
    decision = await authorizer.decide(studio, "threads.update", value)
    assert decision.value["seen"]["class"] == "StudioUser"


async def test_ids_are_uuids_as_the_sdk_documents(authorizer: ProjectAuthorizer) -> None:
    id = "4e2f7b2c-0b1e-4e5e-9f1e-0d3a5a9a0f11"
    value = {
        "thread_id": id, "assistant_id": "agent", "ids": [id], "namespace": ["a"],
        "metadata": {"case": "types", "thread_id": id}, "limit": 5,
    }  # fmt: skip
    decision = await authorizer.decide(ADA, "threads.search", value)
    types = decision.value.pop("seen")
    assert types == {
        "thread_id": "UUID", "assistant_id": "str", "ids": "list", "namespace": "list", "metadata": "dict",
        "limit": "int",
    }  # fmt: skip
    assert decision.value == value


async def test_a_change_of_value_by_a_handler_counts(authorizer: ProjectAuthorizer) -> None:
    decision = await authorizer.decide(ADA, "threads.create", {"if_exists": "raise"})
    assert decision.value == {"if_exists": "raise", "metadata": {"owner": "ada"}}
    decision = await authorizer.decide(ADA, "store.put", {"namespace": ["n"], "key": "k"})
    assert decision.value == {"namespace": ["ada", "tuple", "n"], "key": "k"}


RESOLVED: list[tuple[Ask, Any]] = [
    ("threads.create", {"owner": "ada"}),  # resource and action, before the resource
    ("threads.read", None),  # the resource, before the action
    ("assistants.read", {"by": "any.read"}),  # the action
    ("assistants.search", None),  # no handler
]


@pytest.mark.parametrize(("ask", "restriction"), RESOLVED)
async def test_a_specific_handler_decides_before_a_general_one(
    authorizer: ProjectAuthorizer, ask: Ask, restriction: Any
) -> None:
    decision = await authorizer.decide(ADA, ask, {"metadata": {"case": "true"}})
    assert (decision.filter and decision.filter.equalities()) == restriction


async def test_a_question_without_a_handler(
    processes: AuthProcesses, authorizer: ProjectAuthorizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "authorize", None)  # no question is sent
    value = {"limit": 10}
    assert (await authorizer.decide(ADA, "crons.search", value)).value is value
    strict = ProjectAuthorizer(processes, deny_unhandled=True)
    with pytest.raises(ForbiddenError):
        await strict.decide(ADA, "crons.search", value)


async def test_the_deployment_is_open_to_a_permission_of_its_name(
    authorizer: ProjectAuthorizer,
) -> None:
    reader = User.of({"identity": "ada", "permissions": ["ops:read"]})
    assert (await authorizer.decide(reader, "ops.read", {})).filter is None
    others: list[tuple[User, Ask]] = [(reader, "ops.write"), (ADA, "ops.read")]
    for user, ask in others:
        with pytest.raises(ForbiddenError):
            await authorizer.decide(user, ask, {})


async def test_the_log_names_what_has_no_handler_and_handlers_that_nothing_reaches(
    processes: AuthProcesses, authorizer: ProjectAuthorizer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        authorizer.report_handlers()
        ProjectAuthorizer(processes, deny_unhandled=True).report_handlers()
    missing = (
        "assistants.create, assistants.delete, assistants.search, assistants.update, "
        "crons.create, crons.delete, crons.search, crons.update"
    )
    assert [record.getMessage() for record in caplog.records] == [
        f"auth.path: no handler decides on {missing}: allowed to all users",
        "auth.path: nothing reaches the handler of crons.serach",
        f"auth.path: no handler decides on {missing}: denied (AUTH_DENY_UNHANDLED)",
        "auth.path: nothing reaches the handler of crons.serach",
    ]


# ── the body and the request ────────────────────────────────────────────────────────────────────


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def with_request(folder: Path) -> AsyncIterator[AuthProcesses]:
    async with started(folder, f"{CASES}:with_request") as running:
        yield running


async def test_the_request_is_starlettes_and_its_body_is_read_only_on_demand(
    with_request: AuthProcesses,
) -> None:
    reads: list[int] = []
    body = msgspec.json.encode({"identity": "ada", "fill": "x" * 300_000})

    async def read_body() -> bytes:
        reads.append(len(reads))
        return body

    async def fail() -> bytes:
        raise TooLargeError("too large")

    assert with_request.parameters == {"request"}
    user = await with_request.authenticate({}, scope=scope(), read_body=read_body)
    expected = {
        "identity": "ada",
        "again": len(body),
        "cookie": "b",
        "query": ["1", "2"],
        "client": "9.9.9.9",
    }
    assert user.fields.items() >= expected.items()
    assert reads == [0]
    unread = scope(headers=[(b"x-read", b"no"), (b"host", b"api.example")])
    user = await with_request.authenticate({}, scope=unread, read_body=read_body)
    assert user.fields["url"] == "https://api.example/threads/search?q=1&q=2"
    assert reads == [0]
    with pytest.raises(TooLargeError):
        await with_request.authenticate({}, scope=scope(), read_body=fail)


async def test_a_slow_body_does_not_use_up_the_time_of_the_answer(
    with_request: AuthProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived = asyncio.Event()

    async def read_body() -> bytes:
        await arrived.wait()
        return b'{"identity": "ada"}'

    monkeypatch.setattr(with_request, "_timeout", 0.5)
    asking = asyncio.create_task(with_request.authenticate({}, scope=scope(), read_body=read_body))
    pending = with_request._children[0]._pending
    await until(lambda: any(each.sending for each in pending.values()))
    done, _ = await asyncio.wait({asking}, timeout=0.7)  # longer than the time of an answer
    assert not done
    arrived.set()
    assert (await asking).identity == "ada"


async def test_a_function_that_is_not_async_runs_in_a_thread(folder: Path) -> None:
    async with started(folder, f"{CASES}:with_body") as processes:
        slow = asyncio.create_task(processes.authenticate({"body": {"hang": 0.5}}))
        await until(lambda: processes._children[0].pending == 1)
        assert (await processes.authenticate({"body": {"identity": "ada"}})).identity == "ada"
        assert not slow.done()
        assert (await processes.authenticate({"body": None})).identity == "nobody"
        for body in ({"stop": 1}, {"exit": 1}, {}):
            with pytest.raises(UnauthenticatedError):
                await processes.authenticate({"body": body})
        assert (await slow).identity == "slept"


async def test_a_worker_asks_handlers_without_starlette(folder: Path) -> None:
    settings = Settings(auth_deny_unhandled="true")
    path = config(folder, f"{CASES}:with_request")
    async with open_authorizer(path, settings) as authorizer:
        with pytest.raises(ForbiddenError):
            await authorizer.decide(ADA, "threads.create_run", {})
        decision = await authorizer.decide(ADA, "crons.read", {"cron_id": "c"})
        assert decision.filter is not None
        assert decision.filter.equalities() == {"reader": "ada"}


async def test_without_the_sdk_the_error_names_the_package(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth_process.processes, "SDK", "absent_sdk")
    with pytest.raises(SettingError, match=re.escape('pip install "millstream[auth]"')):
        unstarted(folder, "./auth.py:auth")


# ── what can't be loaded ────────────────────────────────────────────────────────────────────────


async def test_a_parent_learns_why_a_file_cannot_be_used(tmp_path: Path) -> None:
    said = "auth.path: ./file.py can't be imported: NameError: name 'nonsense' is not defined"
    write(tmp_path, "file.py", "nonsense")
    with pytest.raises(SettingError) as error:
        await unstarted(tmp_path, "./file.py:auth").start()
    assert str(error.value).startswith(f"The project's `auth` can't be used: {said}")
