"""Builds the site: HTML by Zensical, the diagrams' library, the Markdown of each page, and llms.txt."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from docsite import mermaid
from docsite.pages import ROOT, Page, sections
from docsite.staging import stage

BUILD: Final = ROOT / "build" / "docs"
CACHE: Final = ROOT / "build" / "npm"
# What Zensical's script would load from elsewhere. Diagrams are drawn by our copy; no page uses the others.
EXTERNAL: Final = re.compile(rb'"https://(?:unpkg\.com|cdn\.jsdelivr\.net)/([^"]*)"')
LOCAL: Final = b'new URL("assets/javascripts/mermaid.min.js",__md_scope).href'
SUMMARY: Final = """\
# Millstream

> A run server for LangGraph graphs on Redis alone. It speaks the LangGraph Platform API: a thin API admits runs into
> Redis and streams their events as SSE, and separate workers execute the graphs.

Each page is HTML, and Markdown under the same name with `.md`.
"""


class BuildError(Exception):
    """Zensical reported a problem, such as a link without a target."""


def build(folder: Path = BUILD) -> Path:
    """Builds the site into `folder`; returns the folder of the HTML.

    Raises:
        BuildError: Zensical found a problem. The message has its output.
        UnknownPageError: docs/README.md and the pages differ.
        BrokenLinkError: a page links to what does not exist.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    pages = stage(folder)
    done = subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--clean"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    html = folder / "html"
    if done.returncode or not html.is_dir():
        raise BuildError(re.sub(r"\x1b\[[\d;]*m", "", done.stdout + done.stderr))
    _keep_requests_local(html)
    _add_markdown(folder / "pages", html)
    (html / "llms.txt").write_text(overview(pages), "utf-8")
    return html


def _keep_requests_local(html: Path) -> None:
    [script] = (html / "assets" / "javascripts").glob("bundle.*.js")
    text, count = EXTERNAL.subn(
        lambda url: LOCAL if url[1].startswith(b"mermaid@") else b'"about:blank"',
        script.read_bytes(),
    )
    if LOCAL not in text:
        raise BuildError(f"Zensical's script names mermaid in none of its {count} external URLs.")
    script.write_bytes(text)
    (script.parent / "mermaid.min.js").write_bytes(mermaid.library(CACHE))


def _add_markdown(pages: Path, html: Path) -> None:
    for source in pages.rglob("*.md"):
        path = source.relative_to(pages)
        shutil.copyfile(source, html / path)
        page = html / path.with_suffix(".html")
        link = f'<link rel="alternate" type="text/markdown" href="{path.name}"></head>'
        page.write_text(page.read_text("utf-8").replace("</head>", link, 1), "utf-8")


def overview(pages: list[Page]) -> str:
    """Returns llms.txt: the pages by section, each with its description. Source of the format: llmstxt.org."""
    parts = [SUMMARY]
    for title, part in sections().items():
        rows = [f"- [{page.title}]({page.path}): {page.description}" for page in part]
        parts.append(f"\n## {title}\n\n" + "\n".join(rows) + "\n")
    return "".join(parts)
