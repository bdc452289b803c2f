"""Where spans are sent, as the environment says."""

import pytest

from millstream.shared.errors import SettingError
from millstream.shared.settings import Settings
from millstream.shared.tracing.targets import Target, targets_of

KEYS = {"LANGFUSE_PUBLIC_KEY": "pk", "LANGFUSE_SECRET_KEY": "sk"}


def targets(**env: str) -> list[Target]:
    return targets_of(Settings.from_env(env))


def test_without_targets_nothing_is_traced() -> None:
    assert not Settings.from_env({}).is_traced
    assert targets(**KEYS) == []
    assert Settings.from_env({"OTEL_TARGETS": "GENERIC"}).is_traced
    assert Settings.from_env({"OTEL_CONSOLE_EXPORT": "true"}).is_traced
    assert not Settings.from_env({"OTEL_CONSOLE_EXPORT": "0"}).is_traced


def test_several_targets_each_once_and_in_order() -> None:
    result = targets(OTEL_TARGETS=" phoenix, LANGFUSE,,Phoenix,GENERIC", **KEYS)
    assert [target.name for target in result] == ["PHOENIX", "LANGFUSE", "GENERIC"]


def test_langfuse_has_basic_authentication() -> None:
    [target] = targets(OTEL_TARGETS="LANGFUSE", LANGFUSE_HOST="https://lf.example/", **KEYS)
    assert target.url == "https://lf.example/api/public/otel/v1/traces"
    assert target.headers == {
        "authorization": "Basic cGs6c2s=",
        "x-langfuse-ingestion-version": "4",
    }
    assert "cGs6c2s" not in repr(target)


@pytest.mark.parametrize(
    ("endpoint", "url"),
    [
        ("", "http://localhost:6006/v1/traces"),
        ("https://p.example/s/team/", "https://p.example/s/team/v1/traces"),
        ("https://p.example/v1/traces", "https://p.example/v1/traces"),
    ],
)
def test_phoenix_takes_a_base_or_a_whole_url(endpoint: str, url: str) -> None:
    [target] = targets(OTEL_TARGETS="PHOENIX", PHOENIX_COLLECTOR_ENDPOINT=endpoint)
    assert (target.url, target.headers) == (url, {})
    [target] = targets(OTEL_TARGETS="PHOENIX", PHOENIX_API_KEY="k")
    assert target.headers == {"authorization": "Bearer k"}


@pytest.mark.parametrize(
    ("env", "error"),
    [
        ({"OTEL_TARGETS": "JAEGER"}, r"OTEL_TARGETS: 'JAEGER' is not one of LANGFUSE"),
        ({"OTEL_TARGETS": "LANGFUSE"}, r"needs LANGFUSE_PUBLIC_KEY"),
        ({"OTEL_TARGETS": "LANGFUSE", "LANGFUSE_PUBLIC_KEY": "pk"}, r"needs LANGFUSE_SECRET_KEY"),
        ({"LANGFUSE_TRACING_ENVIRONMENT": "Prod"}, r"LANGFUSE_TRACING_ENVIRONMENT='Prod'"),
        ({"LANGFUSE_TRACING_ENVIRONMENT": "langfuse-x"}, r"LANGFUSE_TRACING_ENVIRONMENT"),
        ({"LANGFUSE_RELEASE": "x" * 201}, r"LANGFUSE_RELEASE"),
        ({"OTEL_CONSOLE_EXPORT": "maybe"}, r"OTEL_CONSOLE_EXPORT='maybe'"),
    ],
)
def test_what_would_fail_later_is_named_at_the_start(env: dict[str, str], error: str) -> None:
    with pytest.raises(SettingError, match=error):
        Settings.from_env(env)


def test_no_secret_is_printed() -> None:
    secrets = {"LANGFUSE_SECRET_KEY": "langfuse-secret", "PHOENIX_API_KEY": "phoenix-secret"}
    assert "secret'" not in repr(Settings.from_env(secrets))
