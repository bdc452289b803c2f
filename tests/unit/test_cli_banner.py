"""The banner of `millstream dev`, which hides passwords."""

import json
import shlex

import click
import pytest

from millstream.cli.banner import Facts, banner
from millstream.shared.redis import masked


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("redis://:secret@localhost:6379/0", "redis://:***@localhost:6379/0"),
        ("rediss://bob:secret@redis.test:6380", "rediss://bob:***@redis.test:6380"),
        ("redis://bob:se/c@re:t@redis.test", "redis://bob:***@redis.test"),
        ("unix:///run/redis.sock?password=secret&db=1", "unix:///run/redis.sock?password=***&db=1"),
    ],
)
def test_the_banner_masks_passwords(url: str, expected: str) -> None:
    assert masked(url) == expected


def facts(graphs: list[str], auth: str = "noop") -> Facts:
    return Facts(
        version="1.2.3",
        url="http://127.0.0.1:2024",
        graphs=graphs,
        auth=auth,
        redis="embedded, port 4711, data in /p/.millstream",
        workers=2,
        jobs=10,
        reload="off",
    )


def test_the_banner_lists_processes_and_addresses() -> None:
    text = click.unstyle(banner(facts(["chat", "echo"])))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    assert lines[:8] == [
        "Millstream 1.2.3 is ready",
        "API      http://127.0.0.1:2024",
        "Docs     http://127.0.0.1:2024/docs",
        "Graphs   chat, echo",
        "Auth     none: every client may do everything",
        "Redis    embedded, port 4711, data in /p/.millstream",
        "Workers  2, each with up to 10 runs at a time",
        "Reload   off",
    ]
    assert lines[-1] == "Ctrl-C stops everything."


def test_the_curl_line_requests_the_first_graph() -> None:
    text = click.unstyle(banner(facts(["it's", "echo"])))
    line = next(line for line in text.splitlines() if "curl" in line)
    arguments = shlex.split(line)
    assert arguments[:3] == ["curl", "-N", "http://127.0.0.1:2024/runs/stream"]
    assert json.loads(arguments[-1]) == {
        "assistant_id": "it's",
        "input": {"messages": [{"role": "user", "content": "hi"}]},
        "stream_mode": "values",
    }


def test_the_banner_names_the_credentials() -> None:
    text = click.unstyle(banner(facts(["chat"], "jwt,api_key")))
    assert "Auth     jwt,api_key" in text
    assert "-H 'Authorization: Bearer KEY'" in text


def test_without_graphs_there_is_no_curl_line() -> None:
    assert "curl" not in banner(facts([]))
