"""The text that `millstream dev` prints when all processes are ready."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import click

from millstream.shared.rules.auth_kinds import AuthKind


@dataclass(frozen=True, slots=True)
class Facts:
    """The content of the banner."""

    version: str
    url: str
    graphs: Sequence[str]
    auth: str
    """The kinds of credentials that the API accepts, as in AUTH_TYPE."""
    redis: str
    workers: int
    jobs: int
    """Runs that one worker executes at a time."""
    reload: str


def banner(facts: Facts) -> str:
    """Returns the banner with colours, which click removes without a TTY."""
    rows = {
        "API": facts.url,
        "Docs": f"{facts.url}/docs",
        "Graphs": ", ".join(facts.graphs) or "none",
        "Auth": "none: every client may do everything"
        if facts.auth == AuthKind.NOOP
        else facts.auth,
        "Redis": facts.redis,
        "Workers": f"{facts.workers}, each with up to {facts.jobs} runs at a time",
        "Reload": facts.reload,
    }
    title = click.style(f"Millstream {facts.version} is ready", bold=True, fg="green")
    lines = ["", f"  {title}", ""]
    lines += [f"  {click.style(f'{name:<8}', bold=True)} {text}" for name, text in rows.items()]
    if facts.graphs:
        lines += ["", f"  {_curl(facts, facts.graphs[0])}"]
    return "\n".join([*lines, "", "  Ctrl-C stops everything.", ""])


def _curl(facts: Facts, graph: str) -> str:
    body = {
        "assistant_id": graph,
        "input": {"messages": [{"role": "user", "content": "hi"}]},
        "stream_mode": "values",
    }
    data = shlex.quote(json.dumps(body, ensure_ascii=False))
    key = "" if facts.auth == AuthKind.NOOP else " -H 'Authorization: Bearer KEY'"
    return f"curl -N {facts.url}/runs/stream{key} -H 'Content-Type: application/json' -d {data}"
