"""Requests with credentials, and authenticators of JWTs, for tests without a server."""

from typing import Any

from harness.issuer import AUDIENCE
from millstream.api.auth.authentication import AuthRequest
from millstream.api.auth.issuer_keys import IssuerKeys
from millstream.api.auth.tokens import JwtAuthenticator
from millstream.shared.issuer import Issuer, IssuerError
from millstream.shared.settings import Settings

ISSUER = "https://id.example"


class Source:
    """Where the keys are read from: a list that tests change, and a number of reads."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.error = ""
        self.reads = 0

    def __call__(self, issuer: Issuer) -> list[dict[str, Any]]:
        self.reads += 1
        if self.error:
            raise IssuerError(self.error)
        return list(self.keys)


async def authenticator(
    source: Source, unknown_interval: float = 60, **variables: str
) -> JwtAuthenticator:
    """Returns an authenticator whose keys were read once."""
    environ = {"AUTH_JWT_ISSUER": ISSUER, "AUTH_JWT_AUDIENCE": AUDIENCE, **variables}
    keys = IssuerKeys(Issuer(ISSUER), read=source, unknown_interval=unknown_interval)
    await keys._read()
    return JwtAuthenticator(keys, Settings.from_env(environ))


def request(*headers: tuple[str, str], kind: str = "http", **scope: Any) -> AuthRequest:
    async def body() -> bytes:
        return b""

    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return AuthRequest(
        {"type": kind, "method": "GET", "path": "/", "headers": raw, **scope}, body, dict
    )


def bearer(text: str) -> AuthRequest:
    return request(("authorization", f"Bearer {text}"))
