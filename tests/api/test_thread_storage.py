"""The size of a thread's checkpoints, compared with their size in Redis."""

import httpx

from api.requests import UNKNOWN_ID, System, detail
from millstream.shared import keys
from millstream.shared.redis import connect
from millstream.shared.wire import unpack_list


async def test_storage_equals_the_size_in_redis(
    http: httpx.AsyncClient, system: System, thread: str
) -> None:
    path = f"/threads/{thread}/storage"
    nothing = {"count": 0, "bytes": 0}
    assert (await http.get(path)).json() == {
        "thread_id": thread,
        "total_bytes": 0,
        "checkpoints": nothing,
        "channel_values": {**nothing, "by_channel": {}},
        "pending_writes": nothing,
    }
    for graph in ("steps", "nested"):  # the second has its own namespace
        body = {"assistant_id": graph, "input": {"items": ["x" * 5000]}}
        assert (await http.post(f"/threads/{thread}/runs/wait", json=body)).status_code == 200
    storage = (await http.get(path)).json()
    redis = connect(system.fleet.redis_url)
    try:
        spaces = await redis.smembers(keys.checkpoint_namespaces(thread))  # type: ignore[misc]
        count = size = versions = held = writes = written = 0
        for space in (raw.decode() for raw in spaces):
            records = await redis.hgetall(keys.checkpoint_records(thread, space))  # type: ignore[misc]
            references = await redis.hgetall(keys.checkpoint_references(thread, space))  # type: ignore[misc]
            values = await redis.hgetall(keys.checkpoint_values(thread, space))  # type: ignore[misc]
            pending = await redis.hgetall(keys.checkpoint_writes(thread, space))  # type: ignore[misc]
            count += len(records)
            size += sum(map(len, (*records.values(), *references.values())))
            versions += len(values)
            held += sum(map(len, values.values()))
            writes += sum(len(unpack_list(framed)) // 2 for framed in pending.values())
            written += sum(map(len, pending.values()))
    finally:
        await redis.aclose()
    assert count > 4
    assert storage["checkpoints"] == {"count": count, "bytes": size}
    assert storage["pending_writes"] == {"count": writes, "bytes": written}
    by_channel = storage["channel_values"].pop("by_channel")
    assert storage["channel_values"] == {"count": versions, "bytes": held}
    assert storage["total_bytes"] == size + held + written
    assert by_channel["items"]["versions"] > 1
    assert by_channel["items"]["bytes"] > 5000
    assert sum(each["bytes"] for each in by_channel.values()) == held
    assert sum(each["versions"] for each in by_channel.values()) == versions


async def test_storage_of_an_unknown_thread_is_404(http: httpx.AsyncClient) -> None:
    response = await http.get(f"/threads/{UNKNOWN_ID}/storage")
    assert response.status_code == 404
    assert UNKNOWN_ID in detail(response)
    assert (await http.get("/threads/x/storage")).status_code == 422
