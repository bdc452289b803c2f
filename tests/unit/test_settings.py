"""Settings come from the environment; the error for an invalid one names it and its valid values."""

from dataclasses import fields
from typing import Any

import pytest

from millstream.shared.errors import SettingError
from millstream.shared.settings import DEFAULT_REDIS_URL, Settings, declared, table

NUMBERS = [setting for setting in fields(Settings) if setting.metadata["low"] is not None]


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_env({}) == Settings()
    assert Settings().redis_url == DEFAULT_REDIS_URL


def test_the_process_environment_is_the_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("N_JOBS_PER_WORKER", "7")
    assert Settings.from_env().jobs_per_worker == 7


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_variable_counts_as_unset(text: str) -> None:
    assert Settings.from_env({"N_JOBS_PER_WORKER": text}).jobs_per_worker == 10


def test_values_have_the_type_of_their_default() -> None:
    settings = Settings.from_env(
        {"LEASE_SECS": " 2 ", "STREAM_MAX_EVENTS": "500", "MILLSTREAM_QUEUE": "gpu"}
    )
    assert (settings.lease, settings.stream_max_events, settings.queue) == (2.0, 500, "gpu")
    assert type(settings.lease) is float


def test_the_first_of_two_variable_names_wins() -> None:
    assert Settings.from_env({"REDIS_URI": "redis://b"}).redis_url == "redis://b"
    both = {"REDIS_URI": "redis://b", "REDIS_URL": "redis://a"}
    assert Settings.from_env(both).redis_url == "redis://a"
    assert Settings.from_env(both | {"REDIS_URL": ""}).redis_url == "redis://b"


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda setting: setting.name)
def test_an_invalid_number_is_rejected_with_its_variable(setting: object) -> None:
    [name, *_] = setting.metadata["names"]  # type: ignore[attr-defined]
    for text in ("ten", "1,5", "0x10", "1 s"):
        with pytest.raises(SettingError, match=f"^{name}='{text}' is not a"):
            Settings.from_env({name: text})


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda setting: setting.name)
def test_a_number_below_its_limit_is_rejected_and_the_limit_accepted(setting: object) -> None:
    [name, *_] = setting.metadata["names"]  # type: ignore[attr-defined]
    low = setting.metadata["low"]  # type: ignore[attr-defined]
    assert Settings.from_env({name: str(low)}) is not None
    for text in (str(low - 1), "-1"):
        with pytest.raises(SettingError, match=f"^{name}=.* at least {low:g}"):
            Settings.from_env({name: text})


@pytest.mark.parametrize("text", ["inf", "nan", "1e999"])
def test_an_infinite_time_is_rejected(text: str) -> None:
    with pytest.raises(SettingError, match="LEASE_SECS"):
        Settings.from_env({"LEASE_SECS": text})


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda setting: setting.name)
def test_each_default_is_within_its_limit(setting: object) -> None:
    assert setting.default >= setting.metadata["low"]  # type: ignore[attr-defined]


def test_the_table_has_each_setting_once() -> None:
    assert sorted(each.name for each in declared()) == sorted(
        each.name for each in fields(Settings)
    )


def test_no_variable_is_read_twice() -> None:
    names = [name for setting in fields(Settings) for name in setting.metadata["names"]]
    assert len(set(names)) == len(names)


def test_the_table_lists_each_setting_with_all_names() -> None:
    _, _, *rows = table().splitlines()
    for setting, row in zip(declared(), rows, strict=True):
        assert all(f"`{name}`" in row for name in setting.metadata["names"])
        default = row.split("|")[2].strip().strip("`")
        kind: Any = type(setting.default)
        assert kind(default) == setting.default
        assert setting.metadata["doc"] in row
        assert row.count("|") == 5


@pytest.mark.parametrize(
    "name", ["two words", "tab\there", "new\nline", "GPU", "a:wake", ".a", "x" * 64, "a,b c", ","]
)
def test_an_invalid_queue_name_is_rejected(name: str) -> None:
    """A run reference in a thread's FIFO is separated by blanks, so such a run could not be released. With a colon, a
    name could be another queue's key."""
    with pytest.raises(SettingError, match="MILLSTREAM_QUEUE"):
        Settings.from_env({"MILLSTREAM_QUEUE": name})


@pytest.mark.parametrize(
    ("text", "names"),
    [("gpu", ("gpu",)), ("b, a,,b", ("b", "a")), ("0.x_y-z", ("0.x_y-z",)), ("", ("default",))],
)
def test_a_worker_has_each_of_its_queues_once(text: str, names: tuple[str, ...]) -> None:
    assert Settings.from_env({"MILLSTREAM_QUEUE": text}).queues == names


@pytest.mark.parametrize("text", ["*", "127.0.0.1,::1", "10.0.0.0/8, 192.168.7.9/32", "fd00::/8"])
def test_trusted_proxies_are_addresses_or_networks(text: str) -> None:
    assert Settings.from_env({"FORWARDED_ALLOW_IPS": text}).forwarded_allow_ips == text


@pytest.mark.parametrize(
    "text", ["nginx", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.1,", "10.0.0.1 ::1"]
)
def test_an_invalid_proxy_is_rejected(text: str) -> None:
    with pytest.raises(SettingError, match=r"^FORWARDED_ALLOW_IPS: .* neither an address"):
        Settings.from_env({"FORWARDED_ALLOW_IPS": text})


@pytest.mark.parametrize("text", ["https://a.example", "http://[::1]:2024/api/"])
def test_a_public_url_is_http_or_https(text: str) -> None:
    assert Settings.from_env({"LANGGRAPH_API_URL": text}).public_url == text


@pytest.mark.parametrize(
    "text",
    ["a.example", "/api", "ftp://a", "https://", "https://a?b", "https://a:x", "https://a b"],
)
def test_an_invalid_public_url_is_rejected(text: str) -> None:
    with pytest.raises(SettingError, match=r"^MILLSTREAM_PUBLIC_URL=.* is not a URL"):
        Settings.from_env({"MILLSTREAM_PUBLIC_URL": text})
