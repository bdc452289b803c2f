"""Projects start as they are published, and answer."""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from harness.processes import Fleet, Process
from harness.sample_projects import SAMPLE_PROJECTS, SampleProject
from millstream.cli.embedded import EmbeddedRedis

pytestmark = pytest.mark.xdist_group("shapes")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("redis")
    with EmbeddedRedis(folder, appendonly=False) as server, Fleet(server.url) as fleet:
        yield fleet


@pytest.fixture(scope="module")
def api(fleet: Fleet) -> Process:
    return fleet.api().wait_ready()


def write(folder: Path, project: SampleProject) -> Path:
    for name, text in project.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(textwrap.dedent(text))
    config = folder / "langgraph.json"
    config.write_text(json.dumps(project.config))
    return config


@pytest.mark.parametrize("name", SAMPLE_PROJECTS)
def test_a_sample_project_starts_unchanged_and_answers(
    name: str, tmp_path: Path, fleet: Fleet, api: Process
) -> None:
    project = SAMPLE_PROJECTS[name]
    worker = fleet.worker(write(tmp_path, project)).wait_ready()
    try:
        assert worker.ready["graphs"] == list(project.config["graphs"])
        for graph, answer in project.answers.items():
            run_input = {"messages": [{"role": "user", "content": "hi"}]}
            body = {"assistant_id": graph, "input": run_input}
            values = httpx.post(f"{api.url}/runs/wait", json=body, timeout=60).json()
            assert values["messages"][-1]["content"] == answer, values
    finally:
        worker.stop()


def test_a_missing_module_is_one_sentence(tmp_path: Path, fleet: Fleet) -> None:
    project = SAMPLE_PROJECTS["react"]
    files = {
        **project.files,
        "src/react_agent/prompts.py": "import a_package_that_is_not_installed\n",
    }
    worker = fleet.worker(write(tmp_path, project._replace(files=files)))
    assert worker.wait() == 1
    said = [line for line in worker.lines if not line.startswith("{")]  # but the log
    sentence = (
        "graph 'agent': ./src/react_agent/graph.py can't be imported: ModuleNotFoundError: No module named "
        "'a_package_that_is_not_installed' (src/react_agent/prompts.py, line 1). Is the project installed? "
        f"pip install -e {tmp_path}"
    )
    assert said == [sentence]
