"""Files for `auth.path` of every kind, also of those that fail. The token or the metadata chooses the case."""

import asyncio
import contextvars
import dataclasses
import datetime
import os
import time
import uuid
from collections.abc import Callable
from typing import Any

from langgraph_sdk import Auth
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import Request

auth = Auth()
seen: contextvars.ContextVar[str] = contextvars.ContextVar("seen", default="")


@dataclasses.dataclass
class Person:
    """A user as an object."""

    identity: str
    permissions: tuple[str, ...] = ("a", "b")
    since: datetime.date = datetime.date(2026, 1, 2)
    _private: str = "no"


class Plain:
    """A user whose fields are partly no JSON."""

    def __init__(self, identity: Any) -> None:
        self.identity = identity
        self.team = "red"
        self.database = object()


def fail(error: BaseException) -> Any:
    raise error


HEADERS = {"WWW-Authenticate": "Custom realm=x", "X-Bad": "a\r\nSet-Cookie: b=c", "Bad name": "x"}
USERS: dict[str, Callable[[], Any]] = {
    "text": lambda: "ada",
    "dict": lambda: {"identity": "ada", "org": {"id": 7}, "permissions": ["x"]},
    "pair": lambda: (["read", "write"], "ada"),
    "pair_of_object": lambda: ({"read"}, Person("ada")),
    "object": lambda: Person("ada"),
    "plain": lambda: Plain("ada"),
    "studio": lambda: Auth.types.StudioUser("ada", is_authenticated=True),
    "number": lambda: {"identity": 5},
    "empty": lambda: "",
    "nothing": lambda: None,
    "list": lambda: ["ada"],
    "triple": lambda: (["read"], "ada", 1),
    "bad_permissions": lambda: {"identity": "ada", "permissions": "read"},
    "worse_permissions": lambda: {"identity": "ada", "permissions": [1]},
    "long": lambda: "x" * 513,
    "unauthenticated": lambda: {"identity": "ada", "is_authenticated": False},
    "refused": lambda: fail(Auth.exceptions.HTTPException(403, "not today", HEADERS)),
    "default": lambda: fail(Auth.exceptions.HTTPException()),
    "starlette": lambda: fail(StarletteHTTPException(429, {"retry": 1})),  # type: ignore[arg-type]
    "success": lambda: fail(Auth.exceptions.HTTPException(200, "secret")),
    "assert": lambda: fail(AssertionError("secret")),
    "error": lambda: fail(ValueError("secret")),
    "exit": lambda: fail(SystemExit(3)),
    "cancelled": lambda: fail(asyncio.CancelledError()),
    "interrupt": lambda: fail(KeyboardInterrupt()),
    "stop_iteration": lambda: next(iter(())),
    "block": lambda: time.sleep(60),
    "die": lambda: os._exit(7),
}


@auth.authenticate
async def authenticate(
    authorization: str | None,
    path: str,
    method: str,
    path_params: dict[str, str],
    query_params: dict[str, str],
    headers: dict[bytes, bytes],
    more: str = "default",
) -> Any:
    case = (authorization or "").removeprefix("Bearer ")
    if case == "echo":
        return {
            "identity": "echo",
            "path": path,
            "method": method,
            "path_params": path_params,
            "query_params": query_params,
            "header": headers[b"x-one"].decode(),
            "more": more,
            "pid": os.getpid(),
        }
    if case == "never":
        await asyncio.Event().wait()
    if case == "stubborn":
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                continue
    return USERS[case]()


FILTERS: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "true": lambda: True,
    "false": lambda: False,
    "empty": dict,
    "filter": lambda: {"owner": "ada", "room": {"$eq": uuid.UUID(int=5)}},
    "unknown_operator": lambda: {"owner": {"$regex": ".*"}},
    "number": lambda: 1,
    "text": lambda: "yes",
    "zero": lambda: 0,
    "not_json": lambda: {"owner": object()},
    "refused": lambda: fail(Auth.exceptions.HTTPException(404, "no such thing")),
    "error": lambda: fail(RuntimeError("secret")),
    "assert": lambda: fail(AssertionError("secret")),
    "exit": lambda: fail(SystemExit(3)),
    "never": lambda: None,
}


@auth.on.threads
async def threads(ctx: Auth.types.AuthContext, value: Any) -> Any:
    case = value["metadata"]["case"]
    if case == "never":
        await asyncio.Event().wait()
    if case == "user":
        value["seen"] = {
            "class": type(ctx.user).__name__,
            "identity": ctx.user.identity,
            "item": ctx.user["identity"] if not isinstance(ctx.user, Auth.types.StudioUser) else "",
            "permissions": list(ctx.permissions),
            "resource": ctx.resource,
            "action": ctx.action,
        }
        return None
    if case == "types":
        value["seen"] = {name: type(each).__name__ for name, each in value.items()}
        return None
    if case == "not_json_value":
        value["metadata"]["object"] = object()
        return None
    return FILTERS[case]()


@auth.on.threads.create
async def create(ctx: Auth.types.AuthContext, value: Any) -> Any:
    value.setdefault("metadata", {})["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}


@auth.on.store
async def store(ctx: Auth.types.AuthContext, value: Any) -> None:
    kind = type(value["namespace"]).__name__
    value["namespace"] = (ctx.user.identity, kind, *value["namespace"])


@auth.on(actions="read")
async def read_anything(ctx: Auth.types.AuthContext, value: Any) -> Any:
    return {"by": "any.read"}


@auth.on(resources="crons", actions=["serach"])  # a typing error, which no question reaches
async def typing_error(ctx: Auth.types.AuthContext, value: Any) -> Any:
    return False


with_request = Auth()


@with_request.authenticate
async def from_request(request: Request) -> Any:
    if request.headers.get("x-read") == "no":
        return {"identity": "unread", "url": str(request.url), "method": request.method}
    data = await request.json()
    return {
        "identity": data["identity"],
        "again": len(await request.body()),
        "cookie": request.cookies.get("a"),
        "query": request.query_params.getlist("q"),
        "client": request.client.host if request.client else None,
    }


@with_request.on.crons.read
async def read_cron(ctx: Auth.types.AuthContext, value: Any) -> Any:
    return {"reader": ctx.user.identity}


with_body = Auth()


@with_body.authenticate
def from_body(body: Any) -> Any:
    """Not async: it runs in a thread."""
    match body:
        case None:
            return "nobody"
        case {"hang": seconds}:
            time.sleep(seconds)
            return "slept"
        case {"stop": _}:
            return next(iter(()))
        case {"exit": _}:
            raise SystemExit(4)
    return body["identity"]


unknown_parameter = Auth()


@unknown_parameter.authenticate
async def with_token(token: str) -> str:
    return token


handlers_alone = Auth()


@handlers_alone.on
async def allow(ctx: Auth.types.AuthContext, value: Any) -> bool:
    return True


no_auth = 5
