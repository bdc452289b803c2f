"""Which credentials an API accepts: by AUTH_TYPE, what is configured, and the address."""

import itertools

import pytest

from millstream.shared.errors import SettingError
from millstream.shared.rules.auth_kinds import (
    AuthKind,
    choose_auth_kinds,
    is_loopback,
    parse_auth_type,
)
from millstream.shared.settings import Settings

LOCAL, PUBLIC = "127.0.0.1", "0.0.0.0"
JWT = {"AUTH_JWT_ISSUER": "https://id.example", "AUTH_JWT_AUDIENCE": "millstream"}


@pytest.mark.parametrize(
    ("host", "has_custom", "has_jwt", "kinds"),
    [
        (LOCAL, False, False, "noop"),
        (LOCAL, True, False, "custom,api_key"),
        (LOCAL, False, True, "jwt,api_key"),
        (LOCAL, True, True, "custom,api_key"),
        (PUBLIC, False, False, None),
        (PUBLIC, True, False, "custom,api_key"),
        (PUBLIC, False, True, "jwt,api_key"),
        (PUBLIC, True, True, "custom,api_key"),
    ],
)
def test_without_auth_type_the_configuration_and_the_address_decide(
    host: str, has_custom: bool, has_jwt: bool, kinds: str | None
) -> None:
    if kinds is None:
        with pytest.raises(SettingError) as refused:
            choose_auth_kinds("", host, has_custom=has_custom, has_jwt=has_jwt)
        for remedy in ("AUTH_TYPE=api_key", "millstream keys create", "AUTH_JWT_ISSUER",
                       "auth.path", "AUTH_TYPE=noop"):  # fmt: skip
            assert remedy in str(refused.value)
    else:
        chosen = choose_auth_kinds("", host, has_custom=has_custom, has_jwt=has_jwt)
        assert ",".join(chosen) == kinds


def test_auth_type_decides_on_every_address() -> None:
    """The whole table: a kind that is not configured, or that disables the project's code, is refused."""
    texts = ["noop", "api_key", "jwt", "custom", "jwt,api_key", "custom,api_key", "custom,jwt"]
    for text, host, has_custom, has_jwt in itertools.product(
        texts, (LOCAL, PUBLIC), (False, True), (False, True)
    ):
        kinds = set(text.split(","))
        is_valid = (
            ("custom" in kinds) <= has_custom
            and ("jwt" in kinds) <= has_jwt
            and not kinds >= {"custom", "jwt"}
            and (has_custom <= bool(kinds & {"custom", "noop"}))
        )
        if is_valid:
            chosen = choose_auth_kinds(text, host, has_custom=has_custom, has_jwt=has_jwt)
            assert ",".join(chosen) == text
        else:
            with pytest.raises(SettingError, match="AUTH_TYPE"):
                choose_auth_kinds(text, host, has_custom=has_custom, has_jwt=has_jwt)


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("", ()),
        (" , ", ()),
        ("API_KEY", (AuthKind.API_KEY,)),
        ("jwt, api_key,jwt", (AuthKind.JWT, AuthKind.API_KEY)),
        ("noop", (AuthKind.NOOP,)),
    ],
)
def test_auth_type_is_a_list(text: str, kinds: tuple[AuthKind, ...]) -> None:
    assert parse_auth_type(text) == kinds


@pytest.mark.parametrize("text", ["none", "api-key", "noop,api_key", "jwt,noop", "api_key;jwt"])
def test_an_invalid_auth_type_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="AUTH_TYPE"):
        parse_auth_type(text)
    with pytest.raises(SettingError, match="AUTH_TYPE"):
        Settings.from_env({"AUTH_TYPE": text})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_an_address_of_this_machine_alone(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    ["", "0.0.0.0", "::", "10.0.0.1", "192.168.1.9", "example.com", "localhost.example", "*"],
)
def test_an_address_that_others_may_reach(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"AUTH_TYPE": "jwt"}, "AUTH_JWT_ISSUER"),
        ({"AUTH_JWT_ISSUER": "https://id.example"}, "AUTH_JWT_AUDIENCE"),
        ({"AUTH_JWT_JWKS_URL": "https://id.example/keys"}, "AUTH_JWT_ISSUER"),
        ({**JWT, "AUTH_JWT_ALGORITHMS": "none"}, "AUTH_JWT_ALGORITHMS"),
        ({**JWT, "AUTH_JWT_ALGORITHMS": "RS256,HS256"}, "'HS256'"),
        ({**JWT, "AUTH_JWT_ALGORITHMS": ","}, "AUTH_JWT_ALGORITHMS"),
        ({"AUTH_JWT_ALGORITHMS": "rs256"}, "'rs256'"),
        ({**JWT, "AUTH_JWT_ISSUER": "http://id.example"}, "AUTH_JWT_ISSUER"),
        ({**JWT, "AUTH_JWT_ISSUER": "id.example"}, "AUTH_JWT_ISSUER"),
        ({**JWT, "AUTH_JWT_JWKS_URL": "file:///etc/passwd"}, "AUTH_JWT_JWKS_URL"),
        ({**JWT, "AUTH_JWT_JWKS_URL": "http://127.0.0.1.example/"}, "AUTH_JWT_JWKS_URL"),
        ({**JWT, "AUTH_JWT_JWKS_URL": "https:// host/"}, "AUTH_JWT_JWKS_URL"),
        ({**JWT, "AUTH_JWT_DEFAULT_SCOPES": "root"}, "AUTH_JWT_DEFAULT_SCOPES"),
        ({**JWT, "AUTH_JWT_LEEWAY": "3600"}, "AUTH_JWT_LEEWAY"),
    ],
)
def test_unsafe_jwt_settings_are_refused(variables: dict[str, str], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Settings.from_env(variables)


def test_an_issuer_that_is_no_url_needs_the_url_of_its_keys() -> None:
    settings = Settings.from_env(
        {**JWT, "AUTH_JWT_ISSUER": "accounts", "AUTH_JWT_JWKS_URL": "http://localhost:8080/keys"}
    )
    assert settings.has_jwt
    assert settings.jwt_scopes_by_default == ["read", "write"]
    assert Settings.from_env({"AUTH_JWT_DEFAULT_SCOPES": "none"}).jwt_scopes_by_default == []
