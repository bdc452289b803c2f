"""What operators and autoscalers read. Source of the shape: KEDA's metrics-api scaler reads numbers by their path."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from millstream.api.http.schema_base import QueryList, QueryModel, RequestModel
from millstream.shared.rules.queue_names import PATTERN
from millstream.shared.workers import WorkerState

QueueName = Annotated[str, Field(pattern=PATTERN)]


class QueueQuery(QueryModel):
    """Which queue is read."""

    queue: QueueName | None = Field(default=None, description="A queue; without it, all of them.")


class ScalingQuery(QueryModel):
    """Which queues are read."""

    queue: Annotated[list[QueueName], QueryList, Field(min_length=1)] | None = Field(
        default=None,
        description="A queue, or several of one fleet of workers, separated by commas: their sum. Without it, all of "
        "them.",
    )


class MetricsQuery(QueryModel):
    """How the metrics are returned."""

    format: Literal["prometheus", "json"] = Field(
        default="prometheus",
        description="`prometheus`: the text format. `json`: queues, slots of workers and counts of requests, as "
        "LangGraph's server returns them.",
    )


class QueueScaling(BaseModel):
    """The state of a queue, by which its workers are scaled."""

    in_flight: int = Field(
        description="`due` and `running`: what the queue's workers have to do now. While the queue is paused, only "
        "runs that a worker holds."
    )
    due: int = Field(description="Runs that wait for a worker.")
    running: int = Field(description="Runs that a worker holds, or held until its lease lapsed.")
    oldest_due_age_seconds: float = Field(
        description="Seconds since the first of the due runs became due; 0 without any, and while the queue is "
        "paused."
    )
    unserved: int = Field(
        description="Runs that the queue's workers tried and could not execute. They are not in `due`: "
        "more of these workers would not help."
    )
    workers: int = Field(description="Live workers of the queue, without draining ones.")
    paused: bool = Field(
        description="Whether the queue gives no run to a worker; of several: whether all are paused."
    )


class Scaling(QueueScaling):
    """The sum of the queues in the request, or without `queue` the sum of all and each of them."""

    queues: dict[str, QueueScaling] | None = Field(
        default=None, description="Each queue; absent if the request names queues."
    )


class WorkerRun(BaseModel):
    """A run that a worker executes."""

    thread_id: str = Field(description="The id of the run's thread.")
    run_id: str = Field(description="The run's id.")
    graph_id: str = Field(description="The name of its graph.")
    attempt: int = Field(description="The number of the attempt, from 1.")
    since: str = Field(description="When the worker claimed it, in ISO 8601.")
    isolation: str = Field(
        description="`shared`: in the worker's process; `process`: in its own; `alone`: in its own, while the "
        "worker executes nothing else."
    )


class WorkerInfo(BaseModel):
    """A worker as it last reported, at most 2 s before it was read. Times are ISO 8601."""

    worker_id: str = Field(description="The worker's id.")
    state: WorkerState = Field(
        description="`live`: it claims runs. `draining`: it claims no more, and ends. `lost`: it stopped to report "
        "in the last minute, without leaving."
    )
    host: str = Field(description="The name of its host.")
    pid: int = Field(description="The id of its process.")
    version: str = Field(description="Of Millstream; empty for a worker that writes no record.")
    python: str = Field(description="The version of Python.")
    langgraph: str = Field(description="The version of LangGraph.")
    protocol: int = Field(description="Newest version of runs that it can execute.")
    encryption_keys: list[str] = Field(
        description="Fingerprints of the keys with which it can read encrypted data. It encrypts with the first one."
    )
    queues: list[str] = Field(description="The queues that it serves.")
    graphs: list[str] = Field(description="Ids of the graphs that it serves.")
    slots: int = Field(description="Runs that it executes at the same time.")
    runs: list[WorkerRun] = Field(description="What it executes now.")
    started_at: str | None = Field(description="When it started.")
    draining_since: str | None = Field(description="When it began to drain; null before.")
    reported_at: str | None = Field(description="When it reported last.")


class PauseRequest(RequestModel):
    """`POST /ops/queues/{queue}/pause`"""

    by: str = Field(default="", max_length=200, description="The user that pauses the queue.")
    reason: str = Field(default="", max_length=1000, description="Why.")


class QueuePause(BaseModel):
    """The pause of a queue."""

    since: str = Field(description="When the queue was paused, in ISO 8601.")
    by: str | None = Field(description="The user that paused it.")
    reason: str | None = Field(description="Why.")


class QueueStatus(BaseModel):
    """Whether a queue is paused."""

    name: str = Field(description="The queue's name.")
    paused: QueuePause | None = Field(description="The pause; null if the queue is not paused.")


class Queue(QueueStatus):
    """A queue, its runs and its workers."""

    due: int = Field(description="Runs that wait for a worker.")
    deferred: int = Field(description="Runs that become due later.")
    running: int = Field(description="Runs that a worker holds, or held until its lease lapsed.")
    unserved: int = Field(description="Runs that the queue's workers tried and could not execute.")
    oldest_due_age_seconds: float = Field(
        description="Seconds since the first of the due runs became due, or the first lease lapsed."
    )
    oldest_unserved_age_seconds: float = Field(
        description="Seconds since the first of the unserved runs became due."
    )
    workers: int = Field(description="Live workers of the queue, without draining ones.")
    draining_workers: int = Field(description="Workers that claim no more runs, and end.")
    lost_workers: int = Field(
        description="Workers that stopped to report in the last minute, without leaving."
    )
    graphs: list[str] = Field(description="The graphs whose runs are admitted to the queue.")
