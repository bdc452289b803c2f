"""Docs that repeat the code are compared with it."""

import re
from pathlib import Path

from millstream.shared import settings
from millstream.shared.lifecycle import TERMINAL, TRANSITIONS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def test_the_table_of_settings_is_the_codes() -> None:
    assert (DOCS / "settings.md").read_text().endswith(settings.table())


def test_the_diagram_of_the_lifecycle_is_the_tables() -> None:
    text = (DOCS / "lifecycle.md").read_text()
    drawn = re.findall(r"^    (\w+) --> (\w+): (\w+)$", text, re.MULTILINE)
    assert drawn == [(s.value, t.value, c.value) for (s, c), t in TRANSITIONS.items()]
    assert set(re.findall(r"^    (\w+) --> \[\*\]$", text, re.MULTILINE)) == {
        s.value for s in TERMINAL
    }


def test_every_link_leads_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_table_has_a_head() -> None:
    for page in [*ROOT.glob("*.md"), *DOCS.rglob("*.md")]:
        text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for table in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
            rule = table.split("\n")[1]
            assert re.fullmatch(r"(\|[-: ]+)+\|", rule), f"{page.name}: {table[:80]}"


def test_every_module_of_the_listing_exists() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    listing = text[text.index("```") : text.index("Import rules")]
    names = re.findall(r"(?:^|\s)(\w+\.py)\b", listing)
    modules = {path.name for path in ROOT.glob("*/millstream/**/*.py")}
    assert names
    assert set(names) <= modules
