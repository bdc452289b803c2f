"""The callers that limits count by: users, or without authentication the addresses of clients."""

import hashlib
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from starlette.types import Scope

IPV6_NETWORK_BITS: Final = 64  # of one customer: within it, a client chooses its addresses
CACHED: Final = 10_000


def address_of(scope: Scope) -> str:
    """Returns the client's address, as trusted proxies name it: of IPv6, its network of 64 bits.

    Returns '' for all clients whose address is unknown, as behind a Unix socket: they count as one.
    """
    return _network((scope.get("client") or ("",))[0] or "")


@lru_cache(maxsize=CACHED)
def _network(host: str) -> str:
    # Some proxies send the port too. It differs with each connection.
    for text in (host, host.rpartition(":")[0], host.rpartition(":")[0].strip("[]")):
        try:
            address = ip_address(text.partition("%")[0])
        except ValueError:
            continue
        if isinstance(address, IPv6Address):
            if address.ipv4_mapped is None:
                return str(ip_network((int(address), IPV6_NETWORK_BITS), strict=False))
            address = address.ipv4_mapped
        return str(address)
    return ""


@lru_cache(maxsize=CACHED)
def digest(kind: str, name: str) -> str:
    """Returns a short name for a user or an address, without what it is. Kinds differ."""
    return hashlib.sha256(f"{kind}:{name}".encode("utf-8", "surrogatepass")).hexdigest()[:32]
