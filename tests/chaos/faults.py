"""The faults that the suite injects into the cluster, as a seed chooses them."""

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable

from chaos.cluster import LEASE, Cluster, Slot
from chaos.ledger import InjectedFault, Ledger
from millstream.shared import keys
from millstream.shared.redis import UNAVAILABLE

FREEZE = 3 * LEASE  # s


class FaultInjector:
    """Injects faults of every kind. Processes that it froze continue in the end."""

    def __init__(self, cluster: Cluster, ledger: Ledger, seed: int) -> None:
        self._cluster = cluster
        self._ledger = ledger
        self._seed = seed
        self._choose = random.Random()  # of the current fault
        self._lasting: set[asyncio.Task[None]] = set()
        self._kinds: list[tuple[str, int, Callable[[], Awaitable[object]]]] = [
            ("kill worker", 5, self._kill_worker),
            ("freeze worker", 3, self._freeze_worker),
            ("stop worker", 3, self._stop_worker),
            ("kill API", 2, self._kill_api),
            ("freeze API", 1, self._freeze_api),
            ("stop API", 2, self._stop_api),
            ("kill Redis", 2, self._kill_redis),
            ("freeze Redis", 1, self._freeze_redis),
            ("cut clients", 3, self._cut_clients),
            ("cut Redis", 2, self._cut_redis),
        ]

    async def inject(self, seconds: float, every: float) -> None:
        """Injects a fault every `every` seconds, for `seconds`; then waits until lasting faults end."""
        try:
            await self._inject(seconds, every)
            while self._lasting:
                await asyncio.wait(self._lasting)
        finally:
            for task in self._lasting:
                task.cancel()
            await asyncio.gather(*self._lasting, return_exceptions=True)

    async def _inject(self, seconds: float, every: float) -> None:
        begun = time.monotonic()
        kinds = [do for _, _, do in self._kinds]
        weights = [weight for _, weight, _ in self._kinds]
        # Each kind comes once before random choices begin, so that a short suite has all kinds.
        order = random.Random(f"kinds {self._seed}")
        first = order.sample(kinds, len(kinds))
        count = 0
        while (left := begun + seconds - time.monotonic()) > 0:
            count += 1
            await asyncio.sleep(min(left, begun + count * every - time.monotonic()))
            do = first.pop() if first else order.choices(kinds, weights)[0]
            # Each fault has its own generator: the choices of earlier faults must not change it.
            self._choose = random.Random(f"fault {count} {self._seed}")
            await do()

    def _note(
        self,
        kind: str,
        target: str = "",
        held: frozenset[str] = frozenset(),
        lasts: float | None = None,
    ) -> None:
        now = int(time.time() * 1000)
        until = None if lasts is None else now + int(lasts * 1000)
        left = sum(slot.is_ready and slot.name != target for slot in self._cluster.workers)
        self._ledger.injected_faults.append(InjectedFault(kind, now, target, held, left, until))

    def _later(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._lasting.add(task)
        task.add_done_callback(self._lasting.discard)

    def _one(self, slots: list[Slot]) -> Slot | None:
        """Picks a ready process, so that the fault hits work."""
        ready = [slot for slot in slots if slot.is_ready]
        return self._choose.choice(ready) if ready else None

    async def _held(self, slot: Slot) -> frozenset[str]:
        """Returns the runs that a worker holds according to Redis; empty while Redis is unavailable."""
        if self._cluster.redis_is_down:
            return frozenset()
        try:
            async with asyncio.timeout(0.5):
                jobs = await self._cluster.client.smembers(keys.live())  # type: ignore[misc]
                names = [keys.parse_job_id(job.decode()) for job in jobs]
                pipe = self._cluster.client.pipeline(transaction=False)
                for thread_id, run_id in names:
                    pipe.hmget(keys.run(thread_id, run_id), ["status", "control"])
                records = await pipe.execute()
        except (*UNAVAILABLE, TimeoutError):
            return frozenset()
        sign = f"-{slot.process.pid}-".encode()
        return frozenset(
            run_id
            for (_, run_id), (status, control) in zip(names, records, strict=True)
            if status == b"running" and control is not None and sign in control
        )

    # ── Workers ─────────────────────────────────────────────────────────────────────────────

    async def _kill_worker(self) -> None:
        if slot := self._one(self._cluster.workers):
            held = await self._held(slot)
            self._note("kill worker", slot.name, held)
            self._kill(slot)

    async def _freeze_worker(self) -> None:
        if slot := self._one(self._cluster.workers):
            held = await self._held(slot)
            self._note("freeze worker", slot.name, held, FREEZE)
            self._later(self._freeze(slot))

    async def _stop_worker(self) -> None:
        """Sends SIGTERM; every second time again a moment later, as an impatient operator does."""
        if slot := self._one(self._cluster.workers):
            held = await self._held(slot)
            self._note("stop worker", slot.name, held)
            stopping = self._cluster.stop(slot)
            if self._choose.random() < 0.5:
                await asyncio.sleep(self._choose.uniform(0.1, 0.5))
                stopping.signal_again()

    @staticmethod
    def _kill(slot: Slot) -> None:
        slot.expected_to_end = True
        slot.process.send(signal.SIGKILL)

    async def _freeze(self, slot: Slot) -> None:
        process = slot.process
        slot.frozen = True
        process.send(signal.SIGSTOP)
        try:
            await asyncio.sleep(FREEZE)
        finally:
            process.send(signal.SIGCONT)
            slot.frozen = False

    # ── APIs ────────────────────────────────────────────────────────────────────────────────

    async def _kill_api(self) -> None:
        if slot := self._one(self._cluster.apis):
            self._note("kill API", slot.name)
            self._kill(slot)

    async def _freeze_api(self) -> None:
        if slot := self._one(self._cluster.apis):
            self._note("freeze API", slot.name)
            self._later(self._freeze(slot))

    async def _stop_api(self) -> None:
        if slot := self._one(self._cluster.apis):
            self._note("stop API", slot.name)
            self._cluster.stop(slot)

    # ── Redis and connections ───────────────────────────────────────────────────────────────

    async def _kill_redis(self) -> None:
        if not self._cluster.redis_is_down:
            self._note("kill Redis")
            seconds = self._choose.choice([0, 0.5, 1.5, 3])
            await self._cluster.kill_redis()
            self._later(self._restart_redis(seconds))

    async def _restart_redis(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._cluster.start_redis()

    async def _freeze_redis(self) -> None:
        """Freezes Redis: leases lapse while no worker can renew or claim."""
        if not self._cluster.redis_is_down:
            self._note("freeze Redis")
            self._cluster.redis_is_down = True
            pid = self._cluster.redis.pid
            os.kill(pid, signal.SIGSTOP)
            self._later(self._thaw_redis(pid, self._choose.choice([0.5, 2]) * LEASE))

    async def _thaw_redis(self, pid: int, seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
        finally:
            os.kill(pid, signal.SIGCONT)
            self._cluster.redis_is_down = False

    async def _cut_clients(self) -> None:
        share = self._choose.choice([0.3, 1])
        apis = self._cluster.apis
        slots = self._choose.sample(apis, self._choose.randint(1, len(apis)))
        count = sum(slot.proxy.cut(self._choose, share) for slot in slots if slot.proxy)
        self._note("cut clients", f"{count} connections")

    async def _cut_redis(self) -> None:
        """Has Redis close all connections of one kind."""
        kind = self._choose.choice(["normal", "pubsub"])
        if self._cluster.redis_is_down:
            return
        self._note("cut Redis", kind)
        try:
            async with asyncio.timeout(0.5):
                await self._cluster.client.execute_command("CLIENT", "KILL", "TYPE", kind)  # type: ignore[no-untyped-call]
        except (*UNAVAILABLE, TimeoutError):
            pass
