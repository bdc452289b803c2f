"""docs/access-matrix.md, made of the table of doors."""

from typing import Final

from api.matrix_calls import CALLS
from api.matrix_doors import CALLERS, DOORS

INTRODUCTION: Final = """\
# Rights: each door of the server

A test tries each row on a running server: each route, each command of the event streaming protocol (over HTTP and over
a WebSocket), and each method of MCP and A2A. A route, command or method that is not in the table fails it. Rows with a
`#` are several requests to one route.

The columns are the callers: **nobody** (no credentials), **other** (another user), **guest** (a user whose filter is
`{"participants": {"$contains": "guest"}}`), **owner** (`{"owner": "owner"}`, the user that has created the records)
and **admin** (no filter). The last column is what the request of the owner asks the [handlers](custom-auth.md) of a
project.

| Cell | Meaning |
|---|---|
| allowed | the request is served |
| 401 | before anything looks at the path, the ids or the body |
| 403 | denied |
| missing | the response is the one for an id that does not exist, word for word |
| left out | the records are not in the list, its count or its total |
| silent | the stream opens, as for a thread that does not exist, and has no events |
| same | each user gets the same error |

Where an unknown id would create a record (`run.start`, `if_not_exists: create`, `contextId`), `missing` is the error
for a thread that does not exist. Creating a thread with the id of a foreign one is a conflict (409).

## Differences from LangGraph's server

The questions have the names and at least the keys of LangGraph's server. These doors ask more, because they read or
change a record:

| Door | Asks in addition |
|---|---|
| `agent.getTree` | `threads.read`: it shows the graphs of a run |
| MCP | `assistants.search` and `assistants.read` for tools, `threads.create_run` for a call |
| A2A | `assistants.read` of the agent, and for its tasks the questions of runs and threads |
| `cancel_on_disconnect=true` | `threads.update`: a client that leaves cancels the run |
| `POST /threads` with `if_exists: do_nothing` | `threads.read`, if the thread exists: it is returned |
| a WebSocket | `threads.read` for the handshake, and again for each subscription and command |

## The table

"""


def page() -> str:
    """Returns the page."""
    lines = [f"| Door | {' | '.join(CALLERS)} | Asks |", "|---|" + "---|" * (len(CALLERS) + 1)]
    for name, door in {**DOORS, **CALLS}.items():
        asks = ", ".join(f"`{question}`" for question in door.questions) or "nothing"
        if name.partition(" ")[2].startswith(("/ops", "/metrics")):
            asks = "`ops.write`" if name.startswith("POST") else "`ops.read`"
        lines.append(f"| `{name}` | {' | '.join(door.row.value)} | {asks} |")
    return INTRODUCTION + "\n".join(lines) + "\n"
