"""Holds back a response whose request has not led to the questions that its route declares.

A use case that forgets to ask, or a route that forgets its use case, fails for each of its callers: in the first test,
not under the first attack.
"""

from starlette.requests import Request
from starlette.responses import Response

from millstream.api.http.context import questions_of
from millstream.api.http.endpoint import Endpoint, Handler


def guarded(endpoint: Endpoint) -> Handler:
    """Returns the endpoint's handler, which raises RuntimeError in place of a response that nobody has permitted."""
    declared = endpoint.questions
    if not declared:
        return endpoint.handler

    async def handle(request: Request) -> Response:
        response = await endpoint.handler(request)
        if response.status_code < 400 and not declared <= questions_of(request):
            raise RuntimeError(
                f"{endpoint.method} {endpoint.path} has not asked: {sorted(declared - questions_of(request))}"
            )
        return response

    return handle
