"""The ledger finds what is missing in invented histories, each with one defect."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from chaos import chain
from chaos.ledger import (
    Entry,
    History,
    InjectedFault,
    Ledger,
    Run,
    Violation,
    check_run,
    reconcile,
    recoveries,
)
from chaos.report import LOSSES, table

GOAL = 2


def state(*steps: str) -> dict[str, Any]:
    seal = ""
    for step in steps:
        seal = chain.link(seal, step)
    return {"steps": list(steps), "seal": seal}


def history(*events: tuple[str, Any], status: str = "success") -> History:
    entries = [Entry(f"1-{n}", event, data, 1000 * n) for n, (event, data) in enumerate(events, 1)]
    return History("r", "t", status, token="a", entries=entries)


def custom(number: int) -> tuple[str, Any]:
    return "custom", {"token": "a", "number": number}


def metadata(attempt: int) -> tuple[str, Any]:
    return "metadata", {"run_id": "r", "attempt": attempt}


END = ("end", {"status": "success"})
NUMBERS = [custom(number) for number in range(GOAL * chain.EVENTS)]
VALUES = ("values", state("a/0/1", "a/1/1"))
WHOLE = history(metadata(1), *NUMBERS, VALUES, END)
# A worker died in the second step, which was then taken again.
RESUMED = history(
    metadata(1), *NUMBERS[:5], metadata(2), *NUMBERS[3:], ("values", state("a/0/1", "a/1/2")), END
)


def follower(seen: History | None, **fields: Any) -> Run:
    """Returns a run whose client received a history."""
    run = Run("a", "t", "walk", GOAL, "stream", run_id="r", **fields)
    for entry in seen.entries if seen else ():
        run.see(entry.event, entry.data, entry.id)
    return run


def kinds(violations: list[Violation]) -> set[str]:
    return {violation.kind for violation in violations}


def without(whole: History, *gone: int) -> History:
    partial = copy.deepcopy(whole)
    partial.entries = [entry for n, entry in enumerate(partial.entries) if n not in gone]
    return partial


@pytest.mark.parametrize("whole", [WHOLE, RESUMED])
def test_a_complete_run_has_no_violation(whole: History) -> None:
    assert check_run(follower(whole), whole, {1: 0}) == []


def test_a_later_attempt_may_repeat_events() -> None:
    totals = reconcile(Ledger([follower(RESUMED)]), [RESUMED], {"a": {1: 0, 2: 1}})
    assert totals.violations == []
    assert (totals.resumed, totals.repeated, totals.admitted) == (1, 2, 1)
    assert totals.ended == {"success": 1}


def poisoned(status: str, error: str) -> tuple[Run, History]:
    """Returns a run of the graph `poison` that ended with that status and error."""
    run = follower(None, refused=True)
    run.graph = "poison"
    ended = history(metadata(1), ("end", {"status": status}), status=status)
    ended.error = error
    return run, ended


def test_an_exhausted_poison_run_is_no_violation() -> None:
    assert check_run(*poisoned("error", '{"error":"AttemptsExhausted"}'), {}) == []


WRONG: dict[str, tuple[str, Callable[[], tuple[Run, History | None]]]] = {
    "Redis holds nothing": ("lost runs", lambda: (follower(WHOLE), None)),
    "it is still running": (
        "lost runs",
        lambda: (follower(None), history(metadata(1), status="running")),
    ),
    "its record is gone": ("lost runs", lambda: (follower(WHOLE), history(*NUMBERS, status=""))),
    "it failed": (
        "failed runs",
        lambda: (follower(None, refused=True), history(("end", {"status": "error"}), status="error")),
    ),
    "poison came through": ("failed runs", lambda: poisoned("success", "")),
    "poison failed in another way": (
        "failed runs",
        lambda: poisoned("error", '{"error":"ValueError"}'),
    ),
    "nobody cancelled it": (
        "failed runs",
        lambda: (follower(None), history(("end", {"status": "interrupted"}), status="interrupted")),
    ),
    "two ends": ("wrong ends", lambda: (follower(WHOLE), history(metadata(1), *NUMBERS, VALUES, END, END))),
    "no end": ("wrong ends", lambda: (follower(WHOLE), without(WHOLE, 8))),
    "something after the end": (
        "wrong ends",
        lambda: (follower(WHOLE), history(metadata(1), *NUMBERS, VALUES, END, VALUES)),
    ),
    "an end of another kind": (
        "wrong ends",
        lambda: (follower(WHOLE), history(metadata(1), *NUMBERS, VALUES, ("end", {"status": "error"}))),
    ),
    "an older attempt afterwards": (
        "wrong ends",
        lambda: (follower(None), history(metadata(2), metadata(1), *NUMBERS, VALUES, END)),
    ),
    "a number twice in an attempt": (
        "duplicated events",
        lambda: (follower(None), history(metadata(1), *NUMBERS, NUMBERS[-1], VALUES, END)),
    ),
    "a number never came": ("lost events", lambda: (follower(None), without(WHOLE, 3))),
    "the last number never came": ("lost events", lambda: (follower(None), without(WHOLE, 6))),
    "lost between two attempts": ("lost events", lambda: (follower(None), without(RESUMED, 4, 5, 7))),
    "its client missed one": ("lost events", lambda: (follower(without(WHOLE, 3)), WHOLE)),
    "its client missed the first": ("lost events", lambda: (follower(without(WHOLE, 0)), WHOLE)),
    "its client saw no end": ("stuck clients", lambda: (follower(without(WHOLE, 8)), WHOLE)),
    "its client saw one twice": (
        "duplicated events",
        lambda: (follower(history()), WHOLE),
    ),
    "its client saw other data": (
        "lost events",
        lambda: (follower(history(metadata(1), custom(7), *NUMBERS[1:], VALUES, END)), WHOLE),
    ),
    "a step is missing": (
        "wrong states",
        lambda: (follower(None), history(metadata(1), *NUMBERS, ("values", state("a/0/1")), END)),
    ),
    "a step is there twice": (
        "wrong states",
        lambda: (
            follower(None),
            history(metadata(1), *NUMBERS, ("values", state("a/0/1", "a/0/1", "a/1/1")), END),
        ),
    ),
    "the seal is broken": (
        "wrong states",
        lambda: (
            follower(None),
            history(metadata(1), *NUMBERS, ("values", {**state("a/0/1", "a/1/1"), "seal": "0"}), END),
        ),
    ),
    "an older attempt wrote last": (
        "wrong states",
        lambda: (
            follower(None),
            history(metadata(1), *NUMBERS, ("values", state("a/0/2", "a/1/1")), END),
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_each_defect_is_reported(name: str) -> None:
    kind, make = WRONG[name]
    run, held = make()
    if name == "its client saw one twice":
        for entry in [*WHOLE.entries[:4], *WHOLE.entries[3:]]:
            run.see(entry.event, entry.data, entry.id)
    assert kind in kinds(check_run(run, held, {}))


def test_a_write_of_an_older_attempt_after_a_newer_one_began_is_a_violation() -> None:
    assert check_run(follower(RESUMED), RESUMED, {1: 0, 2: 1}) == []
    assert kinds(check_run(follower(RESUMED), RESUMED, {1: 0, 2: 0})) == {"wrong states"}


def test_a_wait_that_returns_another_state_is_a_violation() -> None:
    run = Run("a", "t", "walk", GOAL, "wait", run_id="r", answered=True, answer=VALUES[1])
    assert check_run(run, WHOLE, {}) == []
    run.answer = state("a/0/1")
    assert kinds(check_run(run, WHOLE, {})) == {"wrong states"}


def test_a_rolled_back_run_may_have_no_record() -> None:
    held = history(metadata(1), *NUMBERS[:3], ("end", {"status": "interrupted"}), status="")
    run = follower(without(held, 4), cancels={"rollback"}, vanished=True)
    assert check_run(run, held, {}) == []


def test_a_request_that_admitted_no_run_is_no_violation() -> None:
    totals = reconcile(Ledger([Run("a", "t", "walk", GOAL, "stream", refused=True)]), [], {})
    assert (totals.violations, totals.sent, totals.admitted) == ([], 1, 0)


def test_a_run_unknown_to_its_client_is_checked_too() -> None:
    unknown = Run("a", "t", "walk", GOAL, "stream", refused=True)
    assert reconcile(Ledger([unknown]), [WHOLE], {}).violations == []
    assert kinds(reconcile(Ledger([unknown]), [without(WHOLE, 8)], {}).violations) == {"wrong ends"}


def test_one_request_with_two_runs_is_a_violation() -> None:
    other = copy.deepcopy(WHOLE)
    other.run_id = "r2"
    totals = reconcile(Ledger([follower(WHOLE)]), [WHOLE, other], {})
    assert kinds(totals.violations) == {"duplicated runs"}


def test_a_run_without_a_request_is_a_violation() -> None:
    assert kinds(reconcile(Ledger(), [WHOLE], {}).violations) == {"lost runs"}


def test_recovery_lasts_from_the_fault_to_the_next_attempt() -> None:
    injected_faults = [
        InjectedFault("kill worker", 5500, held=frozenset({"r"})),
        InjectedFault("kill worker", 5500, held=frozenset({"another"})),
        InjectedFault("freeze worker", 99_000, held=frozenset({"r"})),
    ]
    assert [seconds for seconds, _ in recoveries(injected_faults, RESUMED)] == [1.5]
    thawed = InjectedFault("freeze worker", 1500, held=frozenset({"r"}), until=3500)
    assert [seconds for seconds, _ in recoveries([thawed], RESUMED)] == [2.5]
    totals = reconcile(Ledger([follower(RESUMED)], injected_faults), [RESUMED], {})
    assert (totals.slowest, totals.slowest_of) == (1.5, "a: kill worker, 0 left")


def test_the_table_has_a_row_for_each_loss() -> None:
    ledger = Ledger([follower(WHOLE)])
    ledger.add_violation("stuck threads", "thread t: busy")
    ledger.add_violation("leaked keys", "ms:{t}:thread")
    text = table(ledger, reconcile(ledger, [without(WHOLE, 3)], {}), bold=False)
    counts = {row[2:20].strip(): (row[20:].split() or [""])[0] for row in text.splitlines()}
    assert LOSSES.keys() <= counts.keys()
    for kind in ("stuck threads", "leaked keys", "lost events"):
        assert int(counts[kind]) >= 1
    assert counts["lost runs"] == "0"
