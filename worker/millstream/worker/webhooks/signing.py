"""Signatures of webhooks. Source: Standard Webhooks (standardwebhooks.com)."""

import base64
import hashlib
import hmac

from millstream.shared.errors import SettingError


def signing_keys(secrets: str) -> list[bytes]:
    """Returns the keys of `WEBHOOK_SECRET`: of each word its bytes, of `whsec_…` what it encodes."""
    keys = []
    for word in filter(None, map(str.strip, secrets.split(","))):
        try:
            plain = word.encode()
            encoded = word.startswith("whsec_")
            keys.append(base64.b64decode(plain[6:], validate=True) if encoded else plain)
        except ValueError:
            raise SettingError("WEBHOOK_SECRET: after whsec_ there must be Base64.") from None
    return keys


def signature(key: bytes, webhook_id: str, timestamp: int, body: bytes) -> str:
    """Returns one signature of the header `webhook-signature`."""
    content = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
