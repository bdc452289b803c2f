"""Draws how the figures of GET /ops/scaling move the number of workers (`make scaling`).

Runs arrive faster and slower at a running API. The triggers of the chart decide on the workers, as KEDA would: from
none to two, and back. KEDA's times are scaled: it polls each second instead of each fifth, and a worker is stopped
after 8 s with less work instead of 300 s.
"""

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx

from deploy.keda import desired, triggers
from deploy.manifests import ROOT, objects, render
from harness.processes import FreshFleet, Process
from millstream.cli.embedded import EmbeddedRedis

PICTURE: Final = ROOT / "docs" / "pictures" / "scaling.svg"
SLOTS: Final = 10
MAX_WORKERS: Final = 2
# s until which runs arrive, and how many in each second.
LOAD: Final = [(4.0, 0.0), (16.0, 1.0), (36.0, 9.0), (52.0, 2.0), (56.0, 0.0)]
RUN: Final = {
    "assistant_id": "steps",
    "input": {},
    "config": {"configurable": {"n": 4, "delay": 0.5}},
}
STABLE_SECONDS: Final = 8.0
END_SECONDS: Final = 75.0


class Sample(NamedTuple):
    """What one poll read, and what it led to."""

    at: float
    in_flight: float
    running: float
    age: float
    live: float
    desired: int


class Deployment:
    """The workers, and the decisions about their number."""

    def __init__(self, fleet: FreshFleet, scaled: dict[str, Any]) -> None:
        self.scaled = scaled
        self.workers: list[Process] = []
        self.draining: list[Process] = []
        self._fleet = fleet
        self._lower_since: float | None = None

    def follow(self, figures: dict[str, Any], now: float) -> int:
        """Starts or stops workers for the figures. Returns the number that the triggers ask for."""
        current = len(self.workers)
        number = desired(self.scaled, current, lambda trigger: float(figures[trigger.location]))
        if number >= current:
            self._lower_since = None
        elif self._lower_since is None:
            self._lower_since = now
        while len(self.workers) < number:
            self.workers.append(self._fleet.worker(N_JOBS_PER_WORKER=str(SLOTS)))
        if self._lower_since is not None and now - self._lower_since >= STABLE_SECONDS:
            self._lower_since = now
            worker = self.workers.pop()
            worker.process.terminate()
            self.draining.append(worker)
        return number


async def arrive(client: httpx.AsyncClient, begin: float) -> list[asyncio.Task[httpx.Response]]:
    """Sends runs at the rates of LOAD. Returns their requests."""
    requests = []
    due = begin
    for until, rate in LOAD:
        if rate == 0:
            due = begin + until
        while due < begin + until:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            requests.append(asyncio.create_task(client.post("/runs/wait", json=RUN)))
            due += 1 / rate
    return requests


async def measure(folder: Path) -> list[Sample]:
    """Runs the load against an API, and the workers that it leads to. Fails if a run is lost."""
    values = {
        "workerDefaults": {
            "slots": SLOTS,
            "autoscaling": {"enabled": True, "minReplicas": 0, "maxReplicas": MAX_WORKERS},
        }
    }
    [scaled] = [each for each in objects(render(values)) if each["kind"] == "ScaledObject"]
    path = triggers(scaled)[0].path
    samples = []
    with EmbeddedRedis(folder) as redis, FreshFleet(redis.url) as fleet:
        api = fleet.api().wait_ready()
        fleet.worker().wait_ready().stop()  # it announces its graphs, as the first worker of a deployment does
        deployment = Deployment(fleet, scaled)
        async with httpx.AsyncClient(base_url=api.url, timeout=120) as client:
            begin = time.monotonic()
            arrivals = asyncio.create_task(arrive(client, begin))
            while (now := time.monotonic() - begin) < END_SECONDS:
                figures = (await client.get(path)).json()
                number = deployment.follow(figures, now)
                samples.append(
                    Sample(
                        now,
                        figures["in_flight"],
                        figures["running"],
                        figures["oldest_due_age_seconds"],
                        figures["workers"],
                        number,
                    )
                )
                await asyncio.sleep(1.0)
            responses = await asyncio.gather(*(await arrivals))
        assert {response.status_code for response in responses} == {200}, responses[0].text
        assert not any("error" in str(response.json()) for response in responses)
        assert [worker.wait() for worker in deployment.draining] == [0] * len(deployment.draining)
    sys.stdout.write(f"{len(responses)} runs, all of them ended; {len(samples)} polls\n")
    return samples


# ── The picture ──────────────────────────────────────────────────────────────
WIDTH, LEFT, RIGHT = 880, 50, 210
PANELS: Final = [("runs", 40, 190), ("seconds", 275, 90), ("workers", 410, 60)]  # unit, top, height
COLOURS: Final = {
    "in_flight": "#c2410c",
    "running": "#2563eb",
    "age": "#7c3aed",
    "desired": "#c2410c",
    "live": "#15803d",
}


def draw(samples: list[Sample]) -> str:
    """Returns the picture as SVG."""
    end = samples[-1].at

    def x(at: float) -> float:
        return LEFT + at / end * (WIDTH - LEFT - RIGHT)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} 510" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="510" fill="#ffffff"/>',
    ]
    series = {
        "runs": [("in_flight", "in_flight"), ("running", "running")],
        "seconds": [("age", "oldest_due_age_seconds")],
        "workers": [("desired", "what the triggers ask for"), ("live", "workers that report")],
    }
    for unit, top, height in PANELS:
        highest = max(1.0, *(getattr(s, name) for s in samples for name, _ in series[unit]))
        targets = {"runs": SLOTS, "seconds": 5, "workers": 0}
        highest = max(highest, targets[unit]) * 1.1

        def y(
            value: float, top: int = top, height: int = height, highest: float = highest
        ) -> float:
            return top + height - value / highest * height

        bottom = top + height
        parts.append(
            f'<path d="M{LEFT} {top}V{bottom}H{WIDTH - RIGHT}" fill="none" stroke="#64748b"/>'
        )
        parts.append(f'<text x="{LEFT}" y="{top - 8}" fill="#334155">{unit}</text>')
        parts += [
            f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end" fill="#334155">{value}</text>'
            for value in sorted({0, int(highest / 1.1), targets[unit]})
        ]
        if targets[unit]:
            parts.append(
                f'<path d="M{LEFT} {y(targets[unit]):.1f}H{WIDTH - RIGHT}" stroke="#94a3b8" stroke-dasharray="4 4"/>'
                f'<text x="{WIDTH - RIGHT + 8}" y="{y(targets[unit]) + 4:.1f}" fill="#64748b">target: {targets[unit]}'
                f"{' a worker' if unit == 'runs' else ''}</text>"
            )
        for row, (name, label) in enumerate(series[unit]):
            points = " ".join(
                f"{'H' if step == 'h' else 'V' if step == 'v' else ''}{number:.1f}"
                for sample in samples[1:]
                for step, number in (("h", x(sample.at)), ("v", y(getattr(sample, name))))
            )
            start = f"M{x(samples[0].at):.1f} {y(getattr(samples[0], name)):.1f}"
            colour = COLOURS[name]
            parts.append(
                f'<path d="{start}{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
            )
            parts.append(
                f'<text x="{WIDTH - RIGHT + 8}" y="{top - 8 + 18 * row}" fill="{colour}">{label}</text>'
            )
    parts += [
        f'<text x="{x(second):.1f}" y="490" text-anchor="middle" fill="#334155">{second} s</text>'
        for second in range(0, int(end) + 1, 10)
    ]
    parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="18" fill="#64748b">runs that arrive</text>')
    for begin, (until, rate) in zip([0.0, *(until for until, _ in LOAD)], LOAD, strict=False):
        if rate:
            middle = x((begin + until) / 2)
            parts.append(
                f'<text x="{middle:.1f}" y="18" text-anchor="middle" fill="#64748b">{rate:g} / s</text>'
            )
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Measures, and writes the picture."""
    with tempfile.TemporaryDirectory(prefix="millstream-scaling-") as folder:
        samples = asyncio.run(measure(Path(folder)))
    PICTURE.write_text(draw(samples))


if __name__ == "__main__":
    main()
