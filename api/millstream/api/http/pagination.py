"""The headers of a search response that name the total and the next page. Source: the LangGraph Platform API."""


def page_headers(total: int, *, offset: int, limit: int, more: bool) -> dict[str, str]:
    """Returns `X-Pagination-Total`, and `X-Pagination-Next` (an offset) if there is a next page."""
    headers = {"x-pagination-total": str(total)}
    if more:
        headers["x-pagination-next"] = str(offset + limit)
    return headers
