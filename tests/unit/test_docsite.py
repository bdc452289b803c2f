"""The pages of the site are made of the code and of one index; what does not fit is an error."""

import re
from pathlib import Path

import msgspec
import pytest

from docsite import pages, staging
from docsite.pages import ROOT, Page, UnknownPageError, sections, site_path
from docsite.reference import GENERATED, command_line, endpoints, events, project_file
from docsite.reference.markdown import table
from docsite.staging import BrokenLinkError, stage, staged_text
from house.tree import tracked
from millstream.api.http.problems import STATUS
from millstream.api.http.sse import ALWAYS
from millstream.api.routes import ENDPOINTS
from millstream.cli.main import main
from millstream.shared.events.modes import MODES
from millstream.shared.langgraph_json.config import CheckpointerTtl, ProjectConfig
from millstream.shared.langgraph_json.http import Cors
from millstream.shared.scripts.script import Script


def generated(name: str) -> str:
    return GENERATED[f"reference/{name}.md"]()


def test_the_endpoints_are_those_of_the_route_table() -> None:
    listed = re.findall(r"^### `(\w+) (\S+)`$", generated("endpoints"), re.MULTILINE)
    assert set(listed) == {(each.method, each.path) for each in ENDPOINTS}
    assert len(listed) > 80


def test_an_endpoint_has_the_fields_of_its_request_with_type_and_default() -> None:
    text = generated("endpoints")
    start = text.index("### `POST /threads/{thread_id}/runs/stream`")
    operation = text[start : text.index("\n### ", start + 1)]
    assert re.search(r"^\| `thread_id` \| path \| string \| required \|", operation, re.MULTILINE)
    for line in (
        r"`assistant_id` \| body \| string \| required",
        r"`on_disconnect` \| body \| .*`\"cancel\"`",
    ):
        assert re.search(rf"^\| {line}", operation, re.MULTILINE), operation
    assert "Server-sent events." in operation


def test_a_type_is_in_the_terms_of_json_with_a_link_to_each_object() -> None:
    types = endpoints.Types(
        {
            "Run": {"properties": {"a": {}}},
            "Status": {"enum": ["b", "c"]},
            "Any": {"type": "object"},
        }
    )
    kind = {
        "anyOf": [
            {"type": "array", "items": {"$ref": "#/x/Status"}},
            {"$ref": "#/x/Run"},
            {"$ref": "#/x/Any"},
            {"type": "object", "additionalProperties": {"$ref": "#/x/Run"}},
            {"type": "null"},
        ]
    }
    assert (
        types.text(kind)
        == 'list of `"b"`, `"c"` or [Run](#object-run) or object or object of [Run](#object-run) or null'
    )


def test_the_errors_and_modes_are_those_of_the_tables() -> None:
    for kind, status in STATUS.items():
        assert f"| {status} | `{kind.__name__}` |" in generated("errors")
    for mode in MODES:
        assert f"\n| `{mode}` |" in generated("events")
    assert {name.encode() for name in events.OF_EVERY_STREAM} == ALWAYS


def test_each_script_has_its_purpose_its_names_and_its_reply() -> None:
    text = generated("scripts")
    files = [path for path in tracked("*.lua") if "scripts" in path.parts]
    assert len(files) > 50
    for path in files:
        heading = f"### `{path.parent.name}/{path.name}`\n\n"
        section = text[text.index(heading) + len(heading) :].partition("\n### ")[0]
        assert re.match(r"[A-Z]", section), heading
        if path.parent.name == "parts":
            continue
        declared = set(re.findall(r"^\| `(\w+)` \| (?:KEY|ARG)S? \|", section, re.MULTILINE))
        assert declared <= Script(f"{path.parent.name}/{path.stem}").names.keys()
        header = path.read_text().partition("]]")[0]
        assert len(declared) == len(re.findall(r"^  (?:KEY|ARG)S? +\w", header, re.MULTILINE)), (
            heading
        )


def test_the_commands_and_their_options_are_those_of_click() -> None:
    text = generated("command-line")
    listed = command_line.commands(main, "millstream")
    assert {"millstream dev", "millstream api", "millstream worker"} <= {path for path, _ in listed}
    for path, command in listed:
        assert f"## `{path}`\n" in text
        for parameter in command.params:
            for option in parameter.opts if parameter.param_type_name == "option" else []:
                assert f"`{option}" in text or f" {option}" in text


def test_the_keys_of_langgraph_json_are_those_that_are_read() -> None:
    text = generated("langgraph-json")
    for path, struct in project_file.sections(ProjectConfig, ""):
        assert f"## {f'`{path}`' if path else 'Top level'}\n" in text
        for field in msgspec.structs.fields(struct):
            assert f"| `{field.encode_name}` |" in text
    paths = {path for path, _ in project_file.sections(ProjectConfig, "")}
    assert {"graphs.<name>", "checkpointer.ttl", "store.index", "http.cors"} <= paths


def test_a_key_has_type_default_and_the_comment_beside_it() -> None:
    rows = {row[0]: row for row in project_file.keys_of(CheckpointerTtl)}
    assert rows["`strategy`"] == ("`strategy`", "`delete`, `keep_latest`", '`"delete"`', "")
    assert rows["`sweep_interval_minutes`"][1:] == ("number", "`5`", "minutes between two sweeps")
    rows = {row[0]: row for row in project_file.keys_of(Cors)}
    assert rows["`max_age`"] == ("`max_age`", "whole number", "`600`", "s")
    assert rows["`allow_methods`"][1:3] == ("list of text", '`["*"]`')


def test_a_table_keeps_a_pipe_out_of_its_borders() -> None:
    assert table(["a"], [["x|y `p|q`\n z"]]) == "| a |\n|---|\n| x&#124;y `p|q` z |\n\n"


def test_all_pages_can_be_staged(tmp_path: Path) -> None:
    listed = stage(tmp_path)
    assert [page.path for page in listed if not (tmp_path / "pages" / page.path).is_file()] == []
    config = (tmp_path / "mkdocs.yml").read_text()
    assert '{"Home": "index.md"}' in config
    assert '"Errors": "reference/errors.md"' in config
    assert "](../changelog.md)" not in config
    # So are the files that pages link to, under names that nothing renders.
    assert (tmp_path / "pages/files/deploy/proxies/nginx.conf.txt").is_file()


def staged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, name: str = "page.md"
) -> str:
    """Returns the staged text of a page in docs/."""
    monkeypatch.setattr(Page, "text", lambda page: text)
    return staged_text(Page(name, "", ROOT / "docs" / name), tmp_path)


def test_links_lead_to_the_pages_of_the_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "[a](../ARCHITECTURE.md#layers) [b](decisions/) [c](api.md) [d](https://x.y) [e](#f)"
    assert staged(tmp_path, monkeypatch, text) == (
        "[a](architecture.md#layers) [b](decisions/index.md) [c](api.md) [d](https://x.y) [e](#f)"
    )
    assert "[a](../architecture.md)" in staged(
        tmp_path, monkeypatch, "[a](../../ARCHITECTURE.md)", "decisions/0001-x.md"
    )


@pytest.mark.parametrize("link", ["missing.md", "../../elsewhere.md", "../tests/unit"])
def test_a_link_without_a_target_is_an_error(
    link: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BrokenLinkError):
        staged(tmp_path, monkeypatch, f"[a]({link})")


def test_names_of_generated_pages_become_links_and_code_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "GENERATED", {"reference/errors.md": lambda: ""})
    text = "`reference/errors.md` `a\\|b`\n```text\n`reference/none.md` [x](none.md) \\|\n```\n"
    monkeypatch.setattr(Page, "title", "Errors")
    assert staged(tmp_path, monkeypatch, text) == (
        "[Errors](reference/errors.md) `a|b`\n```text\n`reference/none.md` [x](none.md) \\|\n```\n"
    )
    with pytest.raises(BrokenLinkError):
        staged(tmp_path, monkeypatch, "`reference/none.md`")


def test_one_example_in_several_languages_becomes_tabs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    block = '```{0} title="{0}"\nx = 1\n\ny\n```\n'
    text = block.format("python") + "\n" + block.format("js") + '\n```text title="Output"\n1\n```\n'
    tabs = staged(tmp_path, monkeypatch, text)
    assert tabs.startswith('=== "python"\n\n    ```python\n    x = 1\n\n    y\n    ```\n')
    assert tabs.count("=== ") == 2
    assert tabs.endswith('```text title="Output"\n1\n```\n')
    alone = block.format("python")
    assert staged(tmp_path, monkeypatch, alone) == alone


def test_the_index_and_the_pages_must_agree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "README.md"
    monkeypatch.setattr(pages, "INDEX", index)
    every = "".join(f"| `{path}` | x |\n" for path in GENERATED)
    index.write_text(f"## A\n\n| Page | Contents |\n|---|---|\n| [api](api.md) | y |\n{every}")
    assert [page.path for page in sections()["A"]] == ["api.md", *GENERATED]
    for row in ("| `reference/none.md` | x |", "| [a](none.md) | x |", "| [a](../Makefile) | x |"):
        index.write_text(f"## A\n\n{every}{row}\n")
        with pytest.raises(UnknownPageError):
            sections()
    index.write_text("## A\n\n| [api](api.md) | y |\n")
    with pytest.raises(UnknownPageError, match=r"lacks reference/"):
        sections()


def test_files_that_are_no_pages_have_no_place() -> None:
    assert site_path(ROOT / "Makefile") is None
    assert site_path(ROOT / "examples/chat/README.md") is None
    assert site_path(ROOT / "docs/api.md") == "api.md"
