"""Which addresses a webhook may have: decided when a run is asked for, and again when it is called. Pure.

Whoever may start runs chooses the URL, and workers stand inside of the network: without a rule they
would fetch for a stranger what only insiders can reach. So by default only addresses of the public
internet are called, and a name's addresses are looked at when the connection is made.
"""

import ipaddress
from typing import Final
from urllib.parse import SplitResult, urlsplit

from millstream.shared.wire import WebhookPolicy

PORTS: Final = {"http": 80, "https": 443}
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def webhook_url_error(url: str, policy: WebhookPolicy) -> str:
    """Returns why the URL of a webhook is refused, '' if it is not."""
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
        return f"it is no URL: {error}"
    if parts.scheme not in PORTS or not parts.hostname:
        return "it must begin with https:// or http:// and a host"
    if policy.require_https and parts.scheme != "https":
        return "it must begin with https://"
    if parts.username is not None or parts.password is not None:
        return "it must not hold a user or a password"
    port = port or PORTS[parts.scheme]
    if policy.allowed_ports and port not in policy.allowed_ports:
        return f"port {port} is none of {', '.join(map(str, policy.allowed_ports))}"
    return _host_refused(parts, policy)


def is_relative(url: str) -> bool:
    """Returns whether it is a path on the deployment itself."""
    return url.startswith("/") and not url.startswith("//")


def _host_refused(parts: SplitResult, policy: WebhookPolicy) -> str:
    host = (parts.hostname or "").rstrip(".").lower()
    if policy.allowed_domains and not any(_is_of(host, name) for name in policy.allowed_domains):
        return f"host {host} is none of {', '.join(policy.allowed_domains)}"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if host == "localhost" or host.endswith(".localhost"):
            return address_error(ipaddress.ip_address("127.0.0.1"), policy)
        return ""
    return address_error(address, policy)


def _is_of(host: str, domain: str) -> bool:
    domain = domain.lower()
    if domain.startswith("*."):
        return host.endswith(domain[1:])
    return host == domain


def address_error(address: Address, policy: WebhookPolicy) -> str:
    """Returns why an address is not called, '' if it may be."""
    plain = _unwrapped(address)
    if plain.is_global and not plain.is_multicast:
        return ""
    if plain.is_loopback and not policy.disable_loopback:
        return ""
    for network in policy.networks:
        if plain in ipaddress.ip_network(network, strict=False):
            return ""
    return (
        f"{address} is not an address of the public internet (webhooks.url.disable_loopback and "
        "WEBHOOK_NETWORKS say which others may be called)"
    )


def _unwrapped(address: Address) -> Address:
    """Returns the IPv4 address that an IPv6 address stands for, or the address itself."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is None and address in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return inner or address
    return address
