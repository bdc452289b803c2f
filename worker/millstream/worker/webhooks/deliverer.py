"""Claims due deliveries, calls their webhooks, and decides when to call again.

Redis decides which worker gets which delivery: see shared/webhooks.py.
"""

import asyncio
import logging
import random
import time
from typing import Final

from millstream.shared import logs, webhooks
from millstream.shared.observer import UNOBSERVED, RunObserver, WebhookOutcome
from millstream.shared.redis import OUTAGE_ERRORS, Client
from millstream.shared.settings import Settings
from millstream.shared.tracing.tracer import UNTRACED, RunTracer
from millstream.shared.webhooks import Delivery
from millstream.worker.webhooks.client import Answer, WebhookClient
from millstream.worker.webhooks.network import RefusedAddressError

log = logging.getLogger(__name__)

EVERY: Final = 0.5  # s between searches for due deliveries
MAX_CONCURRENT: Final = 20  # calls of one worker
MAX_PAUSE: Final = 3600.0  # s between two calls of one delivery
LEASE_MARGIN: Final = 5.0  # s from a call's timeout to the end of its delivery's lease
GONE: Final = 410  # HTTP: the receiver wants no further calls


class Deliverer:
    """Calls the webhooks that are due, several at a time."""

    def __init__(
        self,
        redis: Client,
        client: WebhookClient,
        settings: Settings,
        tracer: RunTracer = UNTRACED,
        observer: RunObserver = UNOBSERVED,
    ) -> None:
        """Calls nothing yet."""
        self._redis = redis
        self._client = client
        self._settings = settings
        self._tracer = tracer
        self._observer = observer
        self._calls: set[asyncio.Task[None]] = set()
        self._draining = False

    async def run_once(self) -> int:
        """Claims due deliveries and starts their calls; returns the number of deliveries."""
        room = 0 if self._draining else MAX_CONCURRENT - len(self._calls)
        if room <= 0:
            return 0
        lease = self._settings.webhook_timeout + LEASE_MARGIN
        taken = await webhooks.take(self._redis, limit=room, lease_ms=round(lease * 1000))
        for delivery in taken:
            task = asyncio.create_task(self._deliver(delivery), name=f"webhook {delivery.job}")
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)
        return len(taken)

    async def drain(self) -> None:
        """Claims no more deliveries, and waits for the calls in progress, at most for their timeout.

        Another worker repeats the calls that have not ended by then.
        """
        self._draining = True
        if self._calls:
            await asyncio.wait(self._calls, timeout=self._settings.webhook_timeout)
        for task in self._calls:
            task.cancel()
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def _deliver(self, delivery: Delivery) -> None:
        logs.begin_run(delivery.record.spec, attempt=delivery.record.attempt)
        begun = time.monotonic()
        try:
            answer = await self._call(delivery)
        except RefusedAddressError as error:
            log.error("the webhook of run %s is not called: %s", delivery.webhook_id, error)
            answer = None
        except Exception:
            log.exception("the webhook of run %s failed", delivery.webhook_id)
            answer = Answer(0, "see the log")
        outcome, pause = self._decide(delivery, answer)
        self._observer.webhook_called(outcome, time.monotonic() - begun)
        await self._settle(delivery, None if pause is None else round(pause * 1000))

    def _decide(
        self, delivery: Delivery, answer: Answer | None
    ) -> tuple[WebhookOutcome, float | None]:
        """Returns what becomes of the delivery, and the seconds until its next call; None for no further call.

        Without an answer the address is refused.
        """
        if answer is None:
            return "refused", None
        if 200 <= answer.status < 300:
            return "delivered", None
        if answer.status == GONE:
            log.warning("the webhook of run %s is gone (410)", delivery.webhook_id)
            return "given_up", None
        pause = max(self._pause(delivery.tries), min(answer.retry_after or 0, MAX_PAUSE))
        age = time.time() - delivery.ended_at / 1e6
        reason = f"{answer.status or 'no response'}: {answer.text}"
        if age + pause > self._settings.webhook_give_up:
            log.error(
                "the webhook of run %s is given up after %d calls: %s",
                delivery.webhook_id, delivery.tries + 1, reason,
            )  # fmt: skip
            return "given_up", None
        log.info(
            "the webhook of run %s is called again in %.1f s: %s",
            delivery.webhook_id, pause, reason,
        )  # fmt: skip
        return "retried", pause

    async def _call(self, delivery: Delivery) -> Answer:
        record = delivery.record
        with self._tracer.delivery(record.spec, record.attempt, delivery.url) as span:
            answer = await self._client.call(delivery, self._tracer.current())
            if answer.status:
                span.set("http.response.status_code", answer.status)
            if not 200 <= answer.status < 300:
                span.fail(f"HTTP {answer.status}" if answer.status else answer.text)
        return answer

    def _pause(self, tries: int) -> float:
        """Returns the seconds until the next call: doubled after each call, up to 20 % more or less at random."""
        pause = min(self._settings.webhook_retry * 2.0 ** min(tries, 40), MAX_PAUSE)
        return pause * random.uniform(0.8, 1.2)

    async def _settle(self, delivery: Delivery, after_ms: int | None) -> None:
        try:
            if not await webhooks.settle(self._redis, delivery, after_ms=after_ms):
                log.warning("another worker has claimed the webhook of run %s", delivery.webhook_id)
        except OUTAGE_ERRORS as error:  # the delivery is due again when its lease ends
            log.warning(
                "the result of the webhook of run %s is not stored: %s", delivery.webhook_id, error
            )
