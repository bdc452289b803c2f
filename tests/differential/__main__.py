"""Compares Millstream with another server of the API: `make differential REFERENCE=URL [OURS=URL]`.

The reference serves the graphs of this folder's langgraph.json. Without OURS it starts a Millstream.
Prints each difference, then how many lines were compared and how many differ.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from differential.cases import CASES, MODES
from differential.compare import Line, differences
from differential.documented import is_documented, strip_documented
from differential.requests import describe, stream, wait
from harness.processes import FreshFleet
from millstream.cli.embedded import EmbeddedRedis

CONFIG = Path(__file__).with_name("langgraph.json")
AT_ONCE = 6  # cases

Perform = Callable[[httpx.AsyncClient], Awaitable[list[Line]]]


def every_case() -> Iterator[tuple[str, Perform]]:
    """Yields each comparison with its title."""
    for number, case in enumerate(CASES):
        title = f"{number} {case.graph}"
        for mode in MODES:
            for subgraphs in (False, True):
                more = ", subgraphs" if subgraphs else ""
                yield f"{title}, {mode}{more}", partial(stream, case, [mode], subgraphs=subgraphs)
        together = [mode for mode in MODES if mode not in ("messages", "events")]
        yield f"{title}, all modes", partial(stream, case, together, subgraphs=True)
        yield f"{title}, wait", partial(wait, case)
    for graph in sorted({case.graph for case in CASES}):
        yield f"{graph}, described", partial(describe, graph)


async def lines_of(lines: Awaitable[list[Line]]) -> list[Line]:
    """Returns the lines; a broken connection or an invalid response becomes a line `broken`."""
    try:
        return await lines
    except (httpx.HTTPError, ValueError) as error:
        return [("broken", repr(error))]


def broken(lines: list[Line]) -> bool:
    """Returns whether a server did not respond."""
    return [name for name, _ in lines] == ["broken"]


async def compare(reference: str, ours: str, only: str) -> int:
    """Prints the differences and returns their number."""
    slots = asyncio.Semaphore(AT_ONCE)
    totals: Counter[str] = Counter()
    limits = httpx.Limits(max_connections=2 * AT_ONCE)
    async with (
        httpx.AsyncClient(base_url=reference, timeout=60, limits=limits) as one,
        httpx.AsyncClient(base_url=ours, timeout=60, limits=limits) as other,
    ):

        async def compared(title: str, performed: Perform) -> None:
            async with slots:
                its, our = await asyncio.gather(
                    lines_of(performed(one)), lines_of(performed(other))
                )
            if broken(its) and not broken(our):
                totals["unanswered"] += 1
                sys.stdout.write(f"\n{title}\nthe reference breaks the connection\n")
                return
            count, different = differences(
                [strip_documented(line) for line in its], [strip_documented(line) for line in our]
            )
            graph = title.partition(",")[0].rpartition(" ")[2]
            different = [one for one in different if not is_documented(graph, one.ours)]
            totals["lines"] += count
            totals["differences"] += len(different)
            if different:
                sys.stdout.write(f"\n{title}\n" + "".join(f"{line}\n" for line in different))

        async with asyncio.TaskGroup() as group:
            for title, performed in every_case():
                if only in title:
                    group.create_task(compared(title, performed))
    sys.stdout.write(
        f"\n{totals['lines']} lines compared, {totals['differences']} differences; "
        f"the reference did not answer {totals['unanswered']} times\n"
    )
    return totals["differences"]


@contextmanager
def own_system() -> Iterator[str]:
    """Yields the URL of an API with one worker that serves the graphs."""
    with (
        TemporaryDirectory() as folder,
        EmbeddedRedis(Path(folder), appendonly=False) as redis,
        FreshFleet(redis.url, LOG_LEVEL="ERROR") as fleet,
    ):
        fleet.worker(CONFIG).wait_ready()
        yield fleet.api().wait_ready().url


def main() -> None:
    """Exits with 1 if there are differences that docs/api.md does not name."""
    parser = argparse.ArgumentParser(prog="differential")
    parser.add_argument("--reference", required=True, help="URL of the other server")
    parser.add_argument("--ours", help="URL of a Millstream that serves the same graphs")
    parser.add_argument("--only", default="", help="compare only what has this in its title")
    options = parser.parse_args()
    if options.ours:
        count = asyncio.run(compare(options.reference, options.ours, options.only))
    else:
        with own_system() as url:
            count = asyncio.run(compare(options.reference, url, options.only))
    sys.exit(bool(count))


if __name__ == "__main__":
    main()
