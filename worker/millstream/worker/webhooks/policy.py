"""What a project and its operator say of webhooks: which URLs may be called, and with which headers."""

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
    """Returns which URLs webhooks may have; raises SettingError for an invalid network."""
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


def headers_of(config: WebhooksConfig, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Returns the project's headers, variables filled in; raises SettingError that names one."""
    environ = os.environ if environ is None else environ
    made = {}
    for name, template in config.headers.items():
        if not HEADER_NAME.fullmatch(name) or name.lower() in RESERVED:
            raise SettingError(f"webhooks.headers: {name!r} can't be a header of a webhook")
        for variable in VARIABLE.findall(template):
            if not variable.startswith(config.env_prefix):
                raise SettingError(
                    f"webhooks.headers.{name}: {variable} does not begin with {config.env_prefix}, "
                    "so it is not for headers (webhooks.env_prefix)"
                )
            if variable not in environ:
                raise SettingError(f"webhooks.headers.{name}: {variable} is not set")
        value = VARIABLE.sub(lambda found: environ[found[1]], template)
        if not value.isprintable() or not value.isascii():
            raise SettingError(f"webhooks.headers.{name}: its value can't be sent in a header")
        made[name] = value
    return made
