"""The table of all checks, in the order in which they are reported."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from millstream.shared.checks import authentication, connection, deployment, project, server
from millstream.shared.checks.facts import Facts, UnreadError
from millstream.shared.checks.problem import Problem, Severity

E, W, N = Severity.ERROR, Severity.WARNING, Severity.NOTE


class Group(StrEnum):
    """What a check is about."""

    CONNECTION = "Connection"
    SERVER = "Redis server"
    PERMISSIONS = "Redis user"
    DEPLOYMENT = "Queues and runs"
    PROJECT = "Project and settings"
    AUTHENTICATION = "Authentication"


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: stable: the JSON of `millstream doctor` has it.
        severities: of the problems that it may report.
        judge: a pure function of the facts, whose docstring is the check's description. It raises UnreadError if a
            fact that it needs was not read.
        at_start: whether APIs and workers make it too, when they start.
    """

    name: str
    group: Group
    severities: tuple[Severity, ...]
    judge: Callable[[Facts], Iterator[Problem]]
    at_start: bool = False

    @property
    def description(self) -> str:
        """What it finds out, in one sentence."""
        return (self.judge.__doc__ or "").partition("\n")[0]


C, R, P, Q, L, A = Group
CHECKS: Final = (
    Check("reachable", C, (E,), connection.reachable),
    Check("round-trip", C, (W,), connection.round_trip),
    Check("clock", C, (W,), connection.clock),
    Check("certificate", C, (W,), connection.certificate),
    Check("version", R, (E,), server.version, at_start=True),
    Check("cluster", R, (E,), server.cluster, at_start=True),
    Check("replica", R, (E,), server.replica),
    Check("replicas", R, (E, W), server.replicas),
    Check("eviction", R, (W,), server.eviction, at_start=True),
    Check("evicted-keys", R, (E,), server.evicted),
    Check("memory", R, (E, W, N), server.memory),
    Check("persistence", R, (W, N), server.persistence, at_start=True),
    Check("disk", R, (E,), server.disk),
    Check("fork", R, (W,), server.fork),
    Check("connections", R, (E, W), server.connections),
    Check("rejected-connections", R, (W,), server.rejected),
    Check("idle-timeout", R, (W,), server.idle_timeout),
    Check("buffers", R, (W,), server.buffers),
    Check("info", P, (W,), server.info_allowed, at_start=True),
    Check("permissions", P, (E, N), server.permissions),
    Check("writes", P, (E,), server.writes),
    Check("due-runs", Q, (E,), deployment.due_without_worker),
    Check("workers", Q, (W, N), deployment.workers),
    Check("versions", Q, (W, N), deployment.versions),
    Check("encryption-keys", Q, (W, N), deployment.encryption_keys),
    Check("unserved-runs", Q, (W,), deployment.unserved_runs),
    Check("unserved-graphs", Q, (W, N), deployment.unserved_graphs),
    Check("lapsed-leases", Q, (W, N), deployment.lapsed_leases),
    Check("stuck-runs", Q, (W,), deployment.stuck_runs),
    Check("stuck-threads", Q, (W, N), deployment.stuck_threads),
    Check("crons", Q, (W,), deployment.crons),
    Check("webhooks", Q, (W,), deployment.webhooks),
    Check("other-keys", Q, (N,), deployment.other_keys),
    Check("settings", L, (E, W), project.settings_valid),
    Check("contradictions", L, (W, N), project.settings_agree),
    Check("langgraph.json", L, (E, N), project.langgraph_json),
    Check("paths", L, (E, W), project.paths),
    Check("env", L, (W,), project.env_file),
    Check("graphs", L, (E,), project.graphs_import),
    Check("api-urls", L, (W, N), project.api_urls),
    Check("open-apis", A, (W, N), authentication.open_apis),
    Check("issuer", A, (E,), authentication.issuer),
    Check("api-keys", A, (W, N), authentication.api_keys),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Result:
    """What one check found.

    Attributes:
        problems: empty if nothing is wrong.
        not_checked: why the check could not be made; '' if it was.
    """

    check: Check
    problems: tuple[Problem, ...]
    not_checked: str = ""

    @property
    def status(self) -> str:
        """`fine`, `not_checked`, or the worst severity."""
        if self.not_checked:
            return "not_checked"
        return next((s for s in Severity if s in {p.severity for p in self.problems}), "fine")


def judge(facts: Facts, checks: Iterable[Check] = CHECKS) -> list[Result]:
    """Makes the checks; returns a result for each."""
    return [_judge(check, facts) for check in checks]


def _judge(check: Check, facts: Facts) -> Result:
    problems: list[Problem] = []
    try:
        problems.extend(check.judge(facts))
    except UnreadError as unread:
        # A check may have found something before it lacked a fact.
        return Result(check, tuple(problems), "" if problems else str(unread))
    return Result(check, tuple(problems))


def table() -> str:
    """Returns the Markdown table of the checks for docs/operations.md."""
    rows = ["| Check | What it does | Reports | At start too |", "|---|---|---|---|"]
    rows += [
        f"| `{check.name}` | {check.description} | {', '.join(check.severities)} | "
        f"{'yes' if check.at_start else ''} |"
        for check in CHECKS
    ]
    return "\n".join(rows) + "\n"
