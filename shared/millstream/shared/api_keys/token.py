"""The form of an API key: `msk_<id>_<secret>`.

The prefix lets scanners of repositories and logs find keys, and the checksum at the end lets them, and the API, tell a
key from a text that resembles one. The id is public; the secret is random, so one SHA-256 protects it: a slow hash
defends secrets that can be guessed.
"""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from dataclasses import dataclass
from typing import Final

PREFIX: Final = "msk_"
ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
ID_CHARS: Final = 12  # 71 bits: no two keys get the same id
SECRET_CHARS: Final = 43  # 256 bits
CHECKSUM_CHARS: Final = 6  # of CRC-32
# For scanners too, see docs/auth.md.
PATTERN: Final = re.compile(
    rf"{PREFIX}([0-9A-Za-z]{{{ID_CHARS}}})_[0-9A-Za-z]{{{SECRET_CHARS + CHECKSUM_CHARS}}}"
)
_ID: Final = re.compile(rf"(?:{PREFIX})?([0-9A-Za-z]{{{ID_CHARS}}})(?:_.*)?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Token:
    """A well-formed API key."""

    key_id: str
    digest: bytes
    """SHA-256 of the whole text: what is stored of it."""

    def matches(self, digest: bytes) -> bool:
        """Returns whether the stored digest is this key's, in a time that says nothing about it."""
        return hmac.compare_digest(self.digest, digest)


def new_token() -> str:
    """Returns a new API key. Its text is stored nowhere."""
    body = f"{PREFIX}{_random(ID_CHARS)}_{_random(SECRET_CHARS)}"
    return body + _checksum(body)


def parse_token(text: str) -> Token | None:
    """Returns the key; None for a text that is not one, or that was not copied in full."""
    match = PATTERN.fullmatch(text)
    if match is None or not hmac.compare_digest(
        _checksum(text[:-CHECKSUM_CHARS]), text[-CHECKSUM_CHARS:]
    ):
        return None
    return Token(match[1], hashlib.sha256(text.encode()).digest())


def key_id_of(text: str) -> str | None:
    """Returns the id that a text names: the id itself, `msk_<id>`, or a whole key; None for another text."""
    match = _ID.fullmatch(text.strip())
    return match[1] if match else None


def _random(chars: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(chars))


def _checksum(body: str) -> str:
    number, digits = zlib.crc32(body.encode()), ""
    for _ in range(CHECKSUM_CHARS):
        number, digit = divmod(number, len(ALPHABET))
        digits = ALPHABET[digit] + digits
    return digits
