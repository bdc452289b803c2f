"""The keys of a process, which seal values before they are stored in Redis and open them after.

A sealed value is SEALED, the fingerprint of its key (4 bytes), a nonce (12 bytes), and the AES-GCM ciphertext with its
tag (16 bytes). A value that does not begin with SEALED is plain: it was stored before the key was set. An empty value
stays empty, because scripts compare it.

Each value has a location (locations.py), which names its record and its field. The scope of the location gets a key of
its own, derived from the configured key, and the whole location is authenticated. So a sealed value can't be moved to
another record or field, and no key of a record encrypts as many values as random nonces of 12 bytes allow (2**32).
Checkpoints, items of the store and calls have one scope each: rotate the key before 2**32 of them are written.
"""

import hashlib
import importlib.util
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

from millstream.shared.errors import SealedError, SettingError
from millstream.shared.settings import Settings
from millstream.shared.wire import SEALED

FINGERPRINT_BYTES: Final = 4
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
HEAD_BYTES: Final = len(SEALED) + FINGERPRINT_BYTES
OVERHEAD_BYTES: Final = HEAD_BYTES + NONCE_BYTES + TAG_BYTES
CACHED_CIPHERS: Final = 1024  # of a key ring: about one for each run in progress
MISSING_PACKAGE: Final = (
    "LANGGRAPH_AES_KEY is set, and the package that encrypts is missing: "
    'pip install "millstream[encryption]"'
)
WITHOUT_KEY: Final = (
    "The stored data is encrypted, and this process has no key: set LANGGRAPH_AES_KEY to the key with the fingerprint "
    "{fingerprint}. All APIs and workers need the same keys."
)
OTHER_KEY: Final = (
    "The stored data is encrypted with a key that is neither LANGGRAPH_AES_KEY nor one of "
    "LANGGRAPH_AES_FALLBACK_KEYS. Its fingerprint is {fingerprint}. All APIs and workers need the same keys."
)
DAMAGED: Final = (
    "The stored data is damaged, or belongs to another record: the key of LANGGRAPH_AES_KEY or "
    "LANGGRAPH_AES_FALLBACK_KEYS with the fingerprint {fingerprint} does not decrypt it here."
)


class KeyRing:
    """Seals with the first key, and opens with any of them. Without a key it stores plain values.

    It is stateless apart from its caches, so threads and event loops may share it.
    """

    def __init__(self, secrets: Sequence[bytes] = ()) -> None:
        """Each secret has 16 to 64 bytes. Raises ImportError if there are any and `cryptography` is missing."""
        self._secrets = {fingerprint_of(secret): secret for secret in secrets}
        self._writer = fingerprint_of(secrets[0]) if secrets else b""
        self.is_sealing: Final = bool(secrets)
        self._cipher = lru_cache(CACHED_CIPHERS)(self._derive)
        if secrets:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM

            self._aes, self._invalid_tag = AESGCM, InvalidTag

    @property
    def fingerprint(self) -> str:
        """The fingerprint of the key that seals; '' without a key."""
        return self._writer.hex()

    @property
    def fingerprints(self) -> list[str]:
        """The fingerprints of all keys; the one that seals is first."""
        return [fingerprint.hex() for fingerprint in self._secrets]

    def seal(self, location: str, plain: bytes) -> bytes:
        """Returns the value as it is stored at the location."""
        if not self.is_sealing or not plain:
            return plain
        nonce = os.urandom(NONCE_BYTES)
        cipher = self._cipher(self._writer, location.partition(" ")[0])
        ciphertext: bytes = cipher.encrypt(nonce, plain, location.encode())
        return b"".join((SEALED, self._writer, nonce, ciphertext))

    def open(self, location: str, stored: bytes) -> bytes:
        """Returns the plain value.

        Raises SealedError, whose text names the setting, if no key opens it, or it was sealed for another location.
        """
        if not stored.startswith(SEALED):
            return stored
        fingerprint = stored[len(SEALED) : HEAD_BYTES]
        if fingerprint not in self._secrets:
            text = OTHER_KEY if self.is_sealing else WITHOUT_KEY
            raise SealedError(text.format(fingerprint=fingerprint.hex()))
        nonce, ciphertext = stored[HEAD_BYTES:][:NONCE_BYTES], stored[HEAD_BYTES + NONCE_BYTES :]
        cipher = self._cipher(fingerprint, location.partition(" ")[0])
        try:
            opened: bytes = cipher.decrypt(nonce, ciphertext, location.encode())
        except (self._invalid_tag, ValueError):  # ValueError: too short
            raise SealedError(DAMAGED.format(fingerprint=fingerprint.hex())) from None
        return opened

    def _derive(self, fingerprint: bytes, scope: str) -> Any:
        """Returns the cipher of a scope: 12 µs, which the cache saves."""
        secret = self._secrets[fingerprint]
        key = hashlib.blake2b(
            scope.encode(), key=secret, digest_size=32, person=b"millstream seal"
        ).digest()
        return self._aes(key)

    def __repr__(self) -> str:
        return f"<KeyRing {', '.join(self.fingerprints)}>"


def fingerprint_of(secret: bytes) -> bytes:
    """Returns the name of a key, from which the key can't be computed."""
    return hashlib.blake2b(
        key=secret, digest_size=FINGERPRINT_BYTES, person=b"millstream id"
    ).digest()


NO_KEYS: Final = KeyRing()


def open_key_ring(settings: Settings) -> KeyRing:
    """Returns the keys of LANGGRAPH_AES_KEY and LANGGRAPH_AES_FALLBACK_KEYS.

    Raises SettingError if a key is set and `cryptography` is missing.
    """
    if not settings.aes_key:
        return NO_KEYS
    if importlib.util.find_spec("cryptography") is None:
        raise SettingError(MISSING_PACKAGE)
    return KeyRing([key.encode() for key in (settings.aes_key, *settings.earlier_keys)])


def key_ring_of(redis: Any) -> KeyRing:
    """Returns the keys of a client, which `redis.connect` was given."""
    key_ring: KeyRing = getattr(redis, "key_ring", NO_KEYS)
    return key_ring
