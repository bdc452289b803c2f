"""Keeps the deployment's own webhooks from its API.

A client chooses the URL of a webhook, and the worker that calls it may pass where the client may not: a proxy that
authenticates, or a private network. A webhook's body is a run with the values of its thread, which the API accepts as
an update of another thread.
"""

from starlette.types import ASGIApp, Receive, Scope, Send

from millstream.api.http.problems import problem
from millstream.shared.webhook_url import MARK

NAME = MARK.encode()


class OwnWebhooks:
    """Responds 403 to webhooks of Millstream. A project's own routes are outside of it, and receive them."""

    def __init__(self, app: ASGIApp) -> None:
        """`app` is the API."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forwards any other request."""
        if scope["type"] == "http" and any(name == NAME for name, _ in scope["headers"]):
            error = "webhook: a webhook of Millstream may not call its API. Use a route of your own as its URL."
            await problem(403, error)(scope, receive, send)
        else:
            await self._app(scope, receive, send)
