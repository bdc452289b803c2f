"""Calls the webhooks of runs that have ended: from here, at least once, until somebody answers.

What is told, how it is signed and when it is tried again; who takes which is decided in Redis (see
shared/webhooks.py). Signatures follow Standard Webhooks (standardwebhooks.com).
"""

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import logging
import os
import random
import re
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import httpcore
from httpcore import SOCKET_OPTION, AsyncNetworkBackend, AsyncNetworkStream

from millstream.shared import webhooks
from millstream.shared.errors import SettingError
from millstream.shared.redis import UNAVAILABLE, WRITES_REJECTED, Client
from millstream.shared.settings import Settings
from millstream.shared.webhook_url import address_error, is_relative, webhook_url_error
from millstream.shared.webhooks import Delivery
from millstream.shared.wire import WebhookPolicy, to_json
from millstream.worker.project import WebhooksConfig

log = logging.getLogger(__name__)

EVERY: Final = 0.5  # s between looks for what is due
AT_ONCE: Final = 20  # calls that one worker has under way
LONGEST_PAUSE: Final = 3600.0  # s between two tries
MARGIN: Final = 5.0  # s beyond its timeout for which a call is this worker's
READ: Final = 64 * 1024  # bytes of an answer that are read
GONE: Final = 410
VARIABLE: Final = re.compile(r"\$\{\{\s*env\.(\w+)\s*\}\}")
OURS: Final = frozenset(
    ("host", "content-length", "content-type", "transfer-encoding", "connection", "user-agent")
)


class RefusedAddressError(Exception):
    """The policy does not let this address be called; trying again would change nothing."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one try."""

    status: int  # 0: nobody answered
    said: str
    retry_after: float | None = None  # s


# ── What the project says ───────────────────────────────────────────────────────────────────


def policy(config: WebhooksConfig, settings: Settings) -> WebhookPolicy:
    """Returns which URLs webhooks may have; raises SettingError for a network that is none."""
    networks = [part.strip() for part in settings.webhook_networks.split(",") if part.strip()]
    for network in networks:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError as error:
            raise SettingError(f"WEBHOOK_NETWORKS: {error}") from None
    base = settings.webhook_base_url
    if base and not re.match(r"https?://[^/]", base):
        raise SettingError(f"WEBHOOK_BASE_URL={base!r} must begin with https:// or http://")
    url = config.url
    return WebhookPolicy(
        require_https=url.require_https,
        allowed_domains=url.allowed_domains,
        allowed_ports=url.allowed_ports,
        max_url_length=url.max_url_length,
        disable_loopback=url.disable_loopback,
        networks=networks,
        relative=bool(base),
    )


def headers(config: WebhooksConfig, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Returns the project's headers, variables filled in; raises SettingError that names one."""
    environ = os.environ if environ is None else environ
    made = {}
    for name, template in config.headers.items():
        if not re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name) or name.lower() in OURS:
            raise SettingError(f"webhooks.headers: {name!r} can't be a header of a webhook")
        for variable in VARIABLE.findall(template):
            if not variable.startswith(config.env_prefix):
                raise SettingError(
                    f"webhooks.headers.{name}: {variable} does not begin with {config.env_prefix}, "
                    "so it is not for headers (webhooks.env_prefix)"
                )
            if variable not in environ:
                raise SettingError(f"webhooks.headers.{name}: {variable} is not set")
        value = VARIABLE.sub(lambda found: environ[found[1]], template)
        if not value.isprintable() or not value.isascii():
            raise SettingError(f"webhooks.headers.{name}: its value can't be sent in a header")
        made[name] = value
    return made


def keys_of(secrets: str) -> list[bytes]:
    """Returns the keys of `WEBHOOK_SECRET`: of each word its bytes, of `whsec_…` what it encodes."""
    found = []
    for word in filter(None, map(str.strip, secrets.split(","))):
        try:
            plain = word.encode()
            encoded = word.startswith("whsec_")
            found.append(base64.b64decode(plain[6:], validate=True) if encoded else plain)
        except ValueError:
            raise SettingError("WEBHOOK_SECRET: after whsec_ there must be Base64.") from None
    return found


def signature(key: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Returns one signature of the header `webhook-signature`."""
    content = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


# ── One call ────────────────────────────────────────────────────────────────────────────────


class GuardedNetwork(AsyncNetworkBackend):
    """Connects to addresses that the policy lets be called, and to the one that was looked at: a
    name that says something else a moment later changes nothing."""

    def __init__(self, policy: WebhookPolicy) -> None:
        """`policy` decides which addresses may be called."""
        self._policy = policy
        self._inner = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  as httpcore calls it
        local_address: str | None = None,
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Connects; raises RefusedAddressError if one of the host's addresses is not to be called."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host}: {error}") from None
        addresses = [str(entry[4][0]).partition("%")[0] for entry in found]
        for address in addresses:
            reason = address_error(ipaddress.ip_address(address), self._policy)
            if reason:
                raise RefusedAddressError(f"{host}: {reason}")
        failed: Exception = httpcore.ConnectError(f"{host} has no address")
        for address in dict.fromkeys(addresses):
            try:
                return await self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109
        socket_options: Iterable[SOCKET_OPTION] | None = None,
    ) -> AsyncNetworkStream:
        """Refuses: no webhook leads there."""
        raise RefusedAddressError(path)

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await asyncio.sleep(seconds)


class Caller:
    """Makes single calls: whom, with what, and what they answer."""

    def __init__(
        self,
        policy: WebhookPolicy,
        headers: dict[str, str],
        settings: Settings,
    ) -> None:
        """`headers` go with each call."""
        self.policy: Final = policy
        self._headers = headers
        self._keys = keys_of(settings.webhook_secret)
        self._base = settings.webhook_base_url.rstrip("/")
        self._timeout = settings.webhook_timeout
        tls = ssl.create_default_context()
        kept = {"ssl_context": tls, "max_keepalive_connections": AT_ONCE, "keepalive_expiry": 30}
        self._pool = httpcore.AsyncConnectionPool(
            network_backend=GuardedNetwork(policy),
            **kept,  # type: ignore[arg-type]
        )
        self._own = httpcore.AsyncConnectionPool(**kept)  # type: ignore[arg-type]  # the operator's

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._pool.aclose()
        await self._own.aclose()

    async def call(self, delivery: Delivery) -> Answer:
        """Tells the receiver; raises RefusedAddressError for one that may not be told."""
        url, pool = delivery.url, self._pool
        wrong = webhook_url_error(url, self.policy)  # it may have been asked for under older rules
        if wrong:
            raise RefusedAddressError(wrong)
        if is_relative(url):
            url, pool = self._base + url, self._own
        now = time.time()
        body = to_json(delivery.payload(round(now * 1e6)))
        try:
            async with asyncio.timeout(self._timeout):
                return await self._post(
                    pool, url, self._all_headers(delivery, int(now), body), body
                )
        except TimeoutError:
            return Answer(0, f"no answer within {self._timeout:g} s")
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.TimeoutException,
            OSError,
        ) as error:
            return Answer(0, f"{type(error).__name__}: {error}")

    def _all_headers(self, delivery: Delivery, now: int, body: bytes) -> dict[str, str]:
        own = {
            "content-type": "application/json",
            "user-agent": "Millstream",
            "webhook-id": delivery.webhook_id,
            "webhook-timestamp": str(now),
        }
        if self._keys:
            signed = (signature(key, delivery.webhook_id, now, body) for key in self._keys)
            own["webhook-signature"] = " ".join(signed)
        return {**self._headers, **own}

    async def _post(
        self, pool: httpcore.AsyncConnectionPool, url: str, headers: dict[str, str], body: bytes
    ) -> Answer:
        async with pool.stream(
            "POST", url, headers=list(headers.items()), content=body
        ) as response:
            read = b""
            async for part in response.aiter_stream():
                read += part
                if len(read) > READ:  # whatever comes now is not waited for
                    break
            said = read[:200].decode("utf-8", "replace")
            return Answer(response.status, said, _retry_after(response.headers))


def _retry_after(found: list[tuple[bytes, bytes]]) -> float | None:
    for name, value in found:
        if name.lower() == b"retry-after" and value.isdigit():
            return min(float(value[:9]), LONGEST_PAUSE)
    return None


# ── All of them ─────────────────────────────────────────────────────────────────────────────


class Deliverer:
    """The part of a worker that calls webhooks, beside its runs."""

    def __init__(self, redis: Client, caller: Caller, settings: Settings) -> None:
        """Calls nothing yet."""
        self._redis = redis
        self._caller = caller
        self._settings = settings
        self._under_way: set[asyncio.Task[None]] = set()

    async def run_once(self) -> int:
        """Takes what is due, as far as there is room, and sets about it; returns how many it was."""
        room = AT_ONCE - len(self._under_way)
        if room <= 0:
            return 0
        lease = self._settings.webhook_timeout + MARGIN
        taken = await webhooks.take(self._redis, limit=room, lease_ms=round(lease * 1000))
        for delivery in taken:
            task = asyncio.create_task(self._deliver(delivery), name=f"webhook {delivery.job}")
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return len(taken)

    async def drain(self) -> None:
        """Waits for the calls that are under way; those that are not settled are tried elsewhere."""
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=self._settings.webhook_timeout)
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            answer = await self._caller.call(delivery)
        except RefusedAddressError as error:
            log.error("webhook of run %s is not called: %s", delivery.webhook_id, error)
            await self._settle(delivery, None)
            return
        except Exception:
            log.exception("webhook of run %s stumbled", delivery.webhook_id)
            answer = Answer(0, "see the log")
        if 200 <= answer.status < 300:
            await self._settle(delivery, None)
        elif answer.status == GONE:
            log.warning("webhook of run %s: the receiver is gone (410)", delivery.webhook_id)
            await self._settle(delivery, None)
        else:
            await self._again(delivery, answer)

    async def _again(self, delivery: Delivery, answer: Answer) -> None:
        pause = max(self._pause(delivery.tries), answer.retry_after or 0)
        age = time.time() - delivery.ended_at / 1e6
        told = f"{answer.status or 'no answer'}: {answer.said}"
        if age + pause > self._settings.webhook_give_up:
            log.error(
                "webhook of run %s is given up after %d tries: %s",
                delivery.webhook_id, delivery.tries + 1, told,
            )  # fmt: skip
            await self._settle(delivery, None)
            return
        log.info("webhook of run %s, again in %.1f s: %s", delivery.webhook_id, pause, told)
        await self._settle(delivery, round(pause * 1000))

    def _pause(self, tries: int) -> float:
        """Returns how long to wait, twice as long each time; not all at the same moment."""
        pause = min(self._settings.webhook_retry * 2.0 ** min(tries, 40), LONGEST_PAUSE)
        return pause * random.uniform(0.8, 1.2)

    async def _settle(self, delivery: Delivery, after_ms: int | None) -> None:
        try:
            if not await webhooks.settle(self._redis, delivery, after_ms=after_ms):
                log.warning("webhook of run %s was taken by another", delivery.webhook_id)
        except (*UNAVAILABLE, *WRITES_REJECTED) as error:  # it is due again when its lease ends
            log.warning("webhook of run %s is not settled: %s", delivery.webhook_id, error)


def open_caller(config: WebhooksConfig, settings: Settings) -> Caller:
    """Returns what calls; raises SettingError for what the project or the environment says wrong."""
    return Caller(policy(config, settings), headers(config), settings)
