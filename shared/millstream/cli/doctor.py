"""`millstream doctor`: reads the facts, makes all checks and reports them."""

import asyncio
import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from millstream.cli.doctor_view import as_json, print_results
from millstream.cli.errors import CliError, SetupError
from millstream.cli.processes import operator_redis_url, require_extra, try_graphs_command
from millstream.shared.checks.facts import Fact, Facts, GraphImport, ProjectState
from millstream.shared.checks.problem import Severity
from millstream.shared.checks.project_reader import (
    read_api_answers,
    read_environment,
    read_issuer,
    read_project_state,
)
from millstream.shared.checks.reader import read_redis
from millstream.shared.checks.table import judge
from millstream.shared.langgraph_json import CONFIG
from millstream.shared.settings import Settings

IMPORT_SECONDS: Final = 60.0  # for all graphs of a project
RESULT: Final = "millstream-graphs "  # the line that worker/try_graphs.py writes
MAX_LAST_LINES: Final = 5  # of a process that crashed


@dataclass(frozen=True, slots=True)
class DoctorOptions:
    """The options of `millstream doctor`."""

    redis_url: str | None
    config: Path | None
    """None: langgraph.json of this folder, if there is one."""
    import_graphs: bool
    json: bool
    show_all: bool
    fail_on: str


def run(options: DoctorOptions, environ: Mapping[str, str]) -> int:
    """Checks everything and prints the results; returns the exit status: 1 if a problem is as bad as `fail_on`."""
    path = _find_project(options.config)
    facts = asyncio.run(_read_facts(options, path, environ))
    results = judge(facts)
    if options.json:
        click.echo(json.dumps(as_json(facts, results), indent=2, ensure_ascii=False))
    else:
        print_results(facts, results, show_all=options.show_all)
    severities = list(Severity)
    bad = set(severities[: severities.index(Severity(options.fail_on)) + 1])
    return int(any(p.severity in bad for result in results for p in result.problems))


def _find_project(config: Path | None) -> Path | None:
    """Returns the path of langgraph.json; None if none is named and this folder has none."""
    path = (config or Path(CONFIG)).absolute()
    if path.is_dir():
        path = path / CONFIG
    if not path.is_file():
        if config is not None:
            raise CliError(f"There is no {path}.")
        return None
    return path


async def _read_facts(
    options: DoctorOptions, path: Path | None, environ: Mapping[str, str]
) -> Facts:
    project, variables = ProjectState(None), dict[str, str]()
    if path is not None:
        project, variables = await asyncio.to_thread(read_project_state, path, environ)
    environ = {**variables, **environ}  # as a worker has it
    environment = read_environment(environ)
    url = operator_redis_url(options.redis_url, environ)
    redis, graph_import, answers, issuer = await asyncio.gather(
        read_redis(url),
        _import_graphs(options, path, project),
        read_api_answers(environment.settings) if environment.settings else _no_answers(),
        read_issuer(environment.settings or Settings()),
    )
    return Facts(
        environment=Fact(environment),
        project=Fact(project),
        graph_import=graph_import,
        api_answers=Fact(answers),
        issuer=Fact(issuer),
        **redis,
    )


async def _no_answers() -> tuple[Any, ...]:
    return ()


async def _import_graphs(
    options: DoctorOptions, path: Path | None, project: ProjectState
) -> Fact[GraphImport]:
    """Imports the project's graphs in a process of its own, which is killed once it has reported."""
    if path is None:
        return Fact(GraphImport())
    if not options.import_graphs:
        return Fact(reason="--no-import")
    if project.file is None:
        return Fact(reason="langgraph.json can't be used")
    try:
        require_extra("worker")
    except SetupError as error:
        return Fact(reason=error.message.partition("\n")[0].rstrip("."))
    process = await asyncio.create_subprocess_exec(
        *try_graphs_command(path),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    lines: list[str] = []
    try:
        async with asyncio.timeout(IMPORT_SECONDS):
            assert process.stdout is not None
            async for line in process.stdout:
                lines.append(line.decode(errors="replace").rstrip())
                if lines[-1].startswith(RESULT):
                    return Fact(GraphImport(**json.loads(lines[-1].removeprefix(RESULT))))
            status = await process.wait()
    except TimeoutError:
        return Fact(GraphImport(f"The graphs are not imported after {IMPORT_SECONDS:.0f} s"))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    last = "\n".join(line for line in lines if line)[-2000:].splitlines()[-MAX_LAST_LINES:]
    return Fact(
        GraphImport("\n".join([f"The import of the graphs ended with status {status}:", *last]))
    )
