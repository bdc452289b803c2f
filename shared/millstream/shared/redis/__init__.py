"""How a process connects to Redis: to one server, or to the master that sentinels name."""

from millstream.shared.redis.clients import Client, connect, connect_sync
from millstream.shared.redis.errors import AWAY, REFUSING
from millstream.shared.redis.trouble_log import Trouble
from millstream.shared.redis.url import check_url, masked

__all__ = [
    "AWAY",
    "REFUSING",
    "Client",
    "Trouble",
    "check_url",
    "connect",
    "connect_sync",
    "masked",
]
