"""Connects webhooks to permitted addresses only."""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable

import httpcore
from httpcore import SOCKET_OPTION, AsyncNetworkBackend, AsyncNetworkStream

from millstream.shared.webhook_url import address_error
from millstream.shared.wire import WebhookPolicy


class RefusedAddressError(Exception):
    """The policy forbids calls to this address; a repeated call would be refused too."""


class GuardedNetwork(AsyncNetworkBackend):
    """Connects to the very address that it has checked against the policy.

    So a host name that resolves to another address a moment later changes nothing.
    """

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
        """Connects; raises RefusedAddressError if the policy forbids one of the host's addresses."""
        loop = asyncio.get_running_loop()
        try:
            entries = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host}: {error}") from None
        addresses = [str(entry[4][0]).partition("%")[0] for entry in entries]
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
        """Raises RefusedAddressError: no webhook has a socket's path."""
        raise RefusedAddressError(path)

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await asyncio.sleep(seconds)
