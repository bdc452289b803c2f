"""What operators and autoscalers read of the deployment; each API process gives the same answer."""

from starlette.requests import Request
from starlette.responses import Response

from millstream.api.http.body import json_response, query_model, read_model
from millstream.api.http.context import context_of
from millstream.api.ops import operations
from millstream.api.ops.schemas import MetricsQuery, PauseRequest, QueueQuery, ScalingQuery


async def scaling(request: Request) -> Response:
    """`GET /ops/scaling`: Returns the state of queues, or of all queues, for the scaling of their workers."""
    query = query_model(request, ScalingQuery)
    result = await operations.scaling(context_of(request), query.queue)
    return json_response(
        result.model_dump(exclude_none=True), headers={"cache-control": "no-store"}
    )


async def workers(request: Request) -> Response:
    """`GET /ops/workers`: Returns the workers, and what each executes now."""
    query = query_model(request, QueueQuery)
    result = await operations.workers(context_of(request), query.queue)
    return json_response(
        [each.model_dump() for each in result], headers={"cache-control": "no-store"}
    )


async def metrics(request: Request) -> Response:
    """`GET /metrics`: Returns the metrics of this process and of the deployment, in Prometheus' text format."""
    query = query_model(request, MetricsQuery)
    context = context_of(request)
    if query.format == "json":
        return json_response(
            await operations.metrics_json(context), headers={"cache-control": "no-store"}
        )
    text = await operations.metrics_text(context)
    headers = {"content-type": context.metrics.content_type, "cache-control": "no-store"}
    return Response(text, headers=headers)


async def queues(request: Request) -> Response:
    """`GET /ops/queues`: Returns all queues, with their runs, workers, graphs and pauses."""
    result = await operations.queues(context_of(request))
    return json_response(
        [each.model_dump() for each in result], headers={"cache-control": "no-store"}
    )


async def pause(request: Request) -> Response:
    """`POST /ops/queues/{queue}/pause`: Pauses a queue: it gives no run to a worker until it is resumed."""
    name = request.path_params["queue"]
    body = await read_model(request, PauseRequest, empty=True)
    result = await operations.pause(context_of(request), name, body)
    return json_response(result.model_dump())


async def resume(request: Request) -> Response:
    """`POST /ops/queues/{queue}/resume`: Resumes a queue, and wakes idle workers for its due runs."""
    result = await operations.resume(context_of(request), request.path_params["queue"])
    return json_response(result.model_dump())
