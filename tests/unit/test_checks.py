"""Each check of `millstream doctor`: what it reports, how bad it is, and what solves it."""

import re
from dataclasses import replace
from typing import Any, Final

import pytest

from millstream.shared.checks.connection import FAILURES
from millstream.shared.checks.connection_reader import kind_of
from millstream.shared.checks.facts import (
    ConnectionFailure,
    Fact,
    Facts,
    Latency,
    ServerInfo,
)
from millstream.shared.checks.problem import Severity
from millstream.shared.checks.table import CHECKS, judge
from unit.broken_deployments import DEPLOYMENTS
from unit.broken_servers import SERVERS
from unit.checks import (
    FINE,
    TARGET,
    not_fine,
    with_facts,
)

W: Final = Severity.WARNING
BROKEN: Final = SERVERS + DEPLOYMENTS


def test_a_deployment_without_problems_is_fine_in_all_checks() -> None:
    assert [(result.check.name, result.status) for result in judge(FINE)] == [
        (check.name, "fine") for check in CHECKS
    ]


@pytest.mark.parametrize(
    ("facts", "name", "severity", "what", "mend"),
    BROKEN,
    ids=[f"{name}-{severity}-{number}" for number, (_, name, severity, _, _) in enumerate(BROKEN)],
)
def test_one_check_reports_what_is_wrong_how_bad_it_is_and_what_solves_it(
    facts: Facts, name: str, severity: Severity, what: str, mend: str
) -> None:
    implied = {"due-runs": "workers", "unserved-graphs": "workers"}.get(name)  # no worker at all
    [result] = [each for each in not_fine(facts) if each.check.name != implied]
    assert (result.check.name, result.status) == (name, severity)
    [problem] = result.problems
    assert what in problem.what
    assert mend in problem.mend
    for sentence in (problem.what, problem.why, problem.mend):
        assert sentence == sentence.strip()
        assert not sentence.endswith(".")
    assert problem.text.startswith(problem.what)
    assert problem.text.endswith(f"To correct this: {problem.mend}.")


def test_each_severity_of_each_check_has_a_case() -> None:
    cases = {(name, severity) for _, name, severity, _, _ in BROKEN}
    info_is_denied = {("info", W)}
    assert cases | info_is_denied == {
        (c.name, severity) for c in CHECKS for severity in c.severities
    }


def test_a_denied_info_is_a_warning_and_what_needs_it_is_not_checked() -> None:
    reason = "the Redis user 'ms' may not use INFO (ACL SETUSER ms +info allows it)"
    facts = replace(FINE, info=Fact(reason=reason, is_denied=True))
    results = {result.check.name: result for result in not_fine(facts)}
    [problem] = results.pop("info").problems
    assert problem.severity is W
    assert problem.mend == "ACL SETUSER ms +info"
    assert {"version", "memory", "eviction", "disk", "fork"} <= results.keys()
    assert {result.not_checked for result in results.values()} == {reason}
    assert not any(result.problems for result in results.values())


def test_only_what_needs_a_denied_config_is_not_checked() -> None:
    facts = replace(FINE, config=Fact(reason="the Redis user may not use CONFIG GET"))
    assert {result.check.name for result in not_fine(facts)} == {
        "replicas", "idle-timeout", "buffers",
    }  # fmt: skip


def test_without_any_fact_no_check_fails() -> None:
    results = judge(Facts())
    assert len(results) == len(CHECKS)
    assert not any(result.problems for result in results)


def test_a_single_slow_round_trip_of_a_hundred_does_not_count() -> None:
    assert Latency((0.001,) * 99 + (5.0,), 0.0).percentile(0.99) == 0.001
    assert Latency((0.001,) * 98 + (5.0,) * 2, 0.0).percentile(0.99) == 5.0
    assert Latency((0.001,), 0.0).percentile(0.99) == 0.001


def test_names_are_unique_and_each_check_is_described_in_one_sentence() -> None:
    assert len({check.name for check in CHECKS}) == len(CHECKS)
    for check in CHECKS:
        assert re.fullmatch(r"[a-z]+([.-][a-z]+)*", check.name)
        assert check.description.endswith(".")
        assert len(check.description) <= 110


@pytest.mark.parametrize("kind", FAILURES)
def test_each_failure_to_connect_names_the_server_and_the_error(kind: str) -> None:
    facts = with_facts(failure=ConnectionFailure(kind, "the {error}."))
    [problem] = next(result for result in judge(facts) if result.check.name == "reachable").problems
    assert problem.severity is Severity.ERROR
    assert (TARGET.url in problem.what) == (kind != "url")
    assert "the {error}" in problem.why


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ConnectionRefusedError("Error 111 connecting to h:1. Connect call failed"), "unreachable"),
        (OSError("Error -2 connecting to nowhere:6379. Name or service not known."), "name"),
        (OSError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: expired"), "certificate"),
        (OSError("[SSL: WRONG_VERSION_NUMBER] wrong version number"), "tls"),
        (OSError("[SSL: CERTIFICATE_VERIFY_FAILED] Hostname mismatch, not valid for 'h'"), "host"),
        (OSError("Connection closed by server."), "closed"),
        (OSError("Timeout connecting to server"), "silent"),
        (ValueError("max number of clients reached"), "clients"),
        (ValueError("DB index is out of range"), "database"),
        (ValueError("No sentinel knows the address of the master 'main': refused"), "sentinel"),
        (ValueError("DENIED Redis is running in protected mode"), "protected"),
        (ValueError("invalid username-password pair or user is disabled."), "login"),
    ],
)  # fmt: skip
def test_a_failure_to_connect_has_a_kind(error: Exception, kind: str) -> None:
    assert kind_of(error) == kind
    assert kind in FAILURES


@pytest.mark.parametrize("fields", [{"redis_version": "unstable"}, {}])
def test_fields_that_managed_redis_hides_count_as_correct(fields: dict[str, Any]) -> None:
    assert not_fine(with_facts(info=ServerInfo(fields))) == []
