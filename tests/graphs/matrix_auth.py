"""An authentication for the matrix of rights: a header names the user, and each user reaches what it owns.

MATRIX_LOG is a file to which each question is written, with the door that the request is for (header `x-door`).
"""

import json
import os
from pathlib import Path
from typing import Any

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(headers: dict[bytes, bytes]) -> dict[str, Any]:
    name = headers.get(b"x-user", b"").decode()
    if not name:
        raise Auth.exceptions.HTTPException(status_code=401, detail="no user")
    permissions = ["ops:read", "ops:write"] if name == "admin" else []
    return {
        "identity": name,
        "permissions": permissions,
        "door": headers.get(b"x-door", b"").decode(),
    }


def record(ctx: Auth.types.AuthContext, value: Any) -> None:
    """Writes a question to the log."""
    question = [
        ctx.user["door"], ctx.user.identity, f"{ctx.resource}.{ctx.action}", sorted(value),
    ]  # fmt: skip
    with open(os.environ["MATRIX_LOG"], "a", encoding="utf-8") as log:
        log.write(json.dumps(question) + "\n")


def is_withdrawn() -> bool:
    return Path(os.environ["MATRIX_LOG"] + ".denied").exists()


@auth.on
async def decide(ctx: Auth.types.AuthContext, value: Any) -> Any:
    """An admin reaches all; `guest` reaches what names it as a participant; others reach what they own.

    `blind` may read nothing, and `fickle` may do anything until there is a file beside the log. A question about
    `fatal` ends the process.
    """
    identity = ctx.user.identity
    record(ctx, value)
    if identity == "admin":
        return None
    if identity == "blind" and ctx.action == "read":
        return False
    if identity == "fatal":
        os._exit(1)
    if identity == "fickle":
        return not is_withdrawn()
    if ctx.resource == "store":
        return list(value.get("namespace") or ())[:1] == [identity]
    if identity == "guest":
        filters: dict[str, Any] = {"participants": {"$contains": identity}}
    else:
        filters = {"owner": identity}
    if ctx.resource == "assistants" and ctx.action in ("read", "search"):
        return {"$or": [filters, {"created_by": "system"}]}
    return filters
