"""The table in docs/limits.md is compared with the code: settings, defaults, numbers, and the tests that it names."""

import re
from dataclasses import fields

from house.tree import ROOT
from millstream.api.http import body, connections
from millstream.api.main import KEEP_IDLE_CONNECTIONS
from millstream.api.protocol.schemas import MAX_CHANNELS, MAX_NAMESPACES
from millstream.api.protocol.websocket import MAX_SUBSCRIPTIONS
from millstream.api.threads.schemas import MAX_FILTER_BYTES
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
    assert MAX_CHANNELS == MAX_NAMESPACES
    fixed = {row[0]: row[2] for row in ROWS if not row[1]}
    assert fixed == {
        "the size of the URL and the headers": f"{connections.MAX_HEADER_BYTES // 1024} KiB",
        "the number of headers": str(connections.MAX_HEADERS),
        "query parameters of a URL": str(connections.MAX_QUERY_FIELDS),
        "a connection without a request": f"{KEEP_IDLE_CONNECTIONS} s",
        "several `Host` headers": "none",
        "levels of objects and lists in a body": str(body.MAX_LEVELS),
        "JSON values in a call of MCP or A2A": f"{body.MAX_RPC_VALUES:,}",
        "the filter of a search, as JSON": f"{MAX_FILTER_BYTES // 1024} KiB",
        "channels, and namespaces, of a subscription": str(MAX_CHANNELS),
        "subscriptions of a WebSocket": str(MAX_SUBSCRIPTIONS),
    }


def test_each_limit_names_a_test_that_exists() -> None:
    for row in ROWS:
        assert (ROOT / row[4].strip("`")).is_file(), row
