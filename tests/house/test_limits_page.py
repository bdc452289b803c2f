"""The table in docs/limits.md is compared with the code: settings, defaults, numbers, and the tests that it names."""

import re
from dataclasses import fields

from house.tree import ROOT
from millstream.api.http import body, connections
from millstream.api.main import KEEP_IDLE_CONNECTIONS
from millstream.api.protocol.websocket import MAX_SUBSCRIPTIONS
from millstream.shared.limit_settings import LimitSettings
from millstream.shared.trace_settings import TraceSettings

PAGE = (ROOT / "docs" / "limits.md").read_text()
ROWS = [
    [cell.strip() for cell in row.strip("|").split("|")]
    for row in re.findall(r"^\| .*", PAGE, re.MULTILINE)[1:]
]


def test_each_setting_of_limits_has_a_row_with_its_default() -> None:
    others = {each.name for each in fields(TraceSettings)}
    settings = {
        f"`{each.metadata['names'][0]}`": f"`{each.default:g}`"
        if isinstance(each.default, float)
        else f"`{each.default}`"
        for each in fields(LimitSettings)
        if each.name not in others
    }
    assert {row[1]: row[2].split(" (")[0] for row in ROWS if row[1]} == settings


def test_each_fixed_limit_has_the_number_of_the_code() -> None:
    fixed = {row[0]: row[2] for row in ROWS if not row[1]}
    assert fixed == {
        "the size of the URL and the headers": f"{connections.MAX_HEADER_BYTES // 1024} KiB",
        "a connection without a request": f"{KEEP_IDLE_CONNECTIONS} s",
        "several `Host` headers": "none",
        "levels of objects and lists in a body": str(body.MAX_LEVELS),
        "subscriptions of a WebSocket": str(MAX_SUBSCRIPTIONS),
    }


def test_each_limit_names_a_test_that_exists() -> None:
    for row in ROWS:
        assert (ROOT / row[4].strip("`")).is_file(), row
