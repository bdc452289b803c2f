"""Settings come from the environment; one that can't be used is named with what it may be."""

from dataclasses import fields
from typing import Any

import pytest

from millstream.shared.errors import SettingError
from millstream.shared.settings import DEFAULT_REDIS_URL, Settings, table

NUMBERS = [setting for setting in fields(Settings) if setting.metadata["low"] is not None]


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_env({}) == Settings()
    assert Settings().redis_url == DEFAULT_REDIS_URL


def test_the_environment_of_the_process_is_read_where_none_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("N_JOBS_PER_WORKER", "7")
    assert Settings.from_env().jobs_per_worker == 7


@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_variable_is_one_that_is_not_set(text: str) -> None:
    assert Settings.from_env({"N_JOBS_PER_WORKER": text}).jobs_per_worker == 10


def test_values_have_the_type_of_their_default() -> None:
    found = Settings.from_env(
        {"LEASE_SECS": " 2 ", "STREAM_MAX_EVENTS": "500", "MILLSTREAM_QUEUE": "gpu"}
    )
    assert (found.lease, found.stream_max_events, found.queue) == (2.0, 500, "gpu")
    assert type(found.lease) is float


def test_of_two_names_for_a_setting_the_first_wins() -> None:
    assert Settings.from_env({"REDIS_URI": "redis://b"}).redis_url == "redis://b"
    both = {"REDIS_URI": "redis://b", "REDIS_URL": "redis://a"}
    assert Settings.from_env(both).redis_url == "redis://a"
    assert Settings.from_env(both | {"REDIS_URL": ""}).redis_url == "redis://b"


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda setting: setting.name)
def test_a_number_that_is_none_is_refused_by_the_name_of_its_variable(setting: object) -> None:
    [name, *_] = setting.metadata["names"]  # type: ignore[attr-defined]
    for text in ("ten", "1,5", "0x10", "1 s"):
        with pytest.raises(SettingError, match=f"^{name}='{text}' is not a"):
            Settings.from_env({name: text})


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda setting: setting.name)
def test_a_number_below_its_limit_is_refused_and_the_limit_itself_is_not(setting: object) -> None:
    [name, *_] = setting.metadata["names"]  # type: ignore[attr-defined]
    low = setting.metadata["low"]  # type: ignore[attr-defined]
    assert Settings.from_env({name: str(low)}) is not None
    for text in (str(low - 1), "-1"):
        with pytest.raises(SettingError, match=f"^{name}=.* at least {low:g}"):
            Settings.from_env({name: text})


@pytest.mark.parametrize("text", ["inf", "nan", "1e999"])
def test_a_time_without_an_end_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="LEASE_SECS"):
        Settings.from_env({"LEASE_SECS": text})


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda setting: setting.name)
def test_a_default_is_within_its_own_limit(setting: object) -> None:
    assert setting.default >= setting.metadata["low"]  # type: ignore[attr-defined]


def test_no_variable_is_read_twice() -> None:
    names = [name for setting in fields(Settings) for name in setting.metadata["names"]]
    assert len(set(names)) == len(names)


def test_the_table_has_a_row_for_each_setting_with_all_its_names() -> None:
    _, _, *rows = table().splitlines()
    for setting, row in zip(fields(Settings), rows, strict=True):
        assert all(f"`{name}`" in row for name in setting.metadata["names"])
        default = row.split("|")[2].strip().strip("`")
        kind: Any = type(setting.default)
        assert kind(default) == setting.default
        assert setting.metadata["doc"] in row
        assert row.count("|") == 5


@pytest.mark.parametrize("name", ["two words", "tab\there", "new\nline"])
def test_the_name_of_a_queue_has_no_white_space(name: str) -> None:
    """A run reference in a thread's FIFO separates its words by blanks: such a run could not be released."""
    with pytest.raises(SettingError, match="MILLSTREAM_QUEUE"):
        Settings.from_env({"MILLSTREAM_QUEUE": name})


@pytest.mark.parametrize("text", ["*", "127.0.0.1,::1", "10.0.0.0/8, 192.168.7.9/32", "fd00::/8"])
def test_proxies_are_named_by_addresses_and_networks(text: str) -> None:
    assert Settings.from_env({"FORWARDED_ALLOW_IPS": text}).forwarded_allow_ips == text


@pytest.mark.parametrize(
    "text", ["nginx", "10.0.0.0/33", "10.0.0.1/8", "10.0.0.1,", "10.0.0.1 ::1"]
)
def test_a_proxy_that_nobody_could_be_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"^FORWARDED_ALLOW_IPS: .* no address"):
        Settings.from_env({"FORWARDED_ALLOW_IPS": text})


@pytest.mark.parametrize("text", ["https://a.example", "http://[::1]:2024/api/"])
def test_a_public_url_is_one_of_http(text: str) -> None:
    assert Settings.from_env({"LANGGRAPH_API_URL": text}).public_url == text


@pytest.mark.parametrize(
    "text",
    ["a.example", "/api", "ftp://a", "https://", "https://a?b", "https://a:x", "https://a b"],
)
def test_a_public_url_that_leads_nowhere_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match=r"^MILLSTREAM_PUBLIC_URL=.* is no URL"):
        Settings.from_env({"MILLSTREAM_PUBLIC_URL": text})
