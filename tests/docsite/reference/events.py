"""Stream modes and events: of the table of modes, and the channels of the event streaming protocol."""

from typing import Final

from docsite.reference.markdown import code, table
from millstream.api.http.sse import ALWAYS
from millstream.shared.events import modes
from millstream.shared.events.protocol import CHANNELS, CUSTOM_PREFIX

PAGE: Final = """\
# Stream modes and events

Each event of a stream is a name, one line of JSON, and an id: the number of the run's segment of its thread, and the
event's index in it. [The API](../api.md#a-stream) explains the order of the events and how a client continues after a
disconnect.

## Stream modes

A request has one or several as `stream_mode`; the default is `values`. Events of subgraphs need `stream_subgraphs`.
The channel is that of the event streaming protocol; events "in both" appear in both kinds of streams.

"""
# The events of every stream, whatever its modes.
OF_EVERY_STREAM: Final = {
    "metadata": "an attempt begins: `run_id`, and `attempt`, counted from 1",
    "gap": "events that the client has not seen were trimmed; it has no id, and the events that are left follow",
    "error": "the run failed (`error`: the exception's type, `message`), or an event was too large to keep",
    "end": "the last event: `status` of the run",
}
FORMS: Final = {
    modes.Form.SAME: "the same data",
    modes.Form.NODE: '`{"node": n, "values": v}` for each `{n: v}`',
    modes.Form.PAYLOAD: '`{"payload": p}` for `p`',
    None: "the protocol has other events, or none",
}


def page() -> str:
    """Returns the page."""
    channels = [
        (
            code(mode.channel),
            code(mode.name),
            ", ".join(map(code, mode.library_modes)) or "`astream_events`",
            FORMS[mode.form],
        )
        for mode in modes.MODES.values()
        if mode.channel
    ]
    others = [name for name in CHANNELS if name not in {m.channel for m in modes.MODES.values()}]
    return "".join(
        [
            PAGE,
            modes.table().replace("\\|", "|"),
            "\n## Events of every stream\n\n",
            table(
                ["Event", "Meaning"],
                [
                    (code(name), OF_EVERY_STREAM[name])
                    for name in sorted(each.decode() for each in ALWAYS)
                ],
            ),
            "## Channels of the event streaming protocol\n\n",
            table(["Channel", "Stream mode", "From LangGraph's mode", "Data"], channels),
            f"Also {', '.join(map(code, others))}: the questions of a run that pauses.\n",
            f"`{CUSTOM_PREFIX}<name>` has the custom events of one name.\n",
        ]
    )
