"""A worker's queues take turns."""

import pytest

from millstream.worker.dispatch import DueJob, take_turns


def due(**jobs: int) -> list[list[DueJob]]:
    """Returns the due jobs of each queue: `a0`, `a1`, … of the queue `a`."""
    return [[DueJob(f"{name}{n}", name) for n in range(count)] for name, count in jobs.items()]


@pytest.mark.parametrize(
    ("jobs", "limit", "taken"),
    [
        ({"a": 5, "b": 0, "c": 2}, 4, ["a0", "c0", "a1", "c1"]),
        ({"a": 5, "b": 1}, 1, ["a0"]),
        ({"b": 1, "a": 5}, 3, ["b0", "a0", "a1"]),
        ({"a": 2}, 5, ["a0", "a1"]),
        ({"a": 0, "b": 0}, 5, []),
    ],
)
def test_each_queue_gives_its_first_job_before_another_gives_its_second(
    jobs: dict[str, int], limit: int, taken: list[str]
) -> None:
    assert [each.job for each in take_turns(due(**jobs), limit)] == taken
