"""The site of docs/: its pages, links and files, and what a browser makes of them."""

import asyncio
import json
import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import pytest

from docsite.pages import ROOT, decisions, sections
from e2e.browser.node_packages import CHROMIUM, run_npm

DRIVE: Final = Path(__file__).with_name("drive.mjs")
CHAT: Final = ROOT / "examples" / "chat"  # has the package that drives the browser
LOADED: Final = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src")}
pytestmark = pytest.mark.xdist_group("site")


class Links(HTMLParser):
    """The ids and the targets of one page."""

    def __init__(self, page: Path) -> None:
        """Reads the page."""
        super().__init__()
        self.ids: set[str] = set()
        self.targets: list[tuple[str, str, str]] = []  # tag, attribute, value
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes the ids and targets of a tag."""
        for name, value in attrs:
            if value is not None and name == "id":
                self.ids.add(value)
            if value is not None and name in ("href", "src"):
                self.targets.append((tag, name, value))


@pytest.fixture(scope="session")
def pages(site: Path) -> dict[Path, Links]:
    """The pages of the site but the one for unknown paths, whose links begin at the root."""
    return {page: Links(page) for page in site.rglob("*.html") if page.name != "404.html"}


def test_every_link_and_anchor_has_a_target(pages: dict[Path, Links]) -> None:
    broken = []
    for page, links in pages.items():
        for _, _, target in links.targets:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            if not file.is_file() or (
                parts.fragment and file in pages and parts.fragment not in pages[file].ids
            ):
                broken.append(f"{page.name}: {target}")
    assert len(pages) > 80
    assert not broken, "\n".join(broken)


def test_no_page_loads_anything_from_another_host(site: Path, pages: dict[Path, Links]) -> None:
    external = [
        f"{page.name}: {value}"
        for page, links in pages.items()
        for tag, name, value in links.targets
        if (tag, name) in LOADED and urlsplit(value).netloc
    ]
    assert not external
    for file in (*site.rglob("*.js"), *site.rglob("*.css")):
        if (
            file.name != "mermaid.min.js"
        ):  # its own addresses are in texts of licences and namespaces
            hosts = re.findall(
                r"https?://(?:unpkg|cdn|fonts|[\w.]*jsdelivr)[^\"' )]*", file.read_text()
            )
            assert not hosts, f"{file.name}: {hosts}"


def test_each_page_of_the_index_is_html_and_markdown(site: Path) -> None:
    listed = [page for part in sections().values() for page in part]
    overview = (site / "llms.txt").read_text()
    for page in [*listed, *decisions()]:
        html = (site / page.path).with_suffix(".html").read_text()
        assert f'type="text/markdown" href="{Path(page.path).name}"' in html
        markdown = (site / page.path).read_text()
        assert re.search(
            rf"^# .*{re.escape(page.title[:20])}", markdown.replace("`", ""), re.MULTILINE
        )
    for page in listed:
        assert f"]({page.path}): {page.description}\n" in overview


@pytest.mark.timeout(300)  # eight seconds of CPU time, on a machine that may be busy
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
async def test_a_browser_shows_all_pages_and_their_diagrams_and_the_search_finds_them(
    site: Path, site_url: str, pages: dict[Path, Links], tmp_path: Path
) -> None:
    run_npm()
    pictures = os.environ.get("PICTURES", str(tmp_path))
    expected = {
        page.relative_to(site).as_posix(): page.read_text().count('<pre class="mermaid"')
        for page in pages
    }
    # Of pages without diagrams, those of the first level: the others are many and alike.
    expected = {path: count for path, count in expected.items() if count or "/" not in path}
    process = await asyncio.create_subprocess_exec(
        "node", str(DRIVE), site_url, str(CHROMIUM), pictures,
        cwd=CHAT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(240):
            out, errors = await process.communicate(json.dumps(sorted(expected)).encode())
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode == 0, errors.decode()
    seen: dict[str, Any] = json.loads(out)
    assert seen["errors"] == []
    assert seen["external"] == []
    assert seen["diagrams"] == expected
    assert sum(expected.values()) > 20
    assert any("lifecycle.html" in url for url in seen["results"])
    assert seen["dark"] != seen["light"]
