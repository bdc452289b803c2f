"""A client of Agent2Agent (A2A): the official one."""

import uuid
from typing import Any

import httpx
from a2a.client.card_resolver import A2ACardResolver
from a2a.client.client import Client, ClientConfig
from a2a.client.client_factory import ClientFactory
from a2a.types import a2a_pb2 as pb


async def open_a2a_client(
    http: httpx.AsyncClient,
    url: str,
    assistant: str,
    *,
    streaming: bool = True,
    polling: bool = False,
) -> Client:
    """Returns a client of an assistant on the API at that URL."""
    card = await A2ACardResolver(http, f"{url}/a2a/{assistant}").get_agent_card()
    config = ClientConfig(streaming=streaming, polling=polling, httpx_client=http)
    return ClientFactory(config).create(card)


def message_request(*parts: Any, task: str = "", context: str = "") -> pb.SendMessageRequest:
    """Returns a request that sends one message; a string is a text part."""
    message = pb.Message(
        message_id=str(uuid.uuid4()),
        role=pb.ROLE_USER,
        parts=[pb.Part(text=part) if isinstance(part, str) else part for part in parts],
        task_id=task,
        context_id=context,
    )
    return pb.SendMessageRequest(message=message)
