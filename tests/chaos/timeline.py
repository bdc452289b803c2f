"""The timeline of a run with violations: its events and the faults of that time, in one line."""

from collections.abc import Iterable

from chaos.ledger import Entry, History, InjectedFault

MAX_ENTRIES = 60


def timeline(history: History, injected_faults: Iterable[InjectedFault]) -> str:
    """Returns a run's events and faults, with the seconds since its first event."""
    if not history.entries:
        return "no events"
    first, last = history.entries[0].at, history.entries[-1].at
    timed = [(entry.at, _label(entry)) for entry in history.entries]
    timed += [
        (
            fault.at,
            f"[{fault.kind} {fault.target}{' that held it' if fault.held & {history.run_id} else ''}]",
        )
        for fault in injected_faults
        if first - 1000 <= fault.at <= last
    ]
    entries: list[str] = []
    before = None
    for at, label in sorted(timed, key=lambda pair: pair[0]):
        second = f"{(at - first) / 1000:.1f} s:"
        entries.append(label if second == before else f"{second} {label}")
        before = second
    if len(entries) > MAX_ENTRIES:
        entries = [*entries[: MAX_ENTRIES // 2], "…", *entries[-MAX_ENTRIES // 2 :]]
    return " ".join(entries)


def _label(entry: Entry) -> str:
    if entry.event == "metadata":
        return f"ATTEMPT {entry.data['attempt']}"
    if entry.event == "custom":
        return str(entry.data["number"])
    if entry.event == "values":
        return f"state({len(entry.data.get('steps') or ())})"
    return f"{entry.event}({entry.data})"
