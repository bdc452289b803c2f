"""What operators and autoscalers read. Source of the shape: KEDA's metrics-api scaler reads numbers by their path."""

from typing import Annotated

from pydantic import BaseModel, Field

from millstream.api.http.schema_base import QueryModel

QueueName = Annotated[str, Field(pattern=r"^[\w.:-]{1,200}$")]


class ScalingQuery(QueryModel):
    """Which queue is read."""

    queue: QueueName | None = Field(default=None, description="A queue; without it, all of them.")


class QueueScaling(BaseModel):
    """The state of a queue, by which its workers are scaled."""

    in_flight: int = Field(
        description="`due` and `running`: what the queue's workers have to do now."
    )
    due: int = Field(description="Runs that wait for a worker.")
    running: int = Field(description="Runs that a worker holds, or held until its lease lapsed.")
    oldest_due_age_seconds: float = Field(
        description="Seconds since the first of the due runs became due; 0 without any."
    )
    unserved: int = Field(
        description="Runs that the queue's workers tried and could not execute. They are not in `due`: "
        "more of these workers would not help."
    )
    workers: int = Field(description="Live workers of the queue.")


class Scaling(QueueScaling):
    """The state of one queue, or without `queue` in the request the sum of all and each of them."""

    queues: dict[str, QueueScaling] | None = Field(
        default=None, description="Each queue; absent if the request names one."
    )
