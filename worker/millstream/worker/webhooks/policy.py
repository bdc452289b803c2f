"""The URLs that webhooks may have and the headers that they get, from langgraph.json and the environment."""

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import Final

from millstream.shared.errors import SettingError
from millstream.shared.langgraph_json.config import WebhooksConfig
from millstream.shared.settings import Settings
from millstream.shared.wire import WebhookPolicy

VARIABLE: Final = re.compile(r"\$\{\{\s*env\.(\w+)\s*\}\}")
HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Headers that Millstream sets itself.
RESERVED: Final = frozenset(
    ("host", "content-length", "content-type", "transfer-encoding", "connection", "user-agent")
)


def policy_of(config: WebhooksConfig, settings: Settings) -> WebhookPolicy:
    """Returns the policy for URLs of webhooks; raises SettingError for an invalid network or base URL."""
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


def has_secret(template: str) -> bool:
    """Returns whether a header of the project has the value of a variable."""
    return VARIABLE.search(template) is not None


def headers_of(config: WebhooksConfig, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Returns the project's headers with the values of variables; raises SettingError that names a header."""
    environ = os.environ if environ is None else environ
    headers = {}
    for name, template in config.headers.items():
        if not HEADER_NAME.fullmatch(name) or name.lower() in RESERVED:
            raise SettingError(
                f"webhooks.headers: {name!r} is an invalid name, or is a header that Millstream sets"
            )
        for variable in VARIABLE.findall(template):
            if not variable.startswith(config.env_prefix):
                raise SettingError(
                    f"webhooks.headers.{name}: {variable} does not begin with {config.env_prefix}, "
                    "so headers must not contain it (webhooks.env_prefix)"
                )
            if variable not in environ:
                raise SettingError(f"webhooks.headers.{name}: {variable} is not set")
        value = VARIABLE.sub(lambda match: environ[match[1]], template)
        if not value.isprintable() or not value.isascii():
            raise SettingError(
                f"webhooks.headers.{name}: its value has characters that a header can't have"
            )
        headers[name] = value
    return headers
