"""The text that `millstream dev` prints when all processes are ready."""

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import click


@dataclass(frozen=True, slots=True)
class Facts:
    """The content of the banner."""

    version: str
    url: str
    graphs: Sequence[str]
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
        "Redis": facts.redis,
        "Workers": f"{facts.workers}, each with up to {facts.jobs} runs at a time",
        "Reload": facts.reload,
    }
    title = click.style(f"Millstream {facts.version} is ready", bold=True, fg="green")
    lines = ["", f"  {title}", ""]
    lines += [f"  {click.style(f'{name:<8}', bold=True)} {text}" for name, text in rows.items()]
    if facts.graphs:
        lines += ["", f"  {_curl(facts.url, facts.graphs[0])}"]
    return "\n".join([*lines, "", "  Ctrl-C stops everything.", ""])


def _curl(url: str, graph: str) -> str:
    body = {
        "assistant_id": graph,
        "input": {"messages": [{"role": "user", "content": "hi"}]},
        "stream_mode": "values",
    }
    data = shlex.quote(json.dumps(body, ensure_ascii=False))
    return f"curl -N {url}/runs/stream -H 'Content-Type: application/json' -d {data}"
