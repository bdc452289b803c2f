"""Writes the sources of the site: the pages with their links as the site needs them, and its configuration."""

import json
import posixpath
import re
import shutil
from pathlib import Path
from typing import Any, Final

from docsite.pages import DOCS, INDEX, LANDING, ROOT, Page, decisions, sections, site_path
from docsite.reference import GENERATED

SITE: Final = DOCS / "site"  # configuration, style sheet and logo
LINK: Final = re.compile(r"(!?\[[^]]*\])\((?!https?:|#|mailto:)([^)\s#]*)(#[^)\s]*)?\)")
GENERATED_NAME: Final = re.compile(r"(?<!\[)`(reference/[\w-]+\.md)`")
FENCE: Final = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
# Code blocks with a title that follow each other directly: one example in several languages.
TITLED: Final = r'```\w+ title="(?!Output")[^"]+"\n(?:(?!```).*\n)*```\n'
TABS: Final = re.compile(rf"^(?:{TITLED}\n?){{2,}}", re.MULTILINE)
TAB: Final = re.compile(r'```(\w+) title="([^"]+)"\n((?:(?!```).*\n)*)```\n')
CODE: Final = re.compile(r"`[^`\n]*`")
WIDE: Final = "---\nhide:\n  - navigation\n  - toc\n---\n\n"


class BrokenLinkError(Exception):
    """A page links to what is no file of the repository."""


def stage(folder: Path) -> list[Page]:
    """Writes all sources of the site into an empty folder; returns the pages, in the order of the index."""
    parts = sections()
    records = decisions()
    pages = [page for part in parts.values() for page in part]
    extra = [Page(LANDING, "", DOCS / LANDING), Page("pages.md", "", INDEX)]
    for page in [*extra, *pages, *records]:
        target = folder / "pages" / page.path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(staged_text(page, folder / "pages"), "utf-8")
    shutil.copytree(SITE / "assets", folder / "pages" / "assets")
    navigation = [
        {"Home": LANDING},
        *({title: nav(part, records)} for title, part in parts.items()),
    ]
    config = (SITE / "mkdocs.yml").read_text("utf-8")
    (folder / "mkdocs.yml").write_text(f"{config}nav: {json.dumps(navigation)}\n", "utf-8")
    return pages


def nav(pages: list[Page], records: list[Page]) -> list[Any]:
    """Returns the navigation of one section; the records of decisions are below their index."""
    entries: list[Any] = []
    for page in pages:
        if page.path == "decisions/index.md":
            entries.append({page.title: [page.path, *({p.title: p.path} for p in records)]})
        else:
            entries.append({page.title: page.path})
    return entries


def staged_text(page: Page, root: Path) -> str:
    """Returns the Markdown of a page for the site. Copies files that it links to, and that are no pages."""
    text = page.text()
    blocks = FENCE.findall(text)
    # Code is not rewritten: `\0` stands for each block meanwhile.
    prose = FENCE.sub("\0", text)
    prose = LINK.sub(lambda link: _rewritten(link, page, root), prose)
    prose = GENERATED_NAME.sub(lambda name: _generated_link(name, page), prose)
    # GitHub needs a backslash before `|` in the code of a table, and Python-Markdown would show it.
    prose = CODE.sub(lambda code: code[0].replace("\\|", "|"), prose)
    for block in blocks:
        prose = prose.replace("\0", block, 1)
    text = TABS.sub(_tabs, prose)
    return WIDE + text if page.path == LANDING else text


def _rewritten(link: re.Match[str], page: Page, root: Path) -> str:
    label, target, anchor = link[1], link[2], link[3] or ""
    if page.source is None:  # a generated page links by the paths of the site
        return link[0]
    file = (page.source.parent / target).resolve()
    if file.is_dir():
        file = file / "README.md"
    if not file.is_file() or not file.is_relative_to(ROOT):
        raise BrokenLinkError(f"{page.source.relative_to(ROOT)}: {target}")
    path = site_path(file)
    if path is None:
        path = f"files/{file.relative_to(ROOT).as_posix()}"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        # A name that the site would take for a page, or that a browser would run, is shown as text.
        path += "" if file.suffix in (".png", ".svg") else ".txt"
        shutil.copyfile(file, root / path)
    return f"{label}({posixpath.relpath(path, posixpath.dirname(page.path) or '.')}{anchor})"


def _generated_link(name: re.Match[str], page: Page) -> str:
    if name[1] not in GENERATED:
        raise BrokenLinkError(f"{page.path}: {name[1]}")
    title = Page(name[1], "", None).title
    return f"[{title}]({posixpath.relpath(name[1], posixpath.dirname(page.path) or '.')})"


def _tabs(group: re.Match[str]) -> str:
    tabs = []
    for language, title, code in TAB.findall(group[0]):
        body = "".join(f"    {line}" if line.strip() else line for line in code.splitlines(True))
        tabs.append(f'=== "{title}"\n\n    ```{language}\n{body}    ```\n')
    return "\n".join(tabs) + "\n"
