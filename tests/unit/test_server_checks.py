"""What is said of a Redis that can't be used, or that will lose data one day."""

from typing import Any

import pytest

from millstream.shared.redis.server_checks import findings

GOOD: dict[str, Any] = {
    "redis_version": "7.2.4",
    "cluster_enabled": 0,
    "maxmemory_policy": "noeviction",
    "aof_enabled": 1,
}


@pytest.mark.parametrize("version", ["6.2.0", "6.2.14", "7.0.15", "8.2.3", "10.0.0", "255.255.255"])
@pytest.mark.parametrize("save", ["", "3600 1 300 100", None])
def test_of_a_good_server_there_is_nothing_to_say(version: str, save: str | None) -> None:
    assert findings(GOOD | {"redis_version": version}, save) == []


@pytest.mark.parametrize("version", ["6.0.16", "5.0.7", "3.2.100"])
def test_an_old_server_is_of_no_use(version: str) -> None:
    [found] = findings(GOOD | {"redis_version": version}, None)
    assert found.fatal
    assert f"Redis {version} is too old" in found.text


def test_a_cluster_is_of_no_use() -> None:
    [found] = findings(GOOD | {"cluster_enabled": 1}, None)
    assert found.fatal
    assert "Cluster, which is not supported yet" in found.text


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_eviction_is_warned_of(policy: str) -> None:
    [found] = findings(GOOD | {"maxmemory_policy": policy}, None)
    assert not found.fatal
    assert policy in found.text
    assert "redis-cli CONFIG SET maxmemory-policy noeviction" in found.text


def test_a_server_that_keeps_nothing_is_warned_of() -> None:
    [found] = findings(GOOD | {"aof_enabled": 0}, "")
    assert not found.fatal
    assert "when it restarts" in found.text
    assert "redis-cli CONFIG SET appendonly yes" in found.text


@pytest.mark.parametrize("save", ["3600 1", None])
def test_snapshots_or_a_setting_that_may_not_be_read_count_as_kept(save: str | None) -> None:
    assert findings(GOOD | {"aof_enabled": 0}, save) == []


def test_what_a_server_does_not_tell_is_taken_for_right() -> None:
    assert findings({}, "") == []
    assert findings({"redis_version": "unstable"}, None) == []


def test_all_that_is_wrong_is_said_at_once() -> None:
    worst = {
        "redis_version": "5.0.7",
        "cluster_enabled": 1,
        "maxmemory_policy": "allkeys-lru",
        "aof_enabled": 0,
    }
    assert [found.fatal for found in findings(worst, "")] == [True, True, False, False]
