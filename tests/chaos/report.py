"""The report: a table of totals and losses, and the timelines of runs with violations."""

import sys
from collections import Counter

from chaos.ledger import Ledger, Totals
from chaos.timeline import timeline

# Each must be 0.
LOSSES = {
    "lost runs": "admitted, and never ended",
    "failed runs": "ended without success, and without a cancel",
    "wrong ends": "not exactly one end, or not the last event",
    "duplicated runs": "one request, two runs",
    "duplicated events": "visible twice in one attempt",
    "lost events": "missed by a client, or never written",
    "wrong states": "steps lost, doubled or mixed up",
    "stuck threads": "busy, and nothing runs",
    "stuck clients": "never got the end",
    "leaked keys": "left after all threads were deleted",
    "fallen processes": "ended by themselves, or not on SIGTERM",
    "surprises": "responses that a client does not expect",
}


def table(ledger: Ledger, totals: Totals, *, bold: bool) -> str:
    """Returns the table."""
    injected_faults = Counter(fault.kind for fault in ledger.injected_faults)
    ended = ", ".join(f"{count} {status}" for status, count in totals.ended.most_common())
    rows = [
        (
            "faults",
            f"{len(ledger.injected_faults)}: "
            + ", ".join(f"{n} {k}" for k, n in sorted(injected_faults.items())),
        ),
        ("runs sent", f"{totals.sent}, of them {totals.refused} not admitted"),
        ("ended", ended),
        (
            "resumed",
            f"{totals.resumed} runs, {totals.repeated} events repeated by a later attempt",
        ),
        ("events", f"{totals.events}; clients reconnected by themselves {totals.drops} times"),
        (
            "slowest recovery",
            f"{totals.slowest:.2f} s ({totals.slowest_of or 'none was needed'})",
        ),
    ]
    lines = [f"  {name:<18}{value}" for name, value in rows]
    for kind, meaning in LOSSES.items():
        line = f"  {kind:<18}{totals.count(kind):<6}{meaning}"
        lines.append(_coloured(line, bold, totals.count(kind) == 0))
    others = [f for f in totals.violations if f.kind not in LOSSES]
    assert not others, others
    return "\n".join(lines)


def timelines(ledger: Ledger, totals: Totals, limit: int = 10) -> str:
    """Returns the timelines of the runs with violations."""
    runs = list(totals.runs_with_violations.items())[:limit]
    return "\n".join(
        f"  {name}: {timeline(history, ledger.injected_faults)}" for name, history in runs
    )


def _coloured(line: str, bold: bool, good: bool) -> str:
    return f"\033[{32 if good else 31}m{line}\033[0m" if bold else line


def say(text: str, end: str = "\n") -> None:
    """Prints at once, to a file too."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def losses(totals: Totals, limit: int = 40) -> str:
    """Returns the violations, one a line."""
    lines = [f"  {violation.kind}: {violation.what}" for violation in totals.violations[:limit]]
    if len(totals.violations) > limit:
        lines.append(f"  … and {len(totals.violations) - limit} more")
    return "\n".join(lines)
