"""What openapi.json says of the credentials that an API accepts. It is a description, and enforces nothing."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from millstream.shared.langgraph_json.auth import OpenApiSecurity
from millstream.shared.rules.auth_kinds import AuthKind

# Name of a scheme → the scheme, and the kinds of credentials that it carries.
SCHEMES: Final[dict[str, tuple[dict[str, Any], frozenset[AuthKind]]]] = {
    "ApiKey": (
        {
            "type": "apiKey",
            "in": "header",
            "name": "x-api-key",
            "description": "A key of `millstream keys create`.",
        },
        frozenset({AuthKind.API_KEY}),
    ),
    "Bearer": (
        {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key, or a token of the issuer.",
        },
        frozenset({AuthKind.API_KEY, AuthKind.JWT, AuthKind.CUSTOM}),
    ),
}


def describe_security(
    kinds: Sequence[AuthKind], of_project: OpenApiSecurity | None
) -> OpenApiSecurity | None:
    """Returns the schemes of these kinds, and those that `auth.openapi` of langgraph.json describes; None for none.

    A project that describes its credentials leaves nothing to add for them.
    """
    described = [kind for kind in kinds if kind is not AuthKind.CUSTOM or of_project is None]
    schemes = {
        name: scheme
        for name, (scheme, carries) in SCHEMES.items()
        if carries.intersection(described)
    }
    if of_project is None:
        if not schemes:
            return None
        return OpenApiSecurity(securitySchemes=schemes, security=[{name: []} for name in schemes])
    added = {name: each for name, each in schemes.items() if name not in of_project.securitySchemes}
    return msgspec.structs.replace(
        of_project,
        securitySchemes={**added, **of_project.securitySchemes},
        security=of_project.security + [{name: []} for name in added if of_project.security],
    )
