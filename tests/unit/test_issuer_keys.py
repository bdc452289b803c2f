"""The keys of an issuer are read rarely and in the background, and are kept while it can't be reached."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from harness.credentials import ISSUER, Source, authenticator, bearer
from harness.issuer import AUDIENCE, IssuerServer, SigningKey, claims, token
from harness.waiting import until
from millstream.api.auth.issuer_keys import IssuerKeys
from millstream.api.auth.tokens import JwtAuthenticator
from millstream.shared.errors import UnauthenticatedError, UnavailableError
from millstream.shared.issuer import MAX_BYTES, Issuer, IssuerError, read_keys
from millstream.shared.settings import Settings


@pytest.fixture(scope="module")
def rsa_key() -> SigningKey:
    return SigningKey("rsa-1")


@pytest.fixture(scope="module")
def ec_key() -> SigningKey:
    return SigningKey("ec-1", "ES256")


async def test_an_unknown_id_leads_to_one_read_per_interval(rsa_key: SigningKey) -> None:
    source = Source(rsa_key.jwk())
    accepts = await authenticator(source, unknown_interval=60)

    async def attempt(number: int) -> None:
        with pytest.raises(UnauthenticatedError, match="unknown"):
            await accepts.authenticate(bearer(token(rsa_key, claims(ISSUER), kid=f"no-{number}")))

    await asyncio.gather(*map(attempt, range(50)))
    assert source.reads == 1
    accepts._keys._began_at -= 60
    await asyncio.gather(*map(attempt, range(50)))
    assert source.reads == 2


async def test_a_new_key_of_the_issuer_is_read_at_its_first_use(
    rsa_key: SigningKey, ec_key: SigningKey
) -> None:
    source = Source(rsa_key.jwk())
    accepts = await authenticator(source, unknown_interval=0)
    source.keys = [ec_key.jwk()]
    assert await accepts.authenticate(bearer(token(ec_key, claims(ISSUER))))
    with pytest.raises(UnauthenticatedError, match="unknown"):
        await accepts.authenticate(bearer(token(rsa_key, claims(ISSUER))))


async def test_known_keys_stay_valid_while_the_issuer_is_unreachable(
    rsa_key: SigningKey, caplog: pytest.LogCaptureFixture
) -> None:
    source = Source(rsa_key.jwk())
    accepts = await authenticator(source, unknown_interval=0)
    source.error = "no route"
    for _ in range(3):
        with pytest.raises(UnauthenticatedError, match="unknown"):
            await accepts.authenticate(bearer(token(rsa_key, claims(ISSUER), kid="new")))
        assert await accepts.authenticate(bearer(token(rsa_key, claims(ISSUER))))
    assert [each.message for each in caplog.records] == [
        f"The keys of {ISSUER} can't be read: no route. Known keys stay valid."
    ]


async def test_without_any_key_clients_get_503_until_there_is_one(rsa_key: SigningKey) -> None:
    source = Source(rsa_key.jwk())
    source.error = "no route"
    keys = IssuerKeys(Issuer(ISSUER), read=source, retry=(0.01, 0.02))
    environ = {"AUTH_JWT_ISSUER": ISSUER, "AUTH_JWT_AUDIENCE": AUDIENCE}
    accepts = JwtAuthenticator(keys, Settings.from_env(environ))
    reading = asyncio.create_task(keys.run())
    good = bearer(token(rsa_key, claims(ISSUER)))
    try:
        with pytest.raises(UnavailableError) as refused:
            await accepts.authenticate(good)
        assert refused.value.retry_after > 0
        source.error, failed = "", source.reads
        await until(lambda: source.reads > failed, what="another read")
        assert await accepts.authenticate(good)
    finally:
        reading.cancel()


async def test_keys_are_read_again_in_the_background(rsa_key: SigningKey) -> None:
    source = Source(rsa_key.jwk())
    keys = IssuerKeys(Issuer(ISSUER), read=source, refresh=0.01)
    reading = asyncio.create_task(keys.run())
    await until(lambda: source.reads >= 3, what="three reads")
    reading.cancel()


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"},
        {"key_ops": ["sign"]},
        {"key_ops": "verify"},
        {"alg": "RS512"},
        {"kty": "oct", "k": "c2VjcmV0"},
        {"kty": None},
        {"n": "AQAB"},
        {"n": None},
        {"n": 7},
    ],
)
async def test_a_key_that_is_not_for_signatures_is_not_used(
    rsa_key: SigningKey, change: dict[str, Any]
) -> None:
    accepts = await authenticator(Source(rsa_key.jwk(**change)))
    with pytest.raises(UnauthenticatedError):
        await accepts.authenticate(bearer(token(rsa_key, claims(ISSUER))))


async def test_a_weak_key_is_not_used() -> None:
    weak = SigningKey("rsa-1", bits=1024)
    accepts = await authenticator(Source(weak.jwk()))
    with pytest.raises(UnauthenticatedError, match="unknown"), pytest.warns(match="below the"):
        await accepts.authenticate(bearer(token(weak, claims(ISSUER))))


async def test_a_token_without_an_id_needs_a_single_key(
    rsa_key: SigningKey, ec_key: SigningKey
) -> None:
    accepts = await authenticator(Source(rsa_key.jwk(kid=None, alg=None, use=None), ec_key.jwk()))
    assert await accepts.authenticate(bearer(token(rsa_key, claims(ISSUER), kid=None)))
    accepts = await authenticator(Source(rsa_key.jwk(), SigningKey("rsa-2").jwk()))
    with pytest.raises(UnauthenticatedError, match="unknown"):
        await accepts.authenticate(bearer(token(rsa_key, claims(ISSUER), kid=None)))


# ── Reading ─────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def server(ec_key: SigningKey) -> Iterator[IssuerServer]:
    with IssuerServer(ec_key) as server:
        yield server


def test_the_issuer_says_where_its_keys_are(server: IssuerServer, ec_key: SigningKey) -> None:
    assert read_keys(Issuer(server.url)) == [ec_key.jwk()]
    assert server.requests == ["/.well-known/openid-configuration", "/keys"]
    assert read_keys(Issuer("any", f"{server.url}/keys")) == [ec_key.jwk()]
    assert server.requests[2:] == ["/keys"]


@pytest.mark.parametrize(
    ("path", "document", "reason"),
    [
        ("/.well-known/openid-configuration", {"issuer": "https://evil.example"}, "must be equal"),
        ("/.well-known/openid-configuration", {"issuer": None}, "must be equal"),
        ("/.well-known/openid-configuration", [], "JSON object"),
        ("/keys", {}, "no list"),
        ("/keys", {"keys": "x"}, "no list"),
        ("/keys", {"keys": []}, "no keys"),
        ("/keys", {"keys": [1, None]}, "no keys"),
        ("/keys", b"<html>", "JSON"),
        ("/keys", b"[" * 100_000, "JSON"),
        ("/keys", b" " * (MAX_BYTES + 1), "more than"),
    ],
)
def test_another_document_is_refused(
    server: IssuerServer, path: str, document: Any, reason: str
) -> None:
    server.documents[path] = document
    with pytest.raises(IssuerError, match=reason):
        read_keys(Issuer(server.url))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://evil.example/keys", 7, ""])
def test_an_issuer_can_not_name_unsafe_urls(server: IssuerServer, url: Any) -> None:
    server.documents["/.well-known/openid-configuration"] = {
        "issuer": server.url,
        "jwks_uri": url,
    }
    with pytest.raises(IssuerError, match="jwks_uri"):
        read_keys(Issuer(server.url))


@pytest.mark.parametrize("status", [302, 404, 500])
def test_no_redirect_is_followed(server: IssuerServer, status: int) -> None:
    server.status = status
    with pytest.raises(IssuerError, match=f"status {status}"):
        read_keys(Issuer(server.url))
    assert len(server.requests) == 1


def test_an_unreachable_issuer_is_an_error() -> None:
    with pytest.raises(IssuerError, match="not reachable"):
        read_keys(Issuer("http://127.0.0.1:1"))


async def test_an_issuer_that_hangs_delays_neither_the_loop_nor_the_end() -> None:
    released = threading.Event()

    def read(_: Issuer) -> list[dict[str, Any]]:
        released.wait(60)
        return []

    keys = IssuerKeys(Issuer(ISSUER), read=read)
    reading = asyncio.create_task(keys.run())
    await asyncio.sleep(0)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    thread = next(each for each in threading.enumerate() if each.name == "issuer-keys")
    assert thread.daemon
    released.set()
    await until(lambda: not thread.is_alive(), what="the end of the thread")
