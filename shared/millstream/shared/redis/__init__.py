"""Connects to Redis: to one server, or to the master that sentinels name."""

from millstream.shared.redis.clients import Client, OnReply, connect
from millstream.shared.redis.errors import (
    OUTAGE_ERRORS,
    UNAVAILABLE,
    WRITES_REJECTED,
    to_unavailable,
)
from millstream.shared.redis.outage_log import OutageLog
from millstream.shared.redis.url import check_url, masked

__all__ = [
    "OUTAGE_ERRORS",
    "UNAVAILABLE",
    "WRITES_REJECTED",
    "Client",
    "OnReply",
    "OutageLog",
    "check_url",
    "connect",
    "masked",
    "to_unavailable",
]
