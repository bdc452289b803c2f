"""The table."""

import sys
from collections import Counter

from chaos.ledger import Accounts, Ledger
from chaos.story import story

# Each must be 0.
LOSSES = {
    "lost runs": "admitted, and never ended",
    "failed runs": "ended in a way that nobody asked for",
    "wrong ends": "not exactly one end, or not the last event",
    "duplicated runs": "one request, two runs",
    "duplicated events": "visible twice in one attempt",
    "lost events": "missed by a client, or never written",
    "wrong states": "steps lost, doubled or mixed up",
    "stuck threads": "busy, and nothing runs",
    "stuck clients": "never saw the end",
    "leaked keys": "left after all threads were deleted",
    "fallen processes": "ended by themselves, or not when told",
    "surprises": "answers that a client can't make sense of",
}


def table(ledger: Ledger, accounts: Accounts, *, bold: bool) -> str:
    """Returns what happened, row by row."""
    blows = Counter(blow.kind for blow in ledger.blows)
    ended = ", ".join(f"{count} {status}" for status, count in accounts.ended.most_common())
    rows = [
        (
            "troubles",
            f"{len(ledger.blows)}: " + ", ".join(f"{n} {k}" for k, n in sorted(blows.items())),
        ),
        ("runs sent", f"{accounts.sent}, of them {accounts.refused} not admitted"),
        ("ended", ended),
        (
            "resumed",
            f"{accounts.resumed} runs, {accounts.repeated} events shown again by a later attempt",
        ),
        ("events", f"{accounts.events}; clients came back by hand {accounts.drops} times"),
        (
            "slowest recovery",
            f"{accounts.slowest:.2f} s ({accounts.slowest_of or 'none was needed'})",
        ),
    ]
    lines = [f"  {name:<18}{value}" for name, value in rows]
    for kind, meaning in LOSSES.items():
        line = f"  {kind:<18}{accounts.count(kind):<6}{meaning}"
        lines.append(_coloured(line, bold, accounts.count(kind) == 0))
    others = [f for f in accounts.faults if f.kind not in LOSSES]
    assert not others, others
    return "\n".join(lines)


def stories(ledger: Ledger, accounts: Accounts, most: int = 10) -> str:
    """Returns what happened to the runs that have faults."""
    wronged = list(accounts.wronged.items())[:most]
    return "\n".join(f"  {name}: {story(history, ledger.blows)}" for name, history in wronged)


def _coloured(line: str, bold: bool, good: bool) -> str:
    return f"\033[{32 if good else 31}m{line}\033[0m" if bold else line


def say(text: str, end: str = "\n") -> None:
    """Prints at once, also into a file."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def losses(accounts: Accounts, most: int = 40) -> str:
    """Returns the faults one by one."""
    lines = [f"  {fault.kind}: {fault.what}" for fault in accounts.faults[:most]]
    if len(accounts.faults) > most:
        lines.append(f"  … and {len(accounts.faults) - most} more")
    return "\n".join(lines)
