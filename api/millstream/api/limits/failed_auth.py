"""Limits requests with invalid credentials, by address, in the memory of one process.

An address that sends too many gets 429 without a look at its credentials. Credentials that were valid in this process
pass, so that a client can't lock out those that share its address.
"""

import hashlib
import logging
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final, TypeVar

from millstream.shared.rules.rate import Rate
from millstream.shared.rules.reserved_names import RUN_HEADER

log = logging.getLogger(__name__)

REMEMBERED: Final = 10_000  # addresses, and credentials
Name = TypeVar("Name", str, bytes)
CREDENTIAL_HEADERS: Final = frozenset(
    {
        b"authorization",
        b"x-api-key",
        b"cookie",
        b"sec-websocket-protocol",  # of pages: auth/credentials.py
        RUN_HEADER.encode(),
    }
)


def credentials_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Returns a digest of the headers that may carry credentials; b"" if there are none."""
    values = [name + b"\0" + value for name, value in headers if name in CREDENTIAL_HEADERS]
    return hashlib.sha256(b"\n".join(values)).digest() if values else b""


class FailedAuth:
    """The failures of each address (GCRA), and the credentials that were valid."""

    def __init__(self, rate: Rate | None) -> None:
        """Without a rate, nothing is limited."""
        self._rate = rate
        self._full_at: OrderedDict[str, float] = OrderedDict()  # address → monotonic s
        self._valid: OrderedDict[bytes, None] = OrderedDict()
        self._logged: OrderedDict[str, None] = OrderedDict()  # addresses

    def wait_seconds(self, address: str, credentials: bytes) -> float:
        """Returns how long the address must wait before it may try these credentials; 0 if it need not."""
        full_at = self._full_at.get(address)
        if full_at is None or self._rate is None or credentials in self._valid:
            return 0.0
        interval = self._rate.interval_us / 1e6
        return max(0.0, full_at + interval - self._rate.burst * interval - time.monotonic())

    def failed(self, address: str) -> None:
        """Counts a request with invalid credentials."""
        if self._rate is None:
            return
        now, interval = time.monotonic(), self._rate.interval_us / 1e6
        full_at = max(self._full_at.get(address, now), now) + interval
        # At most an empty bucket: many requests at once, each let in before the first had failed, don't lock out their
        # address for longer.
        self._full_at[address] = min(full_at, now + self._rate.burst * interval)
        _limit(self._full_at, address)
        if address not in self._logged and self.wait_seconds(address, b"") > 0:
            self._logged[address] = None
            _limit(self._logged, address)
            log.warning(
                "%s sends many requests with invalid credentials. Its new credentials get 429 now. If this is a proxy, "
                "name it in FORWARDED_ALLOW_IPS.",
                address or "A client without an address",
            )

    def passed(self, credentials: bytes) -> None:
        """Remembers credentials that are valid."""
        if credentials and self._rate is not None:
            self._valid[credentials] = None
            _limit(self._valid, credentials)


def _limit(entries: OrderedDict[Name, Any], newest: Name) -> None:
    """Forgets the entries that were not used for the longest time."""
    entries.move_to_end(newest)
    while len(entries) > REMEMBERED:
        entries.popitem(last=False)
