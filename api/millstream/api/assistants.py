"""Assistants: the default one of each graph that workers announced."""

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from millstream.api.body import answer, path_uuid, read_model
from millstream.api.schemas.assistant import AssistantSearch
from millstream.api.shown import show_assistant
from millstream.shared.assistants import GraphDirectory


async def search(request: Request) -> Response:
    """`POST /assistants/search`"""
    query = await read_model(request, AssistantSearch, empty=True)
    directory: GraphDirectory = request.app.state.graphs
    found = [show_assistant(info) for info in await directory.all()]
    found = [assistant for assistant in found if _matches(assistant, query)]
    found.sort(
        key=lambda a: (a[query.sort_by], a["assistant_id"]), reverse=query.sort_order == "desc"
    )
    page = found[query.offset : query.offset + query.limit]
    headers = {"x-pagination-total": str(len(found))}
    if query.offset + query.limit < len(found):
        headers["x-pagination-next"] = str(query.offset + query.limit)
    if query.select:
        page = [{field: assistant[field] for field in query.select} for assistant in page]
    return answer(page, headers=headers)


async def get(request: Request) -> Response:
    """`GET /assistants/{assistant_id}`"""
    assistant_id = path_uuid(request, "assistant_id", "assistant")
    directory: GraphDirectory = request.app.state.graphs
    return answer(show_assistant(await directory.resolve(assistant_id)))


def _matches(assistant: dict[str, Any], query: AssistantSearch) -> bool:
    if query.graph_id is not None and assistant["graph_id"] != query.graph_id:
        return False
    if query.name is not None and query.name.lower() not in assistant["name"].lower():
        return False
    return bool(query.metadata.items() <= assistant["metadata"].items())
