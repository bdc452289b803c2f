"""Connects to Redis, and finds out why it can't be used, and what its certificate says."""

import asyncio
import ssl
import time
from typing import Any, Final

from redis.asyncio.connection import RedisSSLContext, SSLConnection
from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    InvalidResponse,
    NoPermissionError,
    RedisError,
)

from millstream.shared.checks.facts import Certificate, ConnectionFailure, Fact, Target
from millstream.shared.permissions import user_of
from millstream.shared.redis import Client, masked
from millstream.shared.redis.url import parse

CONNECT_SECONDS: Final = 4.0  # until Redis, or one of the sentinels, must have answered
HANDSHAKE_SECONDS: Final = 3.0

# A part of an error's text → the kind of failure (connection.FAILURES). The first that fits counts.
_KINDS: Final = (
    ("max number of clients", "clients"),
    ("DB index is out of range", "database"),
    ("SELECT is not allowed", "database"),
    ("protected mode", "protected"),
    ("invalid username-password", "login"),
    ("WRONGPASS", "login"),
    ("Authentication required", "login"),
    ("ostname mismatch", "host"),
    ("IP address mismatch", "host"),
    ("CERTIFICATE_VERIFY_FAILED", "certificate"),
    ("SSL", "tls"),
    ("closed by server", "closed"),
    ("No sentinel knows", "sentinel"),
    ("is a replica, not a master", "sentinel"),
    ("Name or service not known", "name"),
    ("name resolution", "name"),
    ("nodename nor servname", "name"),
    ("No address associated", "name"),
)


def target_of(redis: Client, url: str = "") -> Target:
    """Returns what the client's URL says. `url` is the URL itself, '' if only the user is needed."""
    pool = redis.connection_pool
    options = pool.connection_kwargs
    is_tls = issubclass(pool.connection_class, SSLConnection)
    return Target(
        url=masked(url),
        user=user_of(redis),
        db=int(options.get("db") or 0),
        is_tls=is_tls,
        has_sentinels=bool(url) and parse(url) is not None,
        verifies_certificates=str(options.get("ssl_cert_reqs", "required")) == "required",
        verifies_host=bool(options.get("ssl_check_hostname")),
    )


async def find_failure(redis: Client, secret: str | None) -> ConnectionFailure | bool:
    """Returns why Redis can't be used, or False if it answers. `secret` is left out of the text."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await redis.ping()
    except NoPermissionError:
        return False  # it answers; the check of permissions says what is missing
    except TimeoutError:
        return ConnectionFailure("silent", f"no answer within {CONNECT_SECONDS:g} s")
    except (RedisError, OSError) as error:
        text = str(error) or type(error).__name__
        return ConnectionFailure(kind_of(error), text.replace(secret, "***") if secret else text)
    return False


def kind_of(error: Exception) -> str:
    """Returns the kind of a failure to connect: a key of `connection.FAILURES`."""
    text = str(error)
    for part, kind in _KINDS:
        if part in text:
            return kind
    match error:
        case AuthenticationError():
            return "login"
        case BusyLoadingError():
            return "loading"
        case InvalidResponse():
            return "tls"
        case _ if "imeout" in text or "imed out" in text or "no reply within" in text:
            return "silent"
    return "unreachable"


async def read_certificate(redis: Client, target: Target) -> Fact[Certificate]:
    """Reads the certificate of the server that a new connection goes to."""
    connection: Any = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    try:
        await connection.connect()
        content = connection._writer.get_extra_info("ssl_object").getpeercert()
    finally:
        await connection.disconnect(nowait=True)
    expires_in = None
    if content:
        expires_in = ssl.cert_time_to_seconds(content["notAfter"]) - time.time()
    fits_host = None
    if target.verifies_certificates:
        fits_host = target.verifies_host or await _fits_host(connection)
    return Fact(Certificate(expires_in, str(connection.host), fits_host))


async def _fits_host(connection: Any) -> bool | None:
    """Returns whether a handshake that compares host names succeeds; None if another reason lets it fail."""
    context: RedisSSLContext = connection.ssl_context
    comparing = RedisSSLContext(
        keyfile=context.keyfile,
        certfile=context.certfile,
        cert_reqs="required",
        ca_certs=context.ca_certs,
        ca_data=context.ca_data,
        check_hostname=True,
        min_version=context.min_version,
        ciphers=context.ciphers,
    )
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            _, writer = await asyncio.open_connection(
                connection.host, connection.port, ssl=comparing.get()
            )
    except ssl.SSLCertVerificationError as error:
        return (
            False
            if "ostname mismatch" in str(error) or "IP address mismatch" in str(error)
            else None
        )
    except (OSError, TimeoutError):
        return None
    writer.transport.abort()
    return True
