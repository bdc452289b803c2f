"""Compares what clients sent and received with what Redis holds: is anything missing?

Nothing here does I/O, so tests can check it with invented histories.
"""

import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from chaos import chain

ENDED = frozenset({"success", "error", "timeout", "interrupted"})


class Seen(NamedTuple):
    """An event as a client received it."""

    id: str
    event: str
    checksum: int


class Entry(NamedTuple):
    """An event as the run's Redis Stream holds it."""

    id: str
    event: str
    data: Any
    at: int  # ms: when it was written, or the last known time before it


class Violation(NamedTuple):
    """A broken guarantee; `kind` is the row of the table that counts it."""

    kind: str
    what: str


def checksum(data: Any) -> int:
    """Returns a short value that stands for an event's data."""
    return zlib.crc32(json.dumps(data, sort_keys=True).encode())


@dataclass
class Run:
    """A run as its client knows it."""

    token: str
    thread_id: str  # '' of a stateless run
    graph: str
    goal: int
    way: str  # stream, wait, background
    run_id: str = ""  # '' until the client learns it
    cancels: set[str] = field(default_factory=set)  # actions that may have hit it
    cancel_on_disconnect: bool = False  # a cut connection may cancel it
    refused: bool = False  # the server did not admit it
    seen: list[Seen] = field(default_factory=list)
    followed: bool = False  # its client received the end
    vanished: bool = False  # its client got a 404 after a rollback
    answered: bool = False  # its client has the response of a wait
    answer: Any = None
    drops: int = 0  # times that its client had to reconnect by itself

    @property
    def last(self) -> str:
        """The event id to reconnect with."""
        return self.seen[-1].id if self.seen else "-1"

    @property
    def is_over(self) -> bool:
        """Whether its client is done."""
        return self.followed or self.vanished or self.answered or self.refused

    def see(self, event: str, data: Any, event_id: str | None) -> None:
        """Records an event."""
        self.seen.append(Seen(event_id or "", event, checksum(data)))
        self.followed = self.followed or event == "end"


@dataclass
class History:
    """A run as Redis holds it after the suite."""

    run_id: str
    thread_id: str
    status: str = ""  # '' when the record is gone
    error: str = ""
    token: str = ""
    entries: Sequence[Entry] = ()

    def attempts(self) -> Iterator[tuple[int, list[Entry]]]:
        """Yields each attempt with its entries; an attempt after a hand-back is a new one."""
        number, part = 0, list[Entry]()
        for entry in self.entries:
            if entry.event == "metadata":
                if part:
                    yield number, part
                number, part = int(entry.data["attempt"]), []
            part.append(entry)
        if part:
            yield number, part

    @property
    def starts(self) -> int:
        """How often a worker started or continued it."""
        return sum(entry.event == "metadata" for entry in self.entries)


@dataclass
class InjectedFault:
    """A fault that the suite injected."""

    kind: str
    at: int  # ms
    target: str = ""
    held: frozenset[str] = frozenset()  # runs that the worker held
    left: int = 0  # ready workers that the fault did not hit
    until: int | None = None  # ms: when it ended by itself, so that the worker could continue


@dataclass
class Ledger:
    """All runs, faults and violations."""

    runs: list[Run] = field(default_factory=list)
    injected_faults: list[InjectedFault] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    violations: list[Violation] = field(default_factory=list)  # noticed during the suite

    def add_violation(self, kind: str, what: str) -> None:
        self.violations.append(Violation(kind, what))


# ── Checking one run ────────────────────────────────────────────────────────────────────────


def check_run(run: Run, history: History | None, step_counts: Mapping[int, int]) -> list[Violation]:
    """Returns the violations of a run; `step_counts` has one count for each attempt (step_counts.py)."""
    if history is None:
        if not run.run_id:
            return []  # it was never admitted
        return [Violation("lost runs", f"{_name(run)} was admitted, and Redis holds nothing of it")]
    violations = [
        *_its_end(run, history),
        *_its_numbers(run, history),
        *_its_client(run, history),
        *(_its_state(run, history, step_counts) if history.status == "success" else ()),
    ]
    return [Violation(kind, f"{_name(run)}: {what}") for kind, what in violations]


def _name(run: Run) -> str:
    return f"{run.token} ({run.way} of {run.graph}, run {run.run_id or 'unknown'})"


def _its_end(run: Run, history: History) -> Iterator[tuple[str, str]]:
    status = history.status
    if status == "":
        if "rollback" not in run.cancels:
            yield "lost runs", "its record is gone, without a rollback"
        status = "interrupted"
    elif status not in ENDED:
        yield "lost runs", f"it is still {status}"
        return
    elif run.graph == "poison" and status == "success":
        yield "failed runs", "it ends its process, but succeeded"
    elif run.graph == "poison" and status == "error" and "AttemptsExhausted" in history.error:
        pass  # its attempts were exhausted, as expected
    elif status in ("error", "timeout"):
        yield "failed runs", f"it ended as {status}: {history.error}"
    elif status == "interrupted" and not (run.cancels or run.cancel_on_disconnect):
        yield "failed runs", "it was interrupted, without a cancel"
    ends = [entry for entry in history.entries if entry.event == "end"]
    if len(ends) != 1 or history.entries[-1] is not ends[0]:
        names = [entry.event for entry in history.entries][-6:]
        yield "wrong ends", f"it has {len(ends)} ends, and its stream closes with {names}"
    elif ends[0].data != {"status": status}:
        yield "wrong ends", f"its stream ends with {ends[0].data}, its record with {status}"


def _its_numbers(run: Run, history: History) -> Iterator[tuple[str, str]]:
    """Checks the numbers of its custom events: none is repeated in an attempt, and none is missing."""
    due, before = 0, 0
    for attempt, part in history.attempts():
        if attempt < before:
            yield "wrong ends", f"attempt {attempt} comes after attempt {before}"
        before = attempt
        events = [entry.data for entry in part if entry.event == "custom"]
        if any(data["token"] != run.token for data in events):
            yield "wrong states", f"it has events of another run: {events}"
        numbers = [data["number"] for data in events]
        if len(set(numbers)) < len(numbers):
            yield "duplicated events", f"attempt {attempt} shows {numbers}"
        elif numbers != sorted(numbers):
            yield "wrong states", f"attempt {attempt} shows {numbers}, out of order"
        for number in numbers:
            if number > due:
                yield "lost events", f"attempt {attempt} shows {number}, and {due} never came"
            due = max(due, number + 1)
    streams = run.way != "wait"  # a wait streams no custom events
    if streams and history.status == "success" and due != run.goal * chain.EVENTS:
        yield "lost events", f"it shows {due} of {run.goal * chain.EVENTS} events"


def _its_client(run: Run, history: History) -> Iterator[tuple[str, str]]:
    """Compares the events that its client received with the stream."""
    held = [Seen(entry.id, entry.event, checksum(entry.data)) for entry in history.entries]
    if any(seen.event == "gap" for seen in run.seen):
        yield "lost events", "its client got a gap"
    ids = [seen.id for seen in run.seen]
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice:
        yield "duplicated events", f"its client got {twice[:3]} more than once"
    elif run.seen != held[: len(run.seen)]:
        missed = [entry for entry in held if entry not in set(run.seen)]
        kind = "lost events" if missed else "wrong states"
        yield kind, f"its client missed {[tuple(entry[:2]) for entry in missed[:4]]} …"
    elif run.followed and len(run.seen) < len(held):
        yield "lost events", f"its client got {len(run.seen)} of {len(held)} events"
    if run.run_id and not run.is_over:
        yield "stuck clients", f"its client got {len(run.seen)} of {len(held)} events, not the end"


def _its_state(
    run: Run, history: History, step_counts: Mapping[int, int]
) -> Iterator[tuple[str, str]]:
    states = [entry.data for entry in history.entries if entry.event == "values"]
    if not states:
        yield "wrong states", "it succeeded, and its stream shows no state"
        return
    if wrong := chain.incomplete(states[-1], run.token, run.goal):
        yield "wrong states", wrong
    if run.answered and run.answer != states[-1]:
        yield "wrong states", f"its client got the state {str(run.answer)[:200]}"
    left = [item.attempt for item in chain.steps_of(states[-1], run.token)]
    for attempt, count in step_counts.items():
        older = sum(number < attempt for number in left)
        if older != count:
            yield (
                "wrong states",
                f"attempt {attempt} started after {count} steps; in the end, older ones had written {older}",
            )


# ── Counting ────────────────────────────────────────────────────────────────────────────────


@dataclass
class Totals:
    """The figures of the table."""

    sent: int = 0
    admitted: int = 0
    refused: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    resumed: int = 0
    repeated: int = 0  # events that a later attempt repeated, as it may
    events: int = 0
    drops: int = 0
    slowest: float = 0.0
    slowest_of: str = ""
    violations: list[Violation] = field(default_factory=list)
    runs_with_violations: dict[str, History] = field(
        default_factory=dict
    )  # by what `_name` calls the run

    def count(self, kind: str) -> int:
        """Returns how many faults there are of a kind."""
        return sum(violation.kind == kind for violation in self.violations)


def reconcile(
    ledger: Ledger, histories: Iterable[History], step_counts: Mapping[str, Mapping[int, int]]
) -> Totals:
    """Returns the totals of all runs that a client or Redis knows."""
    totals = Totals(violations=list(ledger.violations))
    by_id = {run.run_id: run for run in ledger.runs if run.run_id}
    by_token = {run.token: run for run in ledger.runs}
    known: set[str] = set()
    for history in histories:
        run = by_id.get(history.run_id) or by_token.get(history.token)
        if run is None:
            totals.violations.append(
                Violation("lost runs", f"run {history.run_id}: no client sent it")
            )
            continue
        if run.token in known or (history.token and history.token != run.token):
            totals.violations.append(
                Violation("duplicated runs", f"{_name(run)} and {history.run_id}")
            )
            continue
        known.add(run.token)
        if violations := check_run(run, history, step_counts.get(run.token, {})):
            totals.violations += violations
            totals.runs_with_violations[_name(run)] = history
        _count(totals, history)
        for seconds, fault in recoveries(ledger.injected_faults, history):
            if seconds > totals.slowest:
                totals.slowest = seconds
                totals.slowest_of = _meanwhile(ledger.injected_faults, fault, seconds, run)
    for run in ledger.runs:
        totals.sent += 1
        totals.drops += run.drops
        if run.token not in known:
            totals.violations += check_run(run, None, {})
            totals.refused += not run.run_id
    totals.admitted = totals.sent - totals.refused
    return totals


def _meanwhile(
    injected_faults: Iterable[InjectedFault], first: InjectedFault, seconds: float, run: Run
) -> str:
    """Returns the fault that hit a run, the ready workers left, and later faults until it continued."""
    others = [
        f"{other.kind} +{(other.at - first.at) / 1000:.1f} s"
        for other in injected_faults
        if first.at < other.at <= first.at + seconds * 1000
    ]
    hit = f"{run.token}: {first.kind}, {first.left} left"
    return ", then ".join([hit, *others])


def _count(totals: Totals, history: History) -> None:
    totals.ended[history.status or "rolled back"] += 1
    totals.resumed += history.starts > 1
    totals.events += len(history.entries)
    numbers = [entry.data["number"] for entry in history.entries if entry.event == "custom"]
    totals.repeated += len(numbers) - len(set(numbers))


def recoveries(
    injected_faults: Iterable[InjectedFault], history: History
) -> Iterator[tuple[float, InjectedFault]]:
    """Yields each fault that hit the run's worker, with the seconds until the run continued."""
    for fault in injected_faults:
        if history.run_id in fault.held:
            after = [entry for entry in history.entries if entry.at > fault.at]
            again = [
                entry
                for entry in after
                if entry.event in ("metadata", "end")
                or (fault.until is not None and entry.at > fault.until)
            ]
            if again:
                yield (again[0].at - fault.at) / 1000, fault
