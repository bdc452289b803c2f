"""One call of a webhook: its URL, headers and body, and the receiver's response."""

import asyncio
import logging
import ssl
import time
from dataclasses import dataclass
from typing import Final

import httpcore

from millstream.shared.langgraph_json.config import WebhooksConfig
from millstream.shared.settings import Settings
from millstream.shared.tracing.context import NO_TRACE, TraceContext
from millstream.shared.webhook_url import MARK, is_relative, webhook_url_error
from millstream.shared.webhooks import Delivery
from millstream.shared.wire import WebhookPolicy, to_json
from millstream.worker.webhooks.network import GuardedNetwork, RefusedAddressError
from millstream.worker.webhooks.policy import has_secret, headers_of, policy_of
from millstream.worker.webhooks.signing import read_signing_keys, sign

log = logging.getLogger(__name__)

MAX_CONNECTIONS: Final = 20  # kept open between calls
MAX_READ_BYTES: Final = 64 * 1024  # of a response


@dataclass(frozen=True, slots=True)
class Answer:
    """The result of one call."""

    status: int  # of HTTP; 0 without a response
    text: str  # the beginning of the body, or why there was no response
    retry_after: float | None = None  # s


class WebhookClient:
    """Makes single calls, and keeps connections open between them."""

    def __init__(
        self,
        policy: WebhookPolicy,
        headers: dict[str, str],
        secrets: dict[str, str],
        settings: Settings,
    ) -> None:
        """`headers` are sent with each call, and `secrets` with calls of hosts that the operator chose."""
        self.policy: Final = policy
        self._headers = headers
        self._secrets = secrets
        self._keys = read_signing_keys(settings.webhook_secret)
        self._base = settings.webhook_base_url.rstrip("/")
        self._timeout = settings.webhook_timeout
        tls = ssl.create_default_context()
        pool = {
            "ssl_context": tls,
            "max_keepalive_connections": MAX_CONNECTIONS,
            "keepalive_expiry": 30,
        }
        self._pool = httpcore.AsyncConnectionPool(
            network_backend=GuardedNetwork(policy),
            **pool,  # type: ignore[arg-type]
        )
        self._unguarded = httpcore.AsyncConnectionPool(**pool)  # type: ignore[arg-type]  # for the operator's own URL

    async def aclose(self) -> None:
        """Closes all connections."""
        await self._pool.aclose()
        await self._unguarded.aclose()

    async def call(self, delivery: Delivery, trace: TraceContext = NO_TRACE) -> Answer:
        """Sends the delivery, whose span is `trace`; raises RefusedAddressError if the policy forbids its URL."""
        url, pool = delivery.url, self._pool
        # The run may have been admitted under an older policy.
        if error := webhook_url_error(url, self.policy):
            raise RefusedAddressError(error)
        if is_relative(url):
            url, pool = self._base + url, self._unguarded
        now = time.time()
        body = to_json(delivery.payload(round(now * 1e6)))
        try:
            async with asyncio.timeout(self._timeout):
                headers = self._headers_of(delivery, int(now), body) | trace.headers
                return await self._post(pool, url, headers, body)
        except TimeoutError:
            return Answer(0, f"no answer within {self._timeout:g} s")
        except (
            httpcore.NetworkError,
            httpcore.ProtocolError,
            httpcore.TimeoutException,
            OSError,
        ) as error:
            return Answer(0, f"{type(error).__name__}: {error}")

    def _headers_of(self, delivery: Delivery, now: int, body: bytes) -> dict[str, str]:
        headers = {
            "content-type": "application/json",
            "user-agent": "Millstream",
            "webhook-id": delivery.webhook_id,
            "webhook-timestamp": str(now),
            MARK: delivery.webhook_id,
        }
        if self._keys:
            signatures = (sign(key, delivery.webhook_id, now, body) for key in self._keys)
            headers["webhook-signature"] = " ".join(signatures)
        # A client chooses the URL, so without a list of hosts anybody could read the secrets.
        trusted = is_relative(delivery.url) or self.policy.allowed_domains
        return {**self._headers, **(self._secrets if trusted else {}), **headers}

    async def _post(
        self, pool: httpcore.AsyncConnectionPool, url: str, headers: dict[str, str], body: bytes
    ) -> Answer:
        async with pool.stream(
            "POST", url, headers=list(headers.items()), content=body
        ) as response:
            read = b""
            async for part in response.aiter_stream():
                read += part
                if len(read) > MAX_READ_BYTES:
                    break
            text = read[:200].decode("utf-8", "replace")
            return Answer(response.status, text, _retry_after(response.headers))


def _retry_after(headers: list[tuple[bytes, bytes]]) -> float | None:
    for name, value in headers:
        if name.lower() == b"retry-after" and value.isdigit():
            return float(value[:9])
    return None


def open_client(config: WebhooksConfig, settings: Settings) -> WebhookClient:
    """Returns the client of a project; raises SettingError that names the invalid key or variable."""
    headers, policy = headers_of(config), policy_of(config, settings)
    secrets = {name: headers.pop(name) for name, text in config.headers.items() if has_secret(text)}
    if secrets and not policy.allowed_domains:
        log.warning(
            "webhooks.headers: %s has the value of a variable and is sent only to WEBHOOK_BASE_URL, because a client "
            "may choose any other URL. List the receivers in webhooks.url.allowed_domains ('*' is any host).",
            ", ".join(secrets),
        )
    return WebhookClient(policy, headers, secrets, settings)
