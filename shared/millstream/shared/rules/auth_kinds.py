"""Which kinds of credentials an API accepts: decided by AUTH_TYPE, else by what is configured and by its address."""

import ipaddress
from enum import StrEnum
from typing import Final

from millstream.shared.errors import SettingError

LOOPBACK_HOSTS: Final = ("localhost", "127.0.0.1", "::1")


class AuthKind(StrEnum):
    """A kind of credentials."""

    NOOP = "noop"
    """None: each client may do everything."""
    API_KEY = "api_key"
    JWT = "jwt"
    CUSTOM = "custom"
    """What the `auth` of langgraph.json accepts."""


def parse_auth_type(text: str) -> tuple[AuthKind, ...]:
    """Returns the kinds in AUTH_TYPE, each once, in their order; empty for ''.

    Raises SettingError for an unknown kind, and for `noop` beside another one.
    """
    names = dict.fromkeys(part for each in text.split(",") if (part := each.strip().lower()))
    kinds = []
    for name in names:
        try:
            kinds.append(AuthKind(name))
        except ValueError:
            raise SettingError(
                f"AUTH_TYPE: {name!r} is not one of {', '.join(AuthKind)}."
            ) from None
    if AuthKind.NOOP in kinds and len(kinds) > 1:
        raise SettingError(
            "AUTH_TYPE: `noop` accepts every client, so no other kind can stand beside it."
        )
    return tuple(kinds)


def choose_auth_kinds(
    auth_type: str, host: str, *, has_custom: bool, has_jwt: bool
) -> tuple[AuthKind, ...]:
    """Returns the kinds of credentials that an API accepts, in the order in which they are tried.

    Args:
        auth_type: AUTH_TYPE, '' if it is not set.
        host: the address that the API listens on.
        has_custom: whether langgraph.json has `auth.path`.
        has_jwt: whether an issuer of JWTs is configured.

    Raises:
        SettingError: AUTH_TYPE is invalid, names a kind that is not configured, or is missing on an address that
            other machines can reach.
    """
    kinds = parse_auth_type(auth_type)
    if kinds:
        _check_configured(kinds, has_custom=has_custom, has_jwt=has_jwt)
        return kinds
    if has_custom:
        return (AuthKind.CUSTOM, AuthKind.API_KEY)
    if has_jwt:
        return (AuthKind.JWT, AuthKind.API_KEY)
    if is_loopback(host):
        return (AuthKind.NOOP,)
    raise SettingError(
        f"The API would listen on {host or 'all addresses'} without authentication: every client that reaches it could "
        "read and change everything. Do one of these (docs/auth.md):\n"
        "  - API keys: set AUTH_TYPE=api_key, and create a key with `millstream keys create NAME --identity USER`.\n"
        "  - JWTs: set AUTH_JWT_ISSUER and AUTH_JWT_AUDIENCE.\n"
        "  - Your own code: name it in `auth.path` of langgraph.json, and start the API with --config.\n"
        "  - A proxy before the API authenticates, and nobody else reaches the API: set AUTH_TYPE=noop."
    )


def _check_configured(kinds: tuple[AuthKind, ...], *, has_custom: bool, has_jwt: bool) -> None:
    if AuthKind.CUSTOM in kinds and not has_custom:
        raise SettingError(
            "AUTH_TYPE has `custom`, but the API has no langgraph.json with `auth.path`: start it with --config, or "
            "remove `custom`."
        )
    if has_custom and AuthKind.CUSTOM not in kinds and AuthKind.NOOP not in kinds:
        # The project's authors expect that their code decides: another kind in its place may accept other clients.
        raise SettingError(
            f"AUTH_TYPE={','.join(kinds)} would disable the `auth` of langgraph.json: add `custom`, or remove `auth` "
            "from the file."
        )
    if AuthKind.CUSTOM in kinds and AuthKind.JWT in kinds:
        raise SettingError(
            "AUTH_TYPE has `custom` and `jwt`, and both read bearer tokens: let the project's `auth` accept the JWTs, "
            "or remove one of them."
        )
    if AuthKind.JWT in kinds and not has_jwt:
        raise SettingError("AUTH_TYPE has `jwt`: set AUTH_JWT_ISSUER and AUTH_JWT_AUDIENCE too.")


def is_loopback(host: str) -> bool:
    """Returns whether this machine alone can reach an address that a server listens on."""
    if host in LOOPBACK_HOSTS:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
