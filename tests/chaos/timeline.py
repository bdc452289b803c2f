"""The story of one run that went wrong: its events and the troubles of its time, in one line."""

from collections.abc import Iterable

from chaos.ledger import Entry, History, InjectedFault

MOST = 60  # words


def timeline(history: History, injected_faults: Iterable[InjectedFault]) -> str:
    """Returns what happened to a run, with the seconds since its first event."""
    if not history.entries:
        return "no events"
    first, last = history.entries[0].at, history.entries[-1].at
    told = [(entry.at, _word(entry)) for entry in history.entries]
    told += [
        (
            fault.at,
            f"[{fault.kind} {fault.target}{' that held it' if fault.held & {history.run_id} else ''}]",
        )
        for fault in injected_faults
        if first - 1000 <= fault.at <= last
    ]
    words: list[str] = []
    before = None
    for at, word in sorted(told, key=lambda pair: pair[0]):
        second = f"{(at - first) / 1000:.1f} s:"
        words.append(word if second == before else f"{second} {word}")
        before = second
    if len(words) > MOST:
        words = [*words[: MOST // 2], "…", *words[-MOST // 2 :]]
    return " ".join(words)


def _word(entry: Entry) -> str:
    if entry.event == "metadata":
        return f"ATTEMPT {entry.data['attempt']}"
    if entry.event == "custom":
        return str(entry.data["number"])
    if entry.event == "values":
        return f"state({len(entry.data.get('steps') or ())})"
    return f"{entry.event}({entry.data})"
