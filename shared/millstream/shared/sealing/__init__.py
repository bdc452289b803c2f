"""Encryption at rest: which keys seal and open stored values, and how a sealed value looks."""

from millstream.shared.sealing.key_ring import NO_KEYS, KeyRing, key_ring_of, open_key_ring

__all__ = ["NO_KEYS", "KeyRing", "key_ring_of", "open_key_ring"]
