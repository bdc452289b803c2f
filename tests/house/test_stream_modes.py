"""Every list of stream modes is made of the table in shared/events/modes.py."""

import ast
import json
import subprocess
import sys

from house.tree import ROOT
from millstream.shared.events import modes

TABLE = "shared/millstream/shared/events/modes.py"
# Adds a row before anything else is imported, and prints what the lists make of it.
ADD_A_ROW = """
import json

from millstream.shared.events import modes

modes.MODES["sketches"] = modes.StreamMode(
    "sketches", ("sketches",), ("sketch",), channel="sketches", form=modes.Form.PAYLOAD
)

from millstream.api.http.sse import is_streamed
from millstream.api.protocol.events import event_of
from millstream.api.protocol.schemas import EventFilter
from millstream.api.runs.schemas import RunCreateStateful, RunJoinStream
from millstream.shared.events.entries import Entry
from millstream.shared.events.protocol import COMMAND_MODES, to_run_event
from millstream.shared.events.thread_stream import Segment
from millstream.worker.events import EventStream
from millstream.worker.protocol_stream import ProtocolStream, _AllModes

run = RunCreateStateful(assistant_id="g", stream_mode=["sketches"])
at = (1, 1)
params = {"namespace": ["a"], "timestamp": 1, "data": {"payload": 7}}
[(name, data)] = ProtocolStream().translate(
    "sketches", {"namespace": ["a"], "data": {"payload": 7}, "timestamp": 1}
)
of_run = to_run_event(Entry(at, name.encode(), data))
method, told = event_of(Segment(1, "r", "g"), Entry(at, b"sketch|a", b"7"))
print(json.dumps({
    "request": run.request().options.stream_mode,
    "join": RunJoinStream(stream_mode="sketches").stream_mode,
    "sent": [is_streamed(b"sketch|a", frozenset(given)) for given in (["sketches"], ["values"], [])],
    "channel": EventFilter(channels=["sketches"]).channels,
    "described": "`sketches`" in EventFilter.model_json_schema()["properties"]["channels"]["description"],
    "of commands": "sketches" in COMMAND_MODES,
    "asked of LangGraph": [
        "sketches" in EventStream(["sketches"], subgraphs=False).library_modes(),
        "sketches" in _AllModes.required_stream_modes,
    ],
    "stored by a run": list(EventStream(["sketches"], subgraphs=True).translate((("a",), "sketches", 7)))[0][0],
    "stored by a command": [name, json.loads(data)["data"]],
    "to a run's stream": None if of_run is None else [of_run.event.decode(), json.loads(of_run.data)],
    "to the protocol": [method.decode(), json.loads(told)["data"]],
    "documented": "| `sketches` | `sketch` |" in modes.table(),
}))
"""


def test_a_new_row_is_accepted_streamed_and_documented_everywhere() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ADD_A_ROW], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "request": ["sketches"],
        "join": ["sketches"],
        "sent": [True, False, True],
        "channel": ["sketches"],
        "described": True,
        "of commands": True,
        "asked of LangGraph": [True, True],
        "stored by a run": "sketch|a",
        "stored by a command": ["@sketches", {"payload": 7}],
        "to a run's stream": ["sketch|a", 7],
        "to the protocol": ["sketches", {"payload": 7}],
        "documented": True,
    }


def test_no_other_module_lists_stream_modes() -> None:
    lists = []
    for path in sorted(ROOT.glob("*/millstream/**/*.py")):
        if path.relative_to(ROOT).as_posix() == TABLE:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.List | ast.Tuple | ast.Set):
                names = {n.value for n in node.elts if isinstance(n, ast.Constant)}
                if len(names & (modes.MODES.keys() | {m.encode() for m in modes.MODES})) > 2:
                    lists.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert lists == []


def test_the_documentation_has_the_table() -> None:
    assert f"\n{modes.table()}\n" in (ROOT / "docs/api.md").read_text()
