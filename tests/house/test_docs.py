"""Documents that repeat the code are compared with it."""

import re
import tomllib

from house.tree import ROOT, tracked
from millstream.shared import settings
from millstream.shared.checks.table import table as table_of_checks
from millstream.shared.metrics import catalogue
from millstream.shared.rules.lifecycle import TERMINAL, TRANSITIONS

DOCS = ROOT / "docs"


def test_the_settings_table_equals_the_code() -> None:
    assert (DOCS / "settings.md").read_text().endswith(settings.table())


def test_the_tables_of_metrics_equal_the_catalogue() -> None:
    assert (DOCS / "metrics.md").read_text().endswith(catalogue.table())


def test_the_table_of_checks_equals_the_code() -> None:
    assert f"\n{table_of_checks()}" in (DOCS / "operations.md").read_text()


def test_the_lifecycle_diagram_equals_the_table() -> None:
    text = (DOCS / "lifecycle.md").read_text()
    drawn = re.findall(r"^    (\w+) --> (\w+): (\w+)$", text, re.MULTILINE)
    assert drawn == [(s.value, t.value, c.value) for (s, c), t in TRANSITIONS.items()]
    assert set(re.findall(r"^    (\w+) --> \[\*\]$", text, re.MULTILINE)) == {
        s.value for s in TERMINAL
    }


def test_every_link_has_a_target() -> None:
    for page in [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_table_has_a_header() -> None:
    for page in [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]:
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for table in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
            rule = table.split("\n")[1]
            assert re.fullmatch(r"(\|[-: ]+)+\|", rule), f"{page.name}: {table[:80]}"


def test_architecture_lists_exactly_the_modules_of_each_folder() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    listing = text[text.index("## Folders") : text.index("Import rules (")]
    root, folders, listed = "", [""], set[str]()
    for line in listing.splitlines():
        if top := re.match(r"(?:api|worker|shared)/\S+/", line):
            root, folders, line = top[0], [""], line[top.end() :]
        elif begin := re.match(r"  ((?:\w+/ )*\w+/)  ", line):
            folders, line = begin[1].split(" "), line[begin.end() :]
        elif re.match(r"  \S", line):
            folders = [""]
        listed |= {
            f"{root}{folder}{module}"
            for folder in folders
            for module in re.findall(r"(?<![\w/.])\w+\.py\b", line)
        }
    scripts, command = "shared/millstream/shared/scripts/", "shared/millstream/cli/"
    modules = {
        path.relative_to(ROOT).as_posix()
        for path in ROOT.glob("*/millstream/*/**/*.py")
        if not path.name.startswith("__")
    }
    modules = {path for path in modules if not path.startswith((scripts, command))}
    assert listed == modules | {f"{scripts}script.py"}


def test_each_file_that_architecture_and_decisions_name_exists() -> None:
    files = ["/" + path.relative_to(ROOT).as_posix() for path in tracked("*.py", "*.lua")]
    files += [path.replace("/millstream/", "/", 1) for path in files]
    for page in [ROOT / "ARCHITECTURE.md", *(DOCS / "decisions").glob("[0-9]*.md")]:
        for mention in re.findall(
            r"`((?:shared|worker|api|scripts|tests)/[\w/]+\.(?:py|lua))`", page.read_text()
        ):
            assert any(path.endswith(f"/{mention}") for path in files), f"{page.name}: {mention}"


def test_the_docs_index_lists_every_page() -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", (DOCS / "README.md").read_text()))
    assert linked == {page.name for page in DOCS.glob("*.md")} - {"README.md", "index.md"}


def test_the_decision_index_lists_each_title_with_a_status() -> None:
    folder = DOCS / "decisions"
    rows = re.findall(
        r"^\| \[(\d{4})\]\((\S+)\) \| (.+) \| (.+) \|$",
        (folder / "README.md").read_text(),
        re.MULTILINE,
    )
    files = sorted(page.name for page in folder.glob("[0-9]*.md"))
    assert [name for _, name, _, _ in rows] == files
    assert len({number for number, *_ in rows}) == len(rows)
    for number, name, title, status in rows:
        assert name.startswith(f"{number}-")
        heading = (folder / name).read_text().partition("\n")[0]
        assert re.fullmatch(rf"# 0*{int(number)}[.:]? {re.escape(title)}", heading), heading
        state = re.fullmatch(
            r"accepted|(?:accepted, amended|superseded) by \[(\d{4})\]\((\S+)\)", status
        )
        assert state, f"{number}: {status}"
        if state[1]:
            assert state[2] in files
            assert number < state[1] == state[2][:4]


def test_each_decision_has_a_status_a_date_and_the_same_sections() -> None:
    folder = DOCS / "decisions"
    index = (folder / "README.md").read_text()
    statuses = dict(re.findall(r"^\| \[(\d{4})\].* \| (.+) \|$", index, re.MULTILINE))
    for page in folder.glob("[0-9]*.md"):
        text = page.read_text()
        head = re.match(r"# .+\n\n- Status: (.+)\n- Date: \d{4}-\d\d-\d\d\n\n", text)
        assert head, f"{page.name}: title, status and date come first"
        assert head[1] == statuses[page.name[:4]], page.name
        sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert sections == ["Context", "Decision", "Consequences"], f"{page.name}: {sections}"


def test_changelog_versions_descend_from_the_package_version() -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[0] == "Unreleased"
    dated = [
        re.fullmatch(r"(\d+)\.(\d+)\.(\d+) \(\d{4}-\d\d-\d\d\)", each) for each in headings[1:]
    ]
    assert all(dated), headings
    versions = [tuple(map(int, each.groups())) for each in dated if each]
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    current = tuple(map(int, package.split(".")))
    assert versions == sorted(set(versions), reverse=True)
    assert not versions or versions[0] <= current


def test_each_documented_make_target_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in [ROOT / "CONTRIBUTING.md", ROOT / "README.md", *DOCS.rglob("*.md")]:
        listed = set(re.findall(r"(?:^|`)make ([a-z0-9]+)", page.read_text(), re.MULTILINE))
        assert listed <= targets, f"{page.name}: {listed - targets}"


def test_each_path_in_contributing_exists() -> None:
    parts = ["", *(f"{part}/millstream" for part in ("api", "worker", "shared"))]
    parts += ["shared/millstream/shared", "tests"]
    for listed in re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", (ROOT / "CONTRIBUTING.md").read_text()):
        if not listed.startswith(("dist/", "build/")) and not re.search(
            r"(^|[/_])name\.|NNNN", listed
        ):  # which the reader makes
            assert any((ROOT / part / listed).exists() for part in parts), listed
