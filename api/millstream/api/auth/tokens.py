"""Authenticates requests by JWTs of one issuer, as bearer tokens. Source: RFC 7519, RFC 8725, RFC 6750."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt

from millstream.api.auth.authentication import AuthRequest
from millstream.api.auth.credentials import bearer_token
from millstream.api.auth.issuer_keys import IssuerKeys
from millstream.shared.access import User
from millstream.shared.api_keys.token import PREFIX
from millstream.shared.errors import UnauthenticatedError
from millstream.shared.settings import Settings

# Scopes of OpenID Connect itself, which most tokens have. They say nothing about Millstream.
OIDC_SCOPES: Final = frozenset({"openid", "profile", "email", "address", "phone", "offline_access"})
MAX_PERMISSIONS: Final = 200
NAME_CLAIMS: Final = ("name", "preferred_username", "email")


@dataclass(frozen=True, slots=True)
class ScopeRules:
    """How the claims of a token become scopes: see AUTH_JWT_SCOPE_… in docs/settings.md."""

    claims: tuple[str, ...]
    prefix: str
    by_default: tuple[str, ...]

    def scopes_of(self, claims: Mapping[str, Any]) -> list[str]:
        """Returns the scopes that a token names; those by default for one that names none."""
        values = [value for name in self.claims if (value := claim_at(claims, name)) is not None]
        scopes = [scope for value in values for scope in _texts(value) if scope not in OIDC_SCOPES]
        has_list = any(
            isinstance(value, list) for value in values
        )  # also an empty one names scopes
        if not scopes and not has_list:
            return [*self.by_default]
        with_prefix = [each for each in scopes if each.startswith(self.prefix)]
        stripped = (each.removeprefix(self.prefix) for each in with_prefix)
        return list(dict.fromkeys(stripped))[:MAX_PERMISSIONS]


class JwtAuthenticator:
    """Accepts tokens that the issuer signed for this API."""

    def __init__(self, keys: IssuerKeys, settings: Settings) -> None:
        """Takes the issuer's keys and the settings AUTH_JWT_…."""
        self._keys = keys
        self._issuer = settings.jwt_issuer
        self._audiences = settings.jwt_audiences
        self._algorithms = frozenset(settings.jwt_allowed_algorithms)
        self._leeway = settings.jwt_leeway
        self._identity_claim = settings.jwt_identity_claim
        self._scope_rules = ScopeRules(
            tuple(settings.jwt_claims_of_scopes),
            settings.jwt_scope_prefix,
            tuple(settings.jwt_scopes_by_default),
        )

    async def authenticate(self, request: AuthRequest) -> User | None:
        """Returns the user that the token names. Raises UnauthenticatedError, and UnavailableError without any key."""
        token = bearer_token(request)
        if token is None or token.startswith(PREFIX):
            return None
        claims = await self._verify(token)
        identity = claim_at(claims, self._identity_claim)
        if not isinstance(identity, str):
            raise _invalid(f"it has no claim {self._identity_claim!r} that is a text")
        name = next((claims[each] for each in NAME_CLAIMS if isinstance(claims.get(each), str)), "")
        try:
            return User.of(
                {
                    "identity": identity,
                    "display_name": name or identity,
                    "permissions": self._scope_rules.scopes_of(claims),
                }
            )
        except ValueError as error:
            raise _invalid(str(error)) from None

    async def _verify(self, token: str) -> dict[str, Any]:
        """Returns the claims of a valid token."""
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError):
            raise _invalid("it is malformed") from None
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise _invalid("its algorithm is not allowed")
        # Of the header, only `alg` and `kid` are used: a key, or a URL of keys, in a token proves nothing.
        key = await self._keys.find(header.get("kid"), algorithm)
        if key is None:
            raise _invalid("its key is unknown")
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=self._audiences,
                issuer=self._issuer,
                leeway=self._leeway,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.ExpiredSignatureError:
            raise _invalid("it has expired") from None
        except jwt.ImmatureSignatureError:
            raise _invalid("it is not valid yet") from None
        except jwt.InvalidAudienceError:
            raise _invalid("it is for another audience") from None
        except jwt.InvalidIssuerError:
            raise _invalid("it is of another issuer") from None
        except jwt.MissingRequiredClaimError as error:
            raise _invalid(f"it has no claim {error.claim!r}") from None
        except (jwt.PyJWTError, ValueError):
            raise _invalid("its signature or a claim is invalid") from None


def claim_at(claims: Mapping[str, Any], name: str) -> Any:
    """Returns a claim, by its name or by a path such as `realm_access.roles`; None if it is missing."""
    if name in claims:
        return claims[name]
    value: Any = claims
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _texts(value: Any) -> Iterable[str]:
    """Returns the texts of a claim: a list, or a text with blanks between them."""
    if isinstance(value, str):
        return value.split()
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _invalid(reason: str) -> UnauthenticatedError:
    return UnauthenticatedError(
        f"The token is invalid: {reason}.",
        headers={"www-authenticate": 'Bearer error="invalid_token"'},
    )
