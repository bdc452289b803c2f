"""A webhook of Millstream can't call the API of its own deployment."""

from pathlib import Path

import httpx
import pytest

from api.requests import UNKNOWN_ID, Serve, detail
from graphs import extra_worker
from millstream.api.routes import ENDPOINTS
from millstream.shared.webhook_url import MARK

WEBAPP = f"{Path(extra_worker.__file__).parent / 'webapp.py'}:app"
MARKED = {MARK: UNKNOWN_ID}


@pytest.mark.parametrize(
    "path",
    sorted({each.path for each in ENDPOINTS if each.method == "POST"}),
)
async def test_no_route_accepts_a_webhook(web: httpx.AsyncClient, path: str) -> None:
    path = path.replace("{namespace}", "a")
    for part in ("thread_id", "run_id", "assistant_id", "cron_id", "checkpoint_id", "queue"):
        path = path.replace("{" + part + "}", UNKNOWN_ID)
    assert "{" not in path
    response = await web.post(path, json={"values": {"items": [1]}}, headers=MARKED)
    assert response.status_code == 403
    assert "may not call its API" in detail(response)


async def test_a_route_of_the_project_receives_webhooks(serve: Serve) -> None:
    async with serve({"app": WEBAPP, "mount_prefix": "/api"}) as http:
        assert (await http.get("/hello", headers=MARKED)).status_code == 200
        assert (await http.post("/threads", json={}, headers=MARKED)).status_code == 403
