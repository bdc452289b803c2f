"""Objects in threads keep their classes over restarts and changes of the project."""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.processes import Fleet
from millstream.cli.embedded import EmbeddedRedis

STATE = """
    import enum
    from dataclasses import dataclass
    from pydantic import BaseModel

    class Kind(enum.Enum):
        ONE = "one"

    @dataclass
    class Plan:
        kind: Kind

    class Note(BaseModel):
        text: str = "t"

    OWN = (Plan, Kind, Note)
"""
GRAPH = """
    from typing import Any, TypedDict
    from langgraph.graph import START, StateGraph
    {imports}

    class State(TypedDict, total=False):
        objects: list[Any]
        seen: list[bool]
        modules: list[str]

    def node(state):
        return {{
            "objects": [Plan(Kind.ONE), Kind.ONE, Note(), [Plan(Kind.ONE)]],
            "seen": [type(found) in (*OWN, list) for found in state.get("objects", ())],
            "modules": [model.__module__ for model in OWN],
        }}

    graph = StateGraph(State).add_node("node", node).add_edge(START, "node").compile()
"""
IMPORT = "from {}state import Plan, Kind, Note, OWN"
FILES = {
    "a/graph.py": GRAPH.format(imports=IMPORT.format("")),
    "a/state.py": STATE,
    "b/graph.py": GRAPH.format(imports=IMPORT.format("")),
    "b/state.py": STATE,
    "redis/__init__.py": "",
    "redis/graph.py": GRAPH.format(imports=IMPORT.format(".")),
    "redis/state.py": STATE,
    "agent/graph.py": GRAPH.format(imports=IMPORT.format("agent.")),
    "agent/state.py": STATE,
    "calendar.py": STATE + GRAPH.format(imports=""),
    "my-agent.py": STATE + GRAPH.format(imports=""),
}
GRAPHS = {
    "a": "./a/graph.py:graph",
    "b": "./b/graph.py:graph",
    "redis": "./redis/graph.py:graph",
    "agent": "./agent/graph.py:graph",
    "calendar": "./calendar.py:graph",
    "my-agent": "./my-agent.py:graph",
}
MODULES = {
    "a": "millstream_project.a.state",
    "b": "millstream_project.b.state",
    "redis": "millstream_project.redis.state",
    "agent": "agent.state",
    "calendar": "millstream_project.calendar",
    "my-agent": "millstream_project.my_x2d_agent",
}


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    with (
        EmbeddedRedis(tmp_path / "redis-data", appendonly=False) as server,
        Fleet(server.url) as fleet,
    ):
        yield fleet


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("\n".join(map(textwrap.dedent, text.split("\n\n\n"))))


def config(folder: Path, graphs: dict[str, str], dependencies: list[str]) -> Path:
    path = folder / "langgraph.json"
    path.write_text(json.dumps({"graphs": graphs, "dependencies": dependencies}))
    return path


async def test_agents_with_equal_module_names_keep_their_classes(
    tmp_path: Path, fleet: Fleet
) -> None:
    project = tmp_path / "project"
    write(project, FILES)
    api = fleet.api()
    worker = fleet.worker(config(project, GRAPHS, [".", "./a", "./b"])).wait_ready()
    async with httpx.AsyncClient(base_url=api.wait_ready().url, timeout=60) as http:

        async def wait(graph: str, thread: str) -> Any:
            answer = await http.post(
                f"/threads/{thread}/runs/wait", json={"assistant_id": graph, "input": {"seen": []}}
            )
            return answer.json()

        threads = {g: (await http.post("/threads", json={})).json()["thread_id"] for g in GRAPHS}
        for graph, thread in threads.items():
            assert (await wait(graph, thread))["modules"] == [MODULES[graph]] * 3
        worker.stop()

        # The graphs and dependencies in another order.
        turned = dict(reversed(GRAPHS.items()))
        worker = fleet.worker(config(project, turned, ["./b", "./a", "."])).wait_ready()
        for graph, thread in threads.items():
            values = await wait(graph, thread)
            assert values["seen"] == [True] * 4
            assert values["modules"] == [MODULES[graph]] * 3
        worker.stop()

        # A class is renamed, a file is moved.
        state = (project / "a/state.py").read_text()
        write(project, {"a/state.py": state.replace("Plan", "Scheme")})
        graph_file = (project / "a/graph.py").read_text()
        write(project, {"a/graph.py": graph_file.replace("Plan", "Scheme")})
        (project / "calendar.py").rename(project / "diary.py")
        moved = {**GRAPHS, "calendar": "./diary.py:graph"}
        worker = fleet.worker(config(project, moved, [".", "./a", "./b"])).wait_ready()
        for graph, texts in (
            (
                "a",
                [
                    "millstream_project.a.state has no 'Plan'",
                    "keep its old name in a/state.py: `Plan = NewName`",
                ],
            ),
            ("calendar", ["no module 'millstream_project.calendar'", "in calendar.py:"]),
        ):
            error = (await wait(graph, threads[graph]))["__error__"]
            assert error["error"] == "ClassNotFoundError"
            for path in ("state", "history"):
                answer = await http.get(f"/threads/{threads[graph]}/{path}")
                if path == "history" and answer.status_code == 405:
                    continue
                assert answer.status_code == 400, answer.text
                for text in texts:
                    assert text in error["message"]
                    assert text in answer.json()["detail"]
        assert (await wait("b", threads["b"]))["seen"] == [True] * 4  # the worker continues
        worker.stop()

        # The old names are unused.
        write(project, {
            "a/state.py": (project / "a/state.py").read_text() + "\n\n\nPlan = Scheme\n",
            "calendar.py": "from diary import *\n",
        })  # fmt: skip
        fleet.worker(project / "langgraph.json").wait_ready()
        for graph in ("a", "calendar"):
            assert (await wait(graph, threads[graph]))["seen"] == [True] * 4
