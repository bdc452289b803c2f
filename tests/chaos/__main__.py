"""`make chaos`: real processes, real clients, trouble without end; then the accounts.

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

from chaos import chain, evidence
from chaos.clients import Client, Surroundings
from chaos.ledger import Accounts, Ledger, settle
from chaos.report import losses, say, stories, table
from chaos.town import Town, founded
from chaos.trouble import OutageLog
from chaos.witness import noted
from harness.waiting import until

CALM = 60.0  # s in which all must have ended, once the trouble is over


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of trouble")
    parser.add_argument("--every", type=float, default=2.0, help="s between two troubles")
    parser.add_argument("--seed", type=int, default=random.randrange(10_000))
    parser.add_argument("--clients", type=int, default=12)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--apis", type=int, default=2)
    return parser.parse_args()


async def main(options: argparse.Namespace) -> bool:
    """Plays it all; returns whether nothing was lost."""
    ledger = Ledger()
    say(f"seed {options.seed}: {options.minutes:g} min, a trouble every {options.every:g} s,"
          f" {options.clients} clients, {options.workers} workers, {options.apis} APIs, 1 Redis")  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        async with founded(ledger, workers=options.workers, apis=options.apis) as town:
            around = Surroundings(town.urls, Path(folder), ledger, asyncio.Event())
            crowd = [Client(number, options.seed, around) for number in range(options.clients)]
            clients = {asyncio.create_task(client.live()) for client in crowd}
            teller = asyncio.create_task(tell(ledger, options.minutes * 60))
            try:
                await OutageLog(town, ledger, options.seed).make(
                    options.minutes * 60, options.every
                )
                around.over.set()
                await calm(town, ledger, clients)
            finally:
                teller.cancel()
                for client in clients:
                    client.cancel()
                await asyncio.gather(*clients, return_exceptions=True)
            accounts = await reckon(town, ledger, Path(folder))
            errors = Counter(line[:150] for line in town.errors())
    tty = sys.stdout.isatty()
    say("\r\033[K" if tty else "")
    say(table(ledger, accounts, bold=tty))
    if errors:
        say(f"  logged errors     {errors.total()}, the most frequent:")
        for line, count in errors.most_common(8):
            say(f"    {count} x {line}")
    if accounts.faults:
        say(f"\nSomething was lost. Play it again with --seed {options.seed}.")
        say(losses(accounts))
        if accounts.wronged:
            say(f"What happened to those runs:\n{stories(ledger, accounts)}")
    else:
        say("\nNothing was lost.")
    return not accounts.faults


async def tell(ledger: Ledger, seconds: float) -> None:
    """Says now and then how far it is."""
    begun, tty = time.monotonic(), sys.stdout.isatty()
    while True:
        await asyncio.sleep(1 if tty else 15)
        over = sum(run.is_over for run in ledger.runs)
        line = (
            f"{time.monotonic() - begun:4.0f} of {seconds:.0f} s  {len(ledger.runs)} runs sent,"
            f" {over} seen to their end, {len(ledger.blows)} troubles, {len(ledger.faults)} faults"
        )
        say(f"\r{line}\033[K" if tty else line, end="" if tty else "\n")


async def calm(town: Town, ledger: Ledger, clients: "set[asyncio.Task[None]]") -> None:
    """Waits until all is well again and every run has ended; notes who does not get there."""
    begun = time.monotonic()
    try:
        await town.at_strength()
    except AssertionError as error:
        ledger.fault("fallen processes", str(error))
    done, _ = await asyncio.wait(clients, timeout=CALM)
    for client in done:
        if wrong := client.exception():
            ledger.fault("surprises", f"a client gave up: {wrong!r}")
    try:
        left = max(5.0, CALM - (time.monotonic() - begun))
        await until(lambda: evidence.at_rest(town.client), within=left, what="the end of all runs")
    except AssertionError as error:
        ledger.fault("lost runs", str(error))


async def reckon(town: Town, ledger: Ledger, folder: Path) -> Accounts:
    """Reads what is left, compares, and has everything deleted."""
    redis, url, threads = town.client, town.urls[0], sorted(ledger.threads)
    for what in await evidence.stuck(redis, threads):
        ledger.fault("stuck threads", what)
    async for thread_id, state in evidence.states(url, threads):
        wrong = chain.flaw(state["values"] or {}) if isinstance(state, dict) else state
        if wrong:
            ledger.fault("wrong states", f"thread {thread_id}: {wrong}")
    histories = [history async for history in evidence.histories(redis)]
    for what in await evidence.delete_threads(url, threads):
        ledger.fault("surprises", what)
    gone = set(threads)

    async def clean() -> bool:
        return not await evidence.left_over(redis, gone)

    try:
        await until(clean, within=15)
    except AssertionError:
        for name in await evidence.left_over(redis, gone):
            ledger.fault("leaked keys", name)
    return settle(ledger, histories, noted(folder))


if __name__ == "__main__":
    warnings.filterwarnings("ignore", module="langgraph_sdk")  # it warns of each reconnect
    try:
        sys.exit(0 if asyncio.run(main(arguments())) else 1)
    except KeyboardInterrupt:
        sys.exit(130)
