"""The problems of a Redis that is unsuitable, or that may lose data."""

from typing import Any

import pytest

from millstream.shared.checks.at_start import problems_of
from millstream.shared.checks.facts import Fact, Facts, ServerInfo, Target
from millstream.shared.checks.problem import Problem, Severity

GOOD: dict[str, Any] = {
    "redis_version": "7.2.4",
    "cluster_enabled": 0,
    "maxmemory_policy": "noeviction",
    "aof_enabled": 1,
}


def find_problems(info: dict[str, Any], save: str | None) -> list[Problem]:
    """Returns the problems that a process reports at start; `save` is None if CONFIG is denied."""
    config: Fact[Any] = Fact(reason="denied") if save is None else Fact({"save": save})
    return problems_of(
        Facts(target=Fact(Target(url="")), info=Fact(ServerInfo(info)), config=config)
    )


def is_fatal(problem: Problem) -> bool:
    return problem.severity is Severity.ERROR


@pytest.mark.parametrize("version", ["6.2.0", "6.2.14", "7.0.15", "8.2.3", "10.0.0", "255.255.255"])
@pytest.mark.parametrize("save", ["", "3600 1 300 100", None])
def test_a_suitable_server_has_no_problem(version: str, save: str | None) -> None:
    assert find_problems(GOOD | {"redis_version": version}, save) == []


@pytest.mark.parametrize("version", ["6.0.16", "5.0.7", "3.2.100"])
def test_an_old_server_is_rejected(version: str) -> None:
    [problem] = find_problems(GOOD | {"redis_version": version}, None)
    assert is_fatal(problem)
    assert f"Redis {version} is too old" in problem.text


def test_a_redis_cluster_is_rejected() -> None:
    [problem] = find_problems(GOOD | {"cluster_enabled": 1}, None)
    assert is_fatal(problem)
    assert "Cluster, which is not supported yet" in problem.text


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
def test_eviction_is_a_warning(policy: str) -> None:
    [problem] = find_problems(GOOD | {"maxmemory_policy": policy}, None)
    assert not is_fatal(problem)
    assert policy in problem.text
    assert "redis-cli CONFIG SET maxmemory-policy noeviction" in problem.text


def test_a_server_without_persistence_is_a_warning() -> None:
    [problem] = find_problems(GOOD | {"aof_enabled": 0}, "")
    assert not is_fatal(problem)
    assert "when it restarts" in problem.text
    assert "redis-cli CONFIG SET appendonly yes" in problem.text


@pytest.mark.parametrize("save", ["3600 1", None])
def test_snapshots_or_an_unreadable_setting_count_as_persistence(save: str | None) -> None:
    assert find_problems(GOOD | {"aof_enabled": 0}, save) == []


def test_missing_server_information_counts_as_suitable() -> None:
    assert find_problems({}, "") == []
    assert find_problems({"redis_version": "unstable"}, None) == []


def test_all_problems_are_reported_at_once() -> None:
    worst = {
        "redis_version": "5.0.7",
        "cluster_enabled": 1,
        "maxmemory_policy": "allkeys-lru",
        "aof_enabled": 0,
    }
    assert list(map(is_fatal, find_problems(worst, ""))) == [True, True, False, False]
