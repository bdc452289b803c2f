"""`make chaos`: real processes and clients under constant faults; then a check of every run.

Exits with 1 if anything was lost.
"""

import argparse
import asyncio
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

from chaos import chain, final_state
from chaos.clients import Client, ClientContext
from chaos.cluster import Cluster, running_cluster
from chaos.faults import FaultInjector
from chaos.ledger import Ledger, Totals, reconcile
from chaos.report import losses, say, table, timelines
from chaos.step_counts import read_step_counts
from harness.waiting import until

QUIET_SECONDS = 60.0  # in which all runs must end after the last fault


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of faults")
    parser.add_argument("--every", type=float, default=2.0, help="s between two faults")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--apis", type=int, default=2)
    return parser.parse_args()


async def main(options: argparse.Namespace) -> bool:
    """Runs the suite. Returns whether nothing was lost."""
    ledger = Ledger()
    say(f"seed {options.seed}: {options.minutes:g} min, a fault every {options.every:g} s,"
          f" {options.clients} clients, {options.workers} workers, {options.apis} APIs, 1 Redis")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        async with running_cluster(ledger, workers=options.workers, apis=options.apis) as cluster:
            context = ClientContext(cluster.urls, Path(folder), ledger, asyncio.Event())
            crowd = [Client(number, options.seed, context) for number in range(options.clients)]
            clients = {asyncio.create_task(client.run_until_over()) for client in crowd}
            progress = asyncio.create_task(report_progress(ledger, options.minutes * 60))
            try:
                await FaultInjector(cluster, ledger, options.seed).inject(
                    options.minutes * 60, options.every
                )
                context.over.set()
                await wait_until_quiet(cluster, ledger, clients)
            finally:
                progress.cancel()
                for client in clients:
                    client.cancel()
                await asyncio.gather(*clients, return_exceptions=True)
            totals = await collect_results(cluster, ledger, Path(folder))
            errors = Counter(line[:150] for line in cluster.errors())
    tty = sys.stdout.isatty()
    say("\r\033[K" if tty else "")
    say(table(ledger, totals, bold=tty))
    if errors:
        say(f"  logged errors     {errors.total()}, the most frequent:")
        for line, count in errors.most_common(8):
            say(f"    {count} x {line}")
    if totals.violations:
        say(f"\nSomething was lost. Repeat with --seed {options.seed}.")
        say(losses(totals))
        if totals.runs_with_violations:
            say(f"The timelines of those runs:\n{timelines(ledger, totals)}")
    else:
        say("\nNothing was lost.")
    return not totals.violations


async def report_progress(ledger: Ledger, seconds: float) -> None:
    """Prints the progress at intervals."""
    begun, tty = time.monotonic(), sys.stdout.isatty()
    while True:
        await asyncio.sleep(1 if tty else 15)
        over = sum(run.is_over for run in ledger.runs)
        line = (
            f"{time.monotonic() - begun:4.0f} of {seconds:.0f} s  {len(ledger.runs)} runs sent,"
            f" {over} followed to their end, {len(ledger.injected_faults)} faults,"
            f" {len(ledger.violations)} violations"
        )
        say(f"\r{line}\033[K" if tty else line, end="" if tty else "\n")


async def wait_until_quiet(
    cluster: Cluster, ledger: Ledger, clients: "set[asyncio.Task[None]]"
) -> None:
    """Waits until all processes are ready and every run has ended; records what does not get there."""
    begun = time.monotonic()
    try:
        await cluster.wait_ready()
    except AssertionError as error:
        ledger.add_violation("fallen processes", str(error))
    done, _ = await asyncio.wait(clients, timeout=QUIET_SECONDS)
    for client in done:
        if wrong := client.exception():
            ledger.add_violation("surprises", f"a client gave up: {wrong!r}")
    try:
        left = max(5.0, QUIET_SECONDS - (time.monotonic() - begun))
        await until(
            lambda: final_state.at_rest(cluster.client), within=left, what="the end of all runs"
        )
    except AssertionError as error:
        ledger.add_violation("lost runs", str(error))


async def collect_results(cluster: Cluster, ledger: Ledger, folder: Path) -> Totals:
    """Reads the final state, checks it, and deletes all threads."""
    redis, url, threads = cluster.client, cluster.urls[0], sorted(ledger.threads)
    for what in await final_state.stuck(redis, threads):
        ledger.add_violation("stuck threads", what)
    async for thread_id, state in final_state.states(url, threads):
        wrong = chain.chain_error(state["values"] or {}) if isinstance(state, dict) else state
        if wrong:
            ledger.add_violation("wrong states", f"thread {thread_id}: {wrong}")
    histories = [history async for history in final_state.histories(redis)]
    for what in await final_state.delete_threads(url, threads):
        ledger.add_violation("surprises", what)
    deleted = set(threads)

    async def clean() -> bool:
        return not await final_state.leftover_keys(redis, deleted)

    try:
        await until(clean, within=15)
    except AssertionError:
        for name in await final_state.leftover_keys(redis, deleted):
            ledger.add_violation("leaked keys", name)
    return reconcile(ledger, histories, read_step_counts(folder))


if __name__ == "__main__":
    warnings.filterwarnings("ignore", module="langgraph_sdk")  # it warns of each reconnect
    try:
        sys.exit(0 if asyncio.run(main(arguments())) else 1)
    except KeyboardInterrupt:
        sys.exit(130)
