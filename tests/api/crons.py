"""Creates crons, for tests of the API."""

from typing import Any

import httpx

YEARLY = "0 0 1 1 *"
FIELDS = {
    "cron_id", "assistant_id", "thread_id", "on_run_completed", "end_time", "schedule", "timezone",
    "created_at", "updated_at", "user_id", "payload", "next_run_date", "metadata", "enabled",
}  # fmt: skip


async def create(http: httpx.AsyncClient, thread: str | None = None, **body: Any) -> dict[str, Any]:
    path = f"/threads/{thread}/runs/crons" if thread else "/runs/crons"
    fields = {"assistant_id": "steps", "schedule": YEARLY, "input": {"items": []}, **body}
    response = await http.post(path, json=fields)
    assert response.status_code == 200, response.text
    cron = response.json()
    assert set(cron) == FIELDS
    return dict(cron)
