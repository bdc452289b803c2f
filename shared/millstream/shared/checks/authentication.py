"""Judges which clients may use the APIs: open APIs, the issuer of JWTs, and API keys."""

from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from millstream.shared.checks.facts import Facts
from millstream.shared.checks.problem import Problem, count, error, listing, note, warning
from millstream.shared.rules.auth_kinds import AuthKind, is_loopback

EXPIRES_SOON_DAYS: Final = 14
DAY_US: Final = 86_400_000_000
CREATE_KEY: Final = "millstream keys create NAME --identity USER"


def open_apis(facts: Facts) -> Iterator[Problem]:
    """Requests a thread of each API that a setting names, without credentials."""
    for answer in facts.api_answers():
        if not answer.is_open or is_loopback(urlsplit(answer.url).hostname or ""):
            continue
        report = warning if answer.variable == "MILLSTREAM_PUBLIC_URL" else note
        yield report(
            f"The API at {answer.variable}={answer.url} needs no credentials",
            "every client that reaches it may read and change everything",
            f"AUTH_TYPE=api_key for the API, and a key for each client: {CREATE_KEY}; or a proxy that authenticates "
            "(docs/auth.md)",
        )


def issuer(facts: Facts) -> Iterator[Problem]:
    """Reads the public keys of `AUTH_JWT_ISSUER`."""
    state = facts.issuer()
    if state.error:
        yield error(
            f"The keys of the issuer {state.name} can't be read",
            f"an API that starts now accepts no JWT: {state.error}",
            "correct AUTH_JWT_ISSUER or AUTH_JWT_JWKS_URL, or let the APIs reach that URL",
        )


def api_keys(facts: Facts) -> Iterator[Problem]:
    """Finds API keys that expire within 14 days without a successor, and an API that needs one and has none."""
    ring = facts.api_keys()
    valid = [key for key in ring.keys if key.is_accepted(ring.now_us)]
    soon = [
        key
        for key in valid
        if key.rotated_to is None
        and key.expires_at is not None
        and key.expires_at - ring.now_us < EXPIRES_SOON_DAYS * DAY_US
    ]
    if soon:
        yield warning(
            f"{count(len(soon), 'API key')} will expire within {EXPIRES_SOON_DAYS} days: "
            + listing([f"{key.name} ({key.key_id})" for key in soon]),
            "its clients get 401 then" if len(soon) == 1 else "their clients get 401 then",
            f"millstream keys rotate {soon[0].key_id}, and give clients the new key",
        )
    settings = facts.environment().settings
    if settings is not None and settings.auth_kinds == (AuthKind.API_KEY,) and not valid:
        yield note("There is no valid API key", "every request gets 401", CREATE_KEY)
