"""Reads metrics as Prometheus does."""

import random
import socket
from typing import Self

import httpx
from prometheus_client.parser import text_string_to_metric_families


def free_port() -> int:
    """Returns a free port below those that the system gives to outgoing connections."""
    while True:
        port = random.randrange(15_000, 30_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Scrape:
    """The metrics of one process at one time."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = {each.name: each for each in text_string_to_metric_families(text)}
        self._samples = [s for family in self.families.values() for s in family.samples]

    @classmethod
    async def of(cls, url: str) -> Self:
        """Reads the metrics of an API or a worker."""
        async with httpx.AsyncClient(timeout=30) as client:
            response = await client.get(f"{url}/metrics")
        assert response.status_code == 200, response.text
        assert response.headers["content-type"].startswith("text/plain; version=")
        return cls(response.text)

    @property
    def names(self) -> set[str]:
        """The names of all series."""
        return {sample.name for sample in self._samples}

    def value(self, name: str, **labels: str) -> float:
        """Returns the sum of the series of the name that have these labels. Fails if there is none."""
        values = [
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]
        assert values, f"no {name}{labels}"
        return sum(values)

    def has(self, name: str, **labels: str) -> bool:
        """Returns whether a series of the name has these labels."""
        return any(s.name == name and labels.items() <= s.labels.items() for s in self._samples)

    def labels(self, name: str, label: str) -> set[str]:
        """Returns the values of a label of the series of the name."""
        return {sample.labels[label] for sample in self._samples if sample.name == name}
