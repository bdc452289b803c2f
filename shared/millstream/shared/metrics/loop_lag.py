"""Measures by how much timers of the event loop are late: code that blocks it delays every run and stream."""

import asyncio
import time
from typing import Final

from millstream.shared.observer import RunObserver

EVERY: Final = 0.25  # s between measurements


async def watch_loop(observer: RunObserver) -> None:
    """Reports the lateness of a timer again and again, until it is cancelled."""
    while True:
        due = time.monotonic() + EVERY
        await asyncio.sleep(EVERY)
        observer.loop_lag(max(0.0, time.monotonic() - due))
