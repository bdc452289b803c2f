"""Reads the public keys of an issuer of JWTs. It blocks: call it in a thread.

Sources: OpenID Connect Discovery 1.0, section 4; RFC 7517 (JSON Web Key Sets).
"""

import http.client
import json
import urllib.request
from dataclasses import dataclass
from typing import Any, Final
from urllib.error import HTTPError, URLError

from millstream.shared.auth_settings import check_key_url
from millstream.shared.errors import SettingError

DISCOVERY_PATH: Final = "/.well-known/openid-configuration"
READ_SECONDS: Final = 5.0
MAX_BYTES: Final = 1024 * 1024  # of a response
MAX_KEYS: Final = 100


class IssuerError(Exception):
    """The keys can't be read; the text says why."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """Where the keys of an issuer are.

    Attributes:
        name: as the claim `iss` has it.
        jwks_url: of its keys; '' if its discovery document has that URL.
    """

    name: str
    jwks_url: str = ""


def read_keys(issuer: Issuer) -> list[dict[str, Any]]:
    """Returns the keys of the issuer, as JSON Web Keys. Raises IssuerError."""
    url = issuer.jwks_url or _discover(issuer.name)
    stored = _read_json(url).get("keys")
    if not isinstance(stored, list):
        raise IssuerError(f"{url} is not a set of keys: it has no list `keys`")
    keys = [key for key in stored if isinstance(key, dict)][:MAX_KEYS]
    if not keys:
        raise IssuerError(f"{url} has no keys")
    return keys


def _discover(issuer: str) -> str:
    """Returns the URL of the issuer's keys."""
    url = issuer.rstrip("/") + DISCOVERY_PATH
    document = _read_json(url)
    if document.get("issuer") != issuer:
        raise IssuerError(
            f"{url} describes the issuer {document.get('issuer')!r:.200}, not {issuer!r}: AUTH_JWT_ISSUER must be "
            "equal to it"
        )
    jwks_url = document.get("jwks_uri")
    if not isinstance(jwks_url, str):
        raise IssuerError(f"{url} has no `jwks_uri`")
    try:
        check_key_url("jwks_uri", jwks_url)
    except SettingError as error:
        raise IssuerError(f"{url}: {error}".rstrip(".")) from None
    return jwks_url


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it could lead to another host, or from https to http."""

    def redirect_request(self, *_: Any) -> None:
        """Refuses the redirect, so that it is an HTTPError."""


_open = urllib.request.build_opener(_NoRedirects).open


def _read_json(url: str) -> dict[str, Any]:
    request = urllib.request.Request(url, headers={"Accept": "application/json"})
    try:
        with _open(request, timeout=READ_SECONDS) as response:
            body = response.read(MAX_BYTES + 1)
    except HTTPError as error:
        error.close()
        raise IssuerError(f"{url} answered with status {error.code}") from None
    except (URLError, OSError, http.client.HTTPException, ValueError) as error:
        raise IssuerError(f"{url} is not reachable: {getattr(error, 'reason', error)}") from None
    if len(body) > MAX_BYTES:
        raise IssuerError(f"{url} answered with more than {MAX_BYTES} bytes")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        raise IssuerError(f"{url} did not answer with JSON") from None
    if not isinstance(content, dict):
        raise IssuerError(f"{url} did not answer with a JSON object")
    return content
