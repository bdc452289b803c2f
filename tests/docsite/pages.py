"""The pages of the site: which there are, where each lies, and how they are grouped.

docs/README.md is the only list. Its sections are the parts of the site, its rows the pages with their descriptions. A
row names a page by a link, or a generated page by its path in code (`reference/errors.md`).
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from docsite.reference import GENERATED

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
INDEX: Final = DOCS / "README.md"
LANDING: Final = "index.md"
# Documents beside docs/, and the index of each folder, by their path in the site.
ELSEWHERE: Final = {
    "README.md": LANDING,
    "ARCHITECTURE.md": "architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "vulnerabilities.md",  # docs/security.md is another page
    "docs/README.md": "pages.md",
    "docs/decisions/README.md": "decisions/index.md",
}
SECTION: Final = re.compile(r"^## (.+)$\n((?:(?!^## ).*\n?)*)", re.MULTILINE)
ROW: Final = re.compile(r"^\| (?:\[[^]]+\]\(([^)]+)\)|`([\w/-]+\.md)`) \| (.+) \|$", re.MULTILINE)


class UnknownPageError(Exception):
    """The index names a page that does not exist, or lacks a generated page."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page.

    Attributes:
        path: its path in the site's sources, such as `reference/errors.md`.
        description: its row of the index.
        source: its file; None if it is generated.
    """

    path: str
    description: str
    source: Path | None

    def text(self) -> str:
        """Returns the Markdown as it is in the file, or as it is generated."""
        return GENERATED[self.path]() if self.source is None else self.source.read_text("utf-8")

    @property
    def title(self) -> str:
        """The first heading, without markup."""
        heading = re.search(r"^# (.+)$", self.text(), re.MULTILINE)
        if heading is None:
            raise UnknownPageError(f"{self.path} has no heading.")
        return heading[1].replace("`", "")


def site_path(source: Path) -> str | None:
    """Returns where a file of the repository lies in the site; None if it is no page."""
    name = source.relative_to(ROOT).as_posix()
    if name in ELSEWHERE:
        return ELSEWHERE[name]
    if source.suffix == ".md" and source.is_relative_to(DOCS):
        return source.relative_to(DOCS).as_posix()
    return None


def sections() -> dict[str, list[Page]]:
    """Returns the pages of each section of the index, in order.

    Raises:
        UnknownPageError: a page of the index does not exist, or a generated page is not in the index.
    """
    parts = {
        title: [_page(*row) for row in ROW.findall(body)]
        for title, body in SECTION.findall(INDEX.read_text("utf-8"))
    }
    listed = {page.path for pages in parts.values() for page in pages}
    if missing := GENERATED.keys() - listed:
        raise UnknownPageError(f"docs/README.md lacks {', '.join(sorted(missing))}.")
    return parts


def _page(link: str, generated: str, description: str) -> Page:
    if generated:
        if generated not in GENERATED:
            raise UnknownPageError(f"docs/README.md: {generated} is not generated.")
        return Page(generated, description, None)
    source = (DOCS / link).resolve()
    path = site_path(source) if source.is_file() else None
    if path is None:
        raise UnknownPageError(f"docs/README.md: {link} is not a page.")
    return Page(path, description, source)


def decisions() -> list[Page]:
    """Returns the records of decisions, which have an index of their own."""
    files = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    return [Page(f"decisions/{file.name}", "", file) for file in files]
