"""An `auth.path` as projects write it: tokens of users, owners of threads, a part of the store for each user.

With IDENTITY_URL, a service says to which user a token belongs, as with Supabase: `GET /auth/v1/user`.
"""

import os
from typing import Any

import httpx
from langgraph_sdk import Auth

auth = Auth()

USERS = {
    "alice-token": {"identity": "alice", "permissions": ["threads:write"], "org": "red"},
    "bob-token": {"identity": "bob", "permissions": ["threads:write"], "org": "blue"},
    "carol-token": {"identity": "carol", "permissions": [], "org": "red"},
    "admin-token": {"identity": "admin", "permissions": ["admin", "ops:read"], "org": "red"},
}


@auth.authenticate
async def get_current_user(authorization: str | None) -> Auth.types.MinimalUserDict:
    """Returns the user of a token."""
    assert authorization
    scheme, _, token = authorization.partition(" ")
    assert scheme.lower() == "bearer"
    user = await look_up(token)
    if user is None:
        raise Auth.exceptions.HTTPException(status_code=401, detail="Invalid token")
    return user  # type: ignore[return-value]


async def look_up(token: str) -> dict[str, Any] | None:
    """Returns the user that the identity service, or else the table, has for a token."""
    url = os.environ.get("IDENTITY_URL")
    if url is None:
        return USERS.get(token)
    async with httpx.AsyncClient() as client:
        response = await client.get(
            f"{url}/auth/v1/user", headers={"Authorization": f"Bearer {token}"}
        )
    if response.status_code != 200:
        return None
    user = response.json()
    return {"identity": user["id"], "display_name": user.get("email"), "permissions": []}


def is_admin(ctx: Auth.types.AuthContext) -> bool:
    return "admin" in ctx.permissions


@auth.on
async def add_owner(ctx: Auth.types.AuthContext, value: Any) -> Any:
    """Each resource belongs to the user that creates it; an admin reaches all of them."""
    if is_admin(ctx):
        return None
    filters = {"owner": ctx.user.identity}
    value.setdefault("metadata", {}).update(filters)
    return filters


@auth.on.threads.create  # type: ignore[arg-type]
@auth.on.threads.create_run
async def on_thread_create(ctx: Auth.types.AuthContext, value: Any) -> Any:
    """Only users with the permission create threads and runs."""
    if not {"threads:write", "admin"}.intersection(ctx.permissions):
        raise Auth.exceptions.HTTPException(
            status_code=403, detail="The permission threads:write is needed"
        )
    return await add_owner(ctx, value)


@auth.on(resources="assistants", actions=["create", "update", "delete"])
async def on_assistants(ctx: Auth.types.AuthContext, value: Any) -> bool:
    """Only admins change assistants."""
    return is_admin(ctx)


@auth.on(resources="assistants", actions=["read", "search"])
async def on_assistants_read(ctx: Auth.types.AuthContext, value: Any) -> bool:
    """All users may use all assistants."""
    return True


@auth.on.store
async def on_store(ctx: Auth.types.AuthContext, value: Any) -> None:
    """Each user has a namespace of its own, which it does not see."""
    value["namespace"] = (ctx.user.identity, *(value.get("namespace") or ()))
