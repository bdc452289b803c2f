"""Signs webhooks. Source: Standard Webhooks (standardwebhooks.com)."""

import base64
import hashlib
import hmac

from millstream.shared.errors import SettingError


def read_signing_keys(secrets: str) -> list[bytes]:
    """Returns the keys of `WEBHOOK_SECRET`, a list with commas: `whsec_` and Base64, or plain text.

    Raises SettingError.
    """
    keys = []
    for secret in filter(None, map(str.strip, secrets.split(","))):
        try:
            plain = secret.encode()
            is_encoded = secret.startswith("whsec_")
            keys.append(base64.b64decode(plain[6:], validate=True) if is_encoded else plain)
        except ValueError:
            raise SettingError("WEBHOOK_SECRET: Base64 must follow whsec_.") from None
    return keys


def sign(key: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Returns one signature for the header `webhook-signature`."""
    content = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
