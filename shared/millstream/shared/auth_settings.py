"""The environment variables of authentication. Settings has them too: see settings.py."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from millstream.shared.errors import SettingError
from millstream.shared.limit_settings import LimitSettings
from millstream.shared.rules.auth_kinds import LOOPBACK_HOSTS, parse_auth_type
from millstream.shared.rules.scopes import SCOPES
from millstream.shared.setting import setting

# Of public keys alone: with `none` or HS*, a client that knows the public key could sign tokens. Source: RFC 8725, 3.1.
ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AuthSettings(LimitSettings):
    """Which credentials the API accepts; and the settings of limits, of traces and of the log."""

    auth_type: str = setting(
        "AUTH_TYPE",
        "",
        "Which credentials the API accepts, separated by commas: `api_key`, `jwt`, `custom` (the `auth` of "
        "langgraph.json); `noop`: none are needed. Empty: decided at start (docs/auth.md).",
    )
    jwt_issuer: str = setting(
        "AUTH_JWT_ISSUER",
        "",
        "The issuer of JWTs, as their claim `iss` names it: `https://id.example`.",
    )
    jwt_audience: str = setting(
        "AUTH_JWT_AUDIENCE",
        "",
        "The audience that JWTs must name in `aud`; several, separated by commas: one of them.",
    )
    jwt_jwks_url: str = setting(
        "AUTH_JWT_JWKS_URL",
        "",
        "Where the issuer's public keys are. Empty: its `/.well-known/openid-configuration` says so.",
    )
    jwt_algorithms: str = setting(
        "AUTH_JWT_ALGORITHMS",
        "RS256,ES256,EdDSA",
        f"The algorithms that JWTs may be signed with, separated by commas: {', '.join(ALGORITHMS)}.",
    )
    jwt_leeway: float = setting(
        "AUTH_JWT_LEEWAY",
        30.0,
        "The difference between the issuer's clock and this one that is tolerated.",
        low=0,
        high=300,
        unit="s",
    )
    jwt_identity_claim: str = setting(
        "AUTH_JWT_IDENTITY_CLAIM", "sub", "The claim that names the user."
    )
    jwt_scope_claims: str = setting(
        "AUTH_JWT_SCOPE_CLAIMS",
        "scope,scp",
        "The claims that name scopes, separated by commas; `realm_access.roles` is a claim in a claim. Roles of an "
        "issuer may be about other systems: set AUTH_JWT_SCOPE_PREFIX with them.",
    )
    jwt_scope_prefix: str = setting(
        "AUTH_JWT_SCOPE_PREFIX",
        "",
        "With `millstream:`, the scope `millstream:read` of a JWT is `read`, and scopes without the prefix count for "
        "nothing.",
    )
    jwt_default_scopes: str = setting(
        "AUTH_JWT_DEFAULT_SCOPES",
        "read,write",
        f"The scopes of a JWT that names none, separated by commas: {', '.join(SCOPES)}; or `none`.",
    )

    @property
    def auth_kinds(self) -> tuple[str, ...]:
        """The names in AUTH_TYPE, each once; empty: they are derived at start (rules/auth_kinds.py)."""
        return parse_auth_type(self.auth_type)

    @property
    def has_jwt(self) -> bool:
        """Whether the settings name an issuer of JWTs."""
        return bool(self.jwt_issuer or self.jwt_jwks_url)

    @property
    def jwt_audiences(self) -> list[str]:
        """The audiences, of which a JWT must name one."""
        return _parts(self.jwt_audience)

    @property
    def jwt_allowed_algorithms(self) -> list[str]:
        """The algorithms that JWTs may be signed with."""
        return _parts(self.jwt_algorithms)

    @property
    def jwt_claims_of_scopes(self) -> list[str]:
        """The claims that name scopes, in their order."""
        return _parts(self.jwt_scope_claims)

    @property
    def jwt_scopes_by_default(self) -> list[str]:
        """The scopes of a JWT that names none."""
        return [] if self.jwt_default_scopes == "none" else _parts(self.jwt_default_scopes)

    def check_auth(self) -> None:
        """Raises SettingError for values with which no token, or a forged one, would be accepted."""
        kinds = self.auth_kinds
        for name in self.jwt_allowed_algorithms:
            if name not in ALGORITHMS:
                raise SettingError(
                    f"AUTH_JWT_ALGORITHMS: {name!r} is not one of {', '.join(ALGORITHMS)}. Algorithms without a public "
                    "key (`none`, HS256, …) are refused, because clients could sign tokens themselves."
                )
        for name in self.jwt_scopes_by_default:
            if name not in SCOPES:
                raise SettingError(
                    f"AUTH_JWT_DEFAULT_SCOPES: {name!r} is not one of {', '.join(SCOPES)}, none."
                )
        if self.has_jwt or "jwt" in kinds:
            if not self.jwt_issuer:
                raise SettingError(
                    "AUTH_JWT_ISSUER is not set: without it, tokens of any issuer would be accepted."
                )
            if not self.jwt_audiences:
                raise SettingError(
                    "AUTH_JWT_AUDIENCE is not set: without it, tokens that the issuer made for other applications "
                    "would be accepted."
                )
            if not self.jwt_allowed_algorithms:
                raise SettingError("AUTH_JWT_ALGORITHMS names no algorithm.")
        for name, url in (
            ("AUTH_JWT_ISSUER", "" if self.jwt_jwks_url else self.jwt_issuer),
            ("AUTH_JWT_JWKS_URL", self.jwt_jwks_url),
        ):
            if url:
                check_key_url(name, url)


def check_key_url(name: str, url: str) -> None:
    """Raises SettingError for a URL from which keys can't be read safely. `name` says whose URL it is."""
    try:
        parts = urlsplit(url)
        is_safe = parts.scheme == "https" or (
            parts.scheme == "http" and parts.hostname in LOOPBACK_HOSTS
        )
        usable = bool(parts.hostname) and parts.port != 0 and not parts.fragment
    except ValueError:
        is_safe = usable = False
    if not usable or not is_safe or not url.isprintable() or " " in url:
        raise SettingError(
            f"{name}={url!r} is not a URL of keys: use `https://host`. With http:// anybody between could replace the "
            "keys, so it is for this machine alone."
        )


def _parts(text: str) -> list[str]:
    """Returns the parts of a text that commas separate, each once."""
    return list(dict.fromkeys(part for each in text.split(",") if (part := each.strip())))
