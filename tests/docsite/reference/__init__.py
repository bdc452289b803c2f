"""The generated pages: each is made of the code that decides what it describes, and is never stored."""

from collections.abc import Callable
from typing import Final

from docsite.reference import command_line, endpoints, errors, events, project_file, scripts

# path in the site → what makes the page
GENERATED: Final[dict[str, Callable[[], str]]] = {
    "reference/command-line.md": command_line.page,
    "reference/endpoints.md": endpoints.page,
    "reference/errors.md": errors.page,
    "reference/events.md": events.page,
    "reference/langgraph-json.md": project_file.page,
    "reference/scripts.md": scripts.page,
}
