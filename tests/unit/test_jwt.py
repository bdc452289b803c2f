"""JWTs of one issuer are accepted; forged ones, and those of others, are not."""

import asyncio
import base64
import hashlib
import hmac
import json
import time
from typing import Any

import jwt
import pytest

from harness.credentials import ISSUER, Source, authenticator, bearer, request
from harness.issuer import SigningKey, claims, token
from millstream.api.auth.tokens import ScopeRules
from millstream.shared.access import User
from millstream.shared.errors import UnauthenticatedError


@pytest.fixture(scope="module")
def rsa_key() -> SigningKey:
    return SigningKey("rsa-1")


@pytest.fixture(scope="module")
def ec_key() -> SigningKey:
    return SigningKey("ec-1", "ES256")


@pytest.fixture(scope="module")
def ed_key() -> SigningKey:
    return SigningKey("ed-1", "EdDSA")


async def test_a_valid_token_names_the_user(
    rsa_key: SigningKey, ec_key: SigningKey, ed_key: SigningKey
) -> None:
    accepts = await authenticator(Source(rsa_key.jwk(), ec_key.jwk(), ed_key.jwk()))
    for key in (rsa_key, ec_key, ed_key):
        user = await accepts.authenticate(bearer(token(key, claims(ISSUER, name="Ann"))))
        assert user is not None
        assert (user.identity, user.display_name) == ("ann", "Ann")
        assert user.permissions == ["read", "write"]


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "Bearer", "bEARER"])
async def test_the_scheme_may_have_any_capitalisation(rsa_key: SigningKey, scheme: str) -> None:
    accepts = await authenticator(Source(rsa_key.jwk()))
    headers = ("authorization", f"{scheme}  {token(rsa_key, claims(ISSUER))} ")
    assert await accepts.authenticate(request(headers))


async def test_other_credentials_are_left_to_others(rsa_key: SigningKey) -> None:
    accepts = await authenticator(Source(rsa_key.jwk()))
    for each in (request(), request(("authorization", "Basic YTpi")), bearer("msk_x_y"),
                 request(("x-api-key", token(rsa_key, claims(ISSUER))))):  # fmt: skip
        assert await accepts.authenticate(each) is None


NOW = int(time.time())
LATER = NOW + 86_400


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"exp": NOW - 60}, "expired"),
        ({"exp": None}, "'exp'"),
        ({"exp": "soon"}, "invalid"),
        ({"nbf": LATER}, "not valid yet"),
        ({"iat": LATER}, "not valid yet"),
        ({"aud": "another"}, "another audience"),
        ({"aud": ["another"]}, "another audience"),
        ({"aud": []}, "'aud'"),
        ({"aud": None}, "'aud'"),
        ({"aud": {"x": 1}}, "audience"),
        ({"iss": "https://id.example/"}, "another issuer"),
        ({"iss": "https://evil.example"}, "another issuer"),
        ({"iss": None}, "'iss'"),
        ({"sub": None}, "'sub'"),
        ({"sub": 7}, "invalid"),
        ({"sub": ""}, "identity"),
        ({"sub": "x" * 513}, "identity"),
    ],
)
async def test_a_wrong_claim_is_refused(
    rsa_key: SigningKey, fields: dict[str, Any], reason: str
) -> None:
    accepts = await authenticator(Source(rsa_key.jwk()))
    with pytest.raises(UnauthenticatedError, match=reason) as refused:
        await accepts.authenticate(bearer(token(rsa_key, claims(ISSUER, **fields))))
    assert refused.value.headers["www-authenticate"] == 'Bearer error="invalid_token"'


async def test_clocks_may_differ_a_little(rsa_key: SigningKey) -> None:
    accepts = await authenticator(Source(rsa_key.jwk()), AUTH_JWT_LEEWAY="30")
    late = token(rsa_key, claims(ISSUER, exp=int(time.time()) - 10))
    assert await accepts.authenticate(bearer(late))
    accepts = await authenticator(Source(rsa_key.jwk()), AUTH_JWT_LEEWAY="0")
    with pytest.raises(UnauthenticatedError, match="expired"):
        await accepts.authenticate(bearer(late))


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def forged(header: Any, content: Any, secret: bytes | None = None) -> str:
    signed = f"{part(header)}.{part(content)}"
    digest = b"" if secret is None else hmac.digest(secret, signed.encode(), hashlib.sha256)
    return f"{signed}.{part(digest)}"


async def test_forged_tokens_are_refused(rsa_key: SigningKey, ec_key: SigningKey) -> None:
    source = Source(rsa_key.jwk(), ec_key.jwk())
    accepts = await authenticator(source)
    stranger = SigningKey("rsa-1")
    good, content = token(rsa_key, claims(ISSUER)), claims(ISSUER)
    head, body, signature = good.split(".")
    attacks = {
        "no algorithm": forged({"alg": "none", "kid": "rsa-1"}, content),
        "no algorithm, in capitals": forged({"alg": "NONE", "kid": "rsa-1"}, content),
        "the public key as a secret": forged(
            {"alg": "HS256", "kid": "rsa-1"}, content, rsa_key.public_pem
        ),
        "the public key as a secret, without an id": forged(
            {"alg": "HS256"}, content, rsa_key.public_pem
        ),
        "another key under the same id": token(stranger, content),
        "an unknown id": token(rsa_key, content, kid="rsa-2"),
        "the id of another key": token(rsa_key, content, kid="ec-1"),
        "another algorithm of the same key": jwt.encode(
            content, rsa_key.private, algorithm="PS256", headers={"kid": "rsa-1"}
        ),
        "a key in the token": token(
            stranger, content, jwk=stranger.jwk(), jku="https://evil.example/keys",
            x5u="https://evil.example/cert",
        ),
        "a URL of keys in the token": token(stranger, content, jku="http://127.0.0.1:1/keys"),
        "other claims": f"{head}.{part(claims(ISSUER, sub='root'))}.{signature}",
        "no signature": f"{head}.{body}.",
        "another signature": f"{head}.{body}.{part(b'x' * 256)}",
        "an unknown critical header": token(rsa_key, content, crit=["x"], x=1),
        "an id that is a number": forged({"alg": "RS256", "kid": 7}, content),
        "an id that is a path": token(stranger, content, kid="../../etc/passwd"),
        "an algorithm that is a list": forged({"alg": ["RS256"], "kid": "rsa-1"}, content),
        "claims that are a list": forged({"alg": "RS256", "kid": "rsa-1"}, [1]),
        "a deep header": f"{part(b'[' * 5000)}.{body}.{signature}",
        "two segments": f"{head}.{body}",
        "four segments": f"{good}.{signature}",
        "not base64": "!!!.???.###",
        "not ASCII": "é.é.é",
        "one word": "hello",
    }  # fmt: skip
    for name, text in attacks.items():
        with pytest.raises(UnauthenticatedError) as refused:
            await accepts.authenticate(bearer(text))
        assert text not in str(refused.value), name
    assert await accepts.authenticate(bearer(good))
    assert source.reads == 1


async def test_a_huge_token_is_refused_unread(rsa_key: SigningKey) -> None:
    accepts = await authenticator(Source(rsa_key.jwk()))
    text = token(rsa_key, claims(ISSUER, filling="x" * 20_000))
    with pytest.raises(UnauthenticatedError, match="longer than"):
        await accepts.authenticate(bearer(text))
    with pytest.raises(UnauthenticatedError, match="empty"):
        await accepts.authenticate(bearer(" "))


async def test_two_headers_are_refused(rsa_key: SigningKey) -> None:
    accepts = await authenticator(Source(rsa_key.jwk()))
    good = ("authorization", f"Bearer {token(rsa_key, claims(ISSUER))}")
    for other in (good, ("authorization", "Bearer x"), ("authorization", "")):
        with pytest.raises(UnauthenticatedError, match="several"):
            await accepts.authenticate(request(good, other))
        with pytest.raises(UnauthenticatedError, match="several"):
            await accepts.authenticate(request(other, good))


async def test_a_page_offers_its_token_as_a_subprotocol(rsa_key: SigningKey) -> None:
    accepts = await authenticator(Source(rsa_key.jwk()))
    offer = f"bearer.{token(rsa_key, claims(ISSUER))}"

    async def user_of(*subprotocols: str) -> User | None:
        handshake = request(kind="websocket", subprotocols=list(subprotocols))
        return await accepts.authenticate(handshake)

    assert await user_of("millstream", offer)
    assert await user_of(offer) is None  # no response could name another subprotocol
    assert await user_of("millstream") is None
    with pytest.raises(UnauthenticatedError, match="several"):
        await user_of("millstream", offer, offer)


# ── Scopes ──────────────────────────────────────────────────────────────────────────────────


CLAIMS = ("scope", "scp", "permissions", "roles", "realm_access.roles")


@pytest.mark.parametrize(
    ("content", "prefix", "scopes"),
    [
        ({}, "", ["read", "write"]),
        ({"scope": ""}, "", ["read", "write"]),
        ({"scope": "openid profile email"}, "", ["read", "write"]),
        ({"scope": "openid read"}, "", ["read"]),
        ({"scope": "other"}, "", ["other"]),
        ({"scp": ["read", "ops"]}, "", ["read", "ops"]),
        ({"permissions": []}, "", []),
        ({"roles": ["admin", 7, None]}, "", ["admin"]),
        ({"roles": {"admin": True}}, "", ["read", "write"]),
        ({"scope": "read", "roles": ["admin", "read"]}, "", ["read", "admin"]),
        ({"realm_access": {"roles": ["write"]}}, "", ["write"]),
        ({"realm_access": "roles"}, "", ["read", "write"]),
        ({"scope": "admin millstream:read"}, "millstream:", ["read"]),
        ({"roles": ["admin"]}, "millstream:", []),
    ],
)
def test_claims_become_scopes(content: dict[str, Any], prefix: str, scopes: list[str]) -> None:
    rules = ScopeRules(CLAIMS, prefix, ("read", "write"))
    assert rules.scopes_of(content) == scopes


async def test_the_identity_may_be_another_claim(rsa_key: SigningKey) -> None:
    accepts = await authenticator(
        Source(rsa_key.jwk()), AUTH_JWT_IDENTITY_CLAIM="user.id", AUTH_JWT_DEFAULT_SCOPES="none"
    )
    content = claims(ISSUER, user={"id": "u-7"})
    user = await accepts.authenticate(bearer(token(rsa_key, content)))
    assert user is not None
    assert (user.identity, user.permissions) == ("u-7", [])
    with pytest.raises(UnauthenticatedError, match=r"user\.id"):
        await accepts.authenticate(bearer(token(rsa_key, claims(ISSUER))))


def test_the_check_costs_less_than_a_millisecond(rsa_key: SigningKey) -> None:
    """A bound that a second call of the issuer, or of Redis, would exceed."""

    async def measure() -> float:
        accepts = await authenticator(Source(rsa_key.jwk()))
        each = bearer(token(rsa_key, claims(ISSUER)))
        await accepts.authenticate(each)
        began = time.process_time()
        for _ in range(50):
            await accepts.authenticate(each)
        return (time.process_time() - began) / 50

    assert asyncio.run(measure()) < 0.001
