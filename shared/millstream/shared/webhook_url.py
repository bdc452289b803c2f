"""Which URLs and addresses a webhook may have. Pure. Checked when a run is requested and again before the call.

Any client that may start runs chooses the URL, and workers are inside the network. Without a rule a client could make
them call services that only the network can reach. So by default only addresses of the public internet are allowed, and
a host's addresses are checked when the connection is made.
"""

import ipaddress
from collections.abc import Iterable
from typing import Final
from urllib.parse import SplitResult, urlsplit

from millstream.shared.wire import WebhookPolicy

PORTS: Final = {"http": 80, "https": 443}
MARK: Final = "millstream-webhook"  # a header of each call, by which an API recognises it
# Networks of no public host, which `ipaddress.is_global` lacks in some versions of Python. Source: IANA's registries of
# special-purpose addresses; 168.63.129.16 is the host of virtual machines in Azure.
NOT_PUBLIC: Final = [
    ipaddress.ip_network(network)
    for network in (
        "0.0.0.0/8", "100.64.0.0/10", "168.63.129.16/32", "192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24",
        "192.52.193.0/24", "192.88.99.0/24", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "240.0.0.0/4", "::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2620:4f:8000::/48",
        "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/10", "fec0::/10",
    )
]  # fmt: skip
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def webhook_url_error(url: str, policy: WebhookPolicy) -> str:
    """Returns why the URL is not allowed; '' if it is allowed."""
    if len(url) > policy.max_url_length:
        return f"it is longer than {policy.max_url_length} characters"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "it has characters in it that a URL writes as %XX, or in a host as xn--…"
    if is_relative(url):
        if policy.relative:
            return ""
        return "a path alone needs WEBHOOK_BASE_URL, which the workers do not have"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        return f"it is not a valid URL: {error}"
    if parts.scheme not in PORTS or not parts.hostname:
        return "it must begin with https:// or http:// and a host"
    if policy.require_https and parts.scheme != "https":
        return "it must begin with https://"
    if parts.username is not None or parts.password is not None:
        return "it must not hold a user or a password"
    port = port or PORTS[parts.scheme]
    if policy.allowed_ports and port not in policy.allowed_ports:
        return f"port {port} is not allowed: it must be one of {', '.join(map(str, policy.allowed_ports))}"
    return _host_error(parts, policy)


def is_relative(url: str) -> bool:
    """Returns whether the URL is a path alone, without a host."""
    return url.startswith("/") and not url.startswith("//")


def _host_error(parts: SplitResult, policy: WebhookPolicy) -> str:
    host = (parts.hostname or "").rstrip(".").lower()
    if policy.allowed_domains and not any(
        _is_in_domain(host, name) for name in policy.allowed_domains
    ):
        return f"host {host} is not allowed: it must be one of {', '.join(policy.allowed_domains)}"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if host == "localhost" or host.endswith(".localhost"):
            return address_error(ipaddress.ip_address("127.0.0.1"), policy)
        return ""
    return address_error(address, policy)


def _is_in_domain(host: str, domain: str) -> bool:
    domain = domain.lower()
    if domain == "*":
        return True
    if domain.startswith("*."):
        return host.endswith(domain[1:])
    return host == domain


def address_error(address: Address, policy: WebhookPolicy) -> str:
    """Returns why the address is not allowed; '' if it is allowed."""
    target = _unwrap(address)
    if target.is_global and not target.is_multicast and not _is_in(target, NOT_PUBLIC):
        return ""
    if target.is_loopback and not policy.disable_loopback:
        return ""
    if _is_in(target, [ipaddress.ip_network(each, strict=False) for each in policy.networks]):
        return ""
    return (
        f"{address} is not an address of the public internet (webhooks.url.disable_loopback and "
        "WEBHOOK_NETWORKS say which others may be called)"
    )


def _is_in(address: Address, networks: Iterable[Network]) -> bool:
    return any(address in network for network in networks)


def _unwrap(address: Address) -> Address:
    """Returns the IPv4 address that is embedded in an IPv6 address, or the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is None and address in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return inner or address
    return address
