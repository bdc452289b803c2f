"""An example request for each route. They work with the graphs of `examples/langgraph.json`; a test sends each one.

The responses to them are in `example_answers.json`, which that test records.
"""

from typing import Any, Final

from millstream.api.http.openapi import Example
from millstream.shared.assistants.directory import default_assistant_id

THREAD: Final = "0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d"
ASSISTANT: Final = default_assistant_id("steps")
OTHER_ASSISTANT: Final = "5c6d7e8f-9a0b-4c1d-8e2f-3a4b5c6d7e8f"  # which the example creates
# Ids that the server assigns: no request works with them as they are.
RUN: Final = "1f0c9a3e-0000-6a10-8000-00000000d0c5"
CRON: Final = "1f0c9a3e-0000-4b20-8000-00000000d0c5"
CHECKPOINT: Final = "1f0c9a3e-0000-6c30-8000-00000000d0c5"

STEPS: Final[dict[str, Any]] = {"assistant_id": "steps", "input": {"items": []}}
# Takes a minute: long enough to be read, streamed and cancelled.
LONG: Final = {**STEPS, "config": {"configurable": {"n": 20, "delay": 3}}}
CHAT: Final = {
    "assistant_id": "chat",
    "input": {"messages": [{"role": "user", "content": "What does the fox do?"}]},
    "config": {"configurable": {"tokens": 4}},
}
ON_THREAD: Final = {"if_not_exists": "create"}
NEW_ASSISTANT: Final = {"assistant_id": OTHER_ASSISTANT}
ITEM: Final = {"namespace": ["users", "ada"], "key": "settings"}
DAILY: Final = {**STEPS, "schedule": "0 8 * * *", "timezone": "Europe/Berlin"}
JSON_RPC: Final = {"jsonrpc": "2.0", "id": 1}
TOOL_CALL: Final = {
    **JSON_RPC,
    "method": "tools/call",
    "params": {"name": "steps", "arguments": {"items": []}},
}
MESSAGE: Final = {
    **JSON_RPC,
    "method": "message/send",
    "params": {
        "message": {
            "role": "user",
            "messageId": "question-1",
            "parts": [{"kind": "text", "text": "What does the fox do?"}],
        }
    },
}
RUN_START: Final = {"id": 1, "method": "run.start", "params": STEPS}
VALUES: Final = {"channels": ["values", "lifecycle"]}
CHAT_AGENT: Final = {"assistant_id": default_assistant_id("chat")}
NESTED: Final = {"assistant_id": default_assistant_id("nested")}

EXAMPLES: Final = {
    # Runs
    ("POST", "/threads/{thread_id}/runs"): Example({**LONG, **ON_THREAD}),
    ("GET", "/threads/{thread_id}/runs"): Example(query={"limit": 2}),
    ("POST", "/threads/{thread_id}/runs/stream"): Example(
        {**STEPS, "stream_mode": ["updates"], **ON_THREAD}
    ),
    ("POST", "/threads/{thread_id}/runs/wait"): Example({**STEPS, **ON_THREAD}),
    ("POST", "/runs"): Example({**LONG, "on_completion": "keep"}),
    ("POST", "/runs/stream"): Example({**CHAT, "stream_mode": ["messages-tuple"]}),
    ("POST", "/runs/wait"): Example(CHAT),
    ("POST", "/runs/batch"): Example([STEPS, CHAT]),
    ("POST", "/runs/cancel"): Example({"thread_id": THREAD, "run_ids": [RUN]}),
    ("GET", "/threads/{thread_id}/runs/{run_id}"): Example(),
    ("DELETE", "/threads/{thread_id}/runs/{run_id}"): Example(),
    ("GET", "/threads/{thread_id}/runs/{run_id}/explain"): Example(),
    ("GET", "/threads/{thread_id}/runs/{run_id}/join"): Example(),
    ("GET", "/threads/{thread_id}/runs/{run_id}/stream"): Example(query={"last_event_id": "0"}),
    ("POST", "/threads/{thread_id}/runs/{run_id}/cancel"): Example(query={"wait": True}),
    ("GET", "/runs/{run_id}"): Example(),
    ("DELETE", "/runs/{run_id}"): Example(),
    ("GET", "/runs/{run_id}/explain"): Example(),
    ("GET", "/runs/{run_id}/join"): Example(),
    ("GET", "/runs/{run_id}/stream"): Example(query={"last_event_id": "0"}),
    ("POST", "/runs/{run_id}/cancel"): Example(query={"action": "rollback"}),
    # Threads
    ("POST", "/threads"): Example(
        {"thread_id": THREAD, "metadata": {"topic": "fox"}, "if_exists": "do_nothing"}
    ),
    ("POST", "/threads/search"): Example({"metadata": {"graph_id": "steps"}, "limit": 1}),
    ("POST", "/threads/count"): Example({"status": "idle"}),
    ("POST", "/threads/prune"): Example({"thread_ids": [THREAD], "strategy": "keep_latest"}),
    ("GET", "/threads/{thread_id}"): Example(query={"include": ["ttl"]}),
    ("PATCH", "/threads/{thread_id}"): Example({"metadata": {"topic": "dog"}, "ttl": 1440}),
    ("DELETE", "/threads/{thread_id}"): Example(),
    ("GET", "/threads/{thread_id}/storage"): Example(),
    ("POST", "/threads/{thread_id}/copy"): Example(),
    ("GET", "/threads/{thread_id}/stream"): Example(query={"last_event_id": "-"}),
    ("GET", "/threads/{thread_id}/state"): Example(),
    ("POST", "/threads/{thread_id}/state"): Example(
        {"values": {"items": ["by hand"]}, "as_node": "step"}
    ),
    ("PATCH", "/threads/{thread_id}/state"): Example({"metadata": {"topic": "dog"}}),
    ("POST", "/threads/{thread_id}/state/checkpoint"): Example(
        {"checkpoint": {"checkpoint_id": CHECKPOINT}}
    ),
    ("GET", "/threads/{thread_id}/state/{checkpoint_id}"): Example(),
    ("GET", "/threads/{thread_id}/history"): Example(query={"limit": 1}),
    ("POST", "/threads/{thread_id}/history"): Example({"limit": 1, "before": CHECKPOINT}),
    # Assistants
    ("POST", "/assistants"): Example(
        {
            **NEW_ASSISTANT,
            "graph_id": "steps",
            "name": "Five steps",
            "config": {"configurable": {"n": 5}},
            "if_exists": "do_nothing",
        }
    ),
    ("POST", "/assistants/search"): Example({"graph_id": "steps", "limit": 1}),
    ("POST", "/assistants/count"): Example({"graph_id": "steps"}),
    ("GET", "/assistants/{assistant_id}"): Example(),
    ("PATCH", "/assistants/{assistant_id}"): Example(
        {"config": {"configurable": {"n": 6}}}, path=NEW_ASSISTANT
    ),
    ("DELETE", "/assistants/{assistant_id}"): Example(path=NEW_ASSISTANT),
    ("POST", "/assistants/{assistant_id}/versions"): Example({"limit": 2}, path=NEW_ASSISTANT),
    ("POST", "/assistants/{assistant_id}/latest"): Example({"version": 1}, path=NEW_ASSISTANT),
    ("GET", "/assistants/{assistant_id}/schemas"): Example(),
    ("GET", "/assistants/{assistant_id}/graph"): Example(query={"xray": True}),
    ("GET", "/assistants/{assistant_id}/subgraphs"): Example(query={"recurse": True}, path=NESTED),
    ("GET", "/assistants/{assistant_id}/subgraphs/{namespace}"): Example(path=NESTED),
    # Crons
    ("POST", "/runs/crons"): Example(DAILY),
    ("POST", "/threads/{thread_id}/runs/crons"): Example(DAILY),
    ("POST", "/runs/crons/search"): Example({"assistant_id": "steps", "limit": 1}),
    ("POST", "/runs/crons/count"): Example({"enabled": True}),
    ("GET", "/runs/crons/{cron_id}"): Example(),
    ("PATCH", "/runs/crons/{cron_id}"): Example({"schedule": "30 8 * * *"}),
    ("DELETE", "/runs/crons/{cron_id}"): Example(),
    # Store
    ("PUT", "/store/items"): Example({**ITEM, "value": {"language": "Lua", "units": "metric"}}),
    ("GET", "/store/items"): Example(query={"namespace": "users.ada", "key": "settings"}),
    ("DELETE", "/store/items"): Example(ITEM),
    ("POST", "/store/items/search"): Example(
        {"namespace_prefix": ["users"], "filter": {"units": "metric"}, "limit": 1}
    ),
    ("POST", "/store/namespaces"): Example({"prefix": ["users"]}),
    # Event streaming
    ("POST", "/threads/{thread_id}/commands"): Example(RUN_START),
    ("POST", "/threads/{thread_id}/stream/events"): Example(VALUES),
    ("POST", "/threads/{thread_id}/stream"): Example(VALUES),
    # Agent Protocol
    ("POST", "/agents/search"): Example({"name": "steps"}),
    ("GET", "/agents/{agent_id}"): Example(),
    ("GET", "/agents/{agent_id}/schemas"): Example(),
    ("POST", "/runs/search"): Example({"thread_id": THREAD, "limit": 1}),
    ("GET", "/threads/{thread_id}/runs/{run_id}/wait"): Example(),
    ("GET", "/runs/{run_id}/wait"): Example(),
    # MCP and A2A
    ("POST", "/mcp"): Example(TOOL_CALL),
    ("POST", "/mcp/"): Example(TOOL_CALL),
    ("POST", "/a2a/{assistant_id}"): Example(MESSAGE, path=CHAT_AGENT),
    ("POST", "/a2a/{assistant_id}/"): Example(MESSAGE, path=CHAT_AGENT),
    ("GET", "/.well-known/agent-card.json"): Example(query=CHAT_AGENT),
    ("GET", "/a2a/{assistant_id}/.well-known/agent-card.json"): Example(path=CHAT_AGENT),
    # Server
    ("GET", "/ops/scaling"): Example(query={"queue": ["default"]}),
    ("GET", "/ops/workers"): Example(),
    ("GET", "/ops/queues"): Example(),
    ("POST", "/ops/queues/{queue}/pause"): Example({"by": "ada", "reason": "Redis is replaced."}),
    ("POST", "/ops/queues/{queue}/resume"): Example(),
    ("GET", "/metrics"): Example(),
    ("GET", "/info"): Example(),
    ("GET", "/ok"): Example(),
}
