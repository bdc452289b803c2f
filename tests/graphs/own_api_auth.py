"""An authentication that believes a header: the user is the tenant that a proxy names."""

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def tenant_of(headers: dict[bytes, bytes]) -> str:
    """Returns the identity."""
    tenant = headers.get(b"x-tenant", b"").decode()
    if not tenant:
        raise Auth.exceptions.HTTPException(status_code=401, detail="no tenant")
    return tenant
