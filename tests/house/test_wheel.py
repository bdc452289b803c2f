"""The wheel's contents, and the packages of each extra."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from the checkout."""
    out = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(out)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    return zipfile.ZipFile(next(out.glob("*.whl")))


def test_the_wheel_holds_all_three_roots_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = [name for name in wheel.namelist() if ".dist-info/" not in name]
    millstream = {name for name in names if name.startswith("millstream/")}
    assert {name.split("/")[1] for name in millstream} == {"api", "worker", "shared", "cli"}
    assert {*names} - millstream == {"millstream_project/__init__.py"}
    page = {name for name in names if name.startswith("millstream/api/http/swagger_ui/")}
    assert {Path(name).suffix for name in {*names} - page} <= {".py", ".lua", ".typed", ".json"}


def test_the_wheel_holds_the_page_of_the_api_and_its_licences(wheel: zipfile.ZipFile) -> None:
    folder = ROOT / "api/millstream/api/http/swagger_ui"
    page = {name.rpartition("/")[2] for name in wheel.namelist() if "http/swagger_ui/" in name}
    assert {path.name for path in folder.iterdir()} <= page
    assert "millstream/api/example_answers.json" in wheel.namelist()
    licences = [name for name in wheel.namelist() if "licenses/api/" in name]
    assert len(licences) == 3


def test_the_wheel_holds_every_script_and_py_typed(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    folder = ROOT / "shared/millstream/shared"
    for script in folder.glob("scripts/**/*.lua"):
        assert f"millstream/shared/{script.relative_to(folder).as_posix()}" in names
    for part in ("api", "worker", "shared"):
        assert f"millstream/{part}/py.typed" in names


def test_the_wheel_has_the_command_and_the_licence(wheel: zipfile.ZipFile) -> None:
    info = next(name for name in wheel.namelist() if name.endswith("entry_points.txt"))
    assert "millstream = millstream.cli.main:main" in wheel.read(info).decode()
    assert any(name.endswith("licenses/LICENSE") for name in wheel.namelist())


def locked(name: str) -> set[str]:
    text = (ROOT / "deploy" / name).read_text()
    return set(re.findall(r"^([a-z0-9][a-z0-9._-]*)==", text, re.MULTILINE))


def test_the_api_image_has_no_langgraph_and_the_worker_image_no_http_server() -> None:
    assert not {n for n in locked("api.lock") if n.startswith(("lang", "arq"))}
    assert not {"starlette", "uvicorn"} & locked("worker.lock")


def test_the_api_imports_no_langgraph() -> None:
    code = (
        "import sys, millstream.api.app, millstream.cli.main; "
        "print([m for m in sys.modules if m.split('.')[0] in "
        "('langgraph', 'langchain_core', 'arq', 'orjson', 'numpy')])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert result.stdout.strip() == "[]"
