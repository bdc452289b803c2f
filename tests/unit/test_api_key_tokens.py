"""The form of API keys: unguessable, recognisable, and compared in constant time."""

import hmac
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.shared.api_keys import token
from millstream.shared.api_keys.token import key_id_of, new_token, parse_token


def test_a_key_has_a_public_id_and_256_random_bits() -> None:
    texts = {new_token() for _ in range(100)}
    assert len(texts) == 100
    for text in texts:
        assert re.fullmatch(r"msk_[0-9A-Za-z]{12}_[0-9A-Za-z]{49}", text)
    assert len(token.ALPHABET) ** token.SECRET_CHARS >= 2**256
    parsed = [parse_token(text) for text in texts]
    assert len({each.key_id for each in parsed if each}) == 100
    assert len({each.digest for each in parsed if each}) == 100


@given(st.integers(0, 65), st.sampled_from(token.ALPHABET + "_- \n\0é"))
def test_a_changed_character_makes_it_no_key(position: int, character: str) -> None:
    text = "msk_0123456789ab_" + "a" * 43
    text += token._checksum(text)
    assert parse_token(text)
    changed = text[:position] + character + text[position + 1 :]
    assert (parse_token(changed) is None) == (changed != text)


@pytest.mark.parametrize("text", ["", "msk_", "x", "msk_a_b", "msk_" * 1000, "MSK_0123456789ab_x"])
def test_another_text_is_no_key(text: str) -> None:
    assert parse_token(text) is None
    assert parse_token(f"{new_token()}\n") is None
    assert parse_token(f" {new_token()}") is None


def test_digests_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    parsed = parse_token(new_token())
    assert parsed is not None
    compared: list[object] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert not parsed.matches(parsed.digest)
    assert compared == [(parsed.digest, parsed.digest)]


def test_operators_name_a_key_by_its_id_or_any_part_from_its_start() -> None:
    text = new_token()
    key_id = text.split("_")[1]
    for form in (key_id, f"msk_{key_id}", text, f" {key_id} ", f"msk_{key_id}_…"):
        assert key_id_of(form) == key_id
    for form in ("", "msk_", "short", "ms:queue:default", key_id + "x", "a/b"):
        assert key_id_of(form) is None


def test_the_documented_pattern_finds_keys() -> None:
    assert token.PATTERN.search(f"key = '{new_token()}'")
