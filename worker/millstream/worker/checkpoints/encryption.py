"""The cipher of stored checkpoints: the key ring of the process, behind LangGraph's interface."""

import importlib.util
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from langgraph.checkpoint.serde.base import CipherProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

from millstream.shared.errors import SealedError
from millstream.shared.sealing import KeyRing
from millstream.shared.sealing.locations import CHECKPOINT

SEALED_NAME: Final = "sealed"
EARLIER_NAME: Final = "aes"  # AES-EAX of LangGraph, which names no key


class CheckpointCipher(CipherProtocol):
    """Seals with the key ring, and reads what versions before it encrypted in LangGraph's way."""

    def __init__(self, key_ring: KeyRing, secrets: Sequence[str]) -> None:
        """`secrets` are the keys of the ring, for earlier checkpoints."""
        self._key_ring = key_ring
        self._earlier: list[CipherProtocol] = []
        if importlib.util.find_spec("Crypto") is not None:
            self._earlier = [
                EncryptedSerializer.from_pycryptodome_aes(key=secret.encode()).cipher
                for secret in secrets
            ]
            # Imports the rest of the package, which a run would have to wait for.
            self._earlier[0].encrypt(b"")

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        """Returns the name of the cipher, and the sealed text."""
        return SEALED_NAME, self._key_ring.seal(CHECKPOINT, plaintext)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        """Returns the plain text; raises SealedError if no key decrypts it."""
        if ciphername == SEALED_NAME:
            return self._key_ring.open(CHECKPOINT, ciphertext)
        for cipher in self._earlier:
            with suppress(ValueError):  # the checksum does not match: another key, or damaged data
                return cipher.decrypt(EARLIER_NAME, ciphertext)
        raise SealedError(
            "A checkpoint was encrypted with a key that is neither LANGGRAPH_AES_KEY nor one of "
            'LANGGRAPH_AES_FALLBACK_KEYS, or pip install "millstream[encryption]" is missing.'
        )
