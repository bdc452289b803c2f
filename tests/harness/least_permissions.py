"""Redis users with the permissions that `millstream acl` prints."""

import shlex
from typing import Any

from click.testing import CliRunner
from redis import Redis

from millstream.cli.embedded import EmbeddedRedis
from millstream.cli.main import main
from millstream.shared.permissions import Role

# Optional: redis-py sends the first with each connection, processes the second when they start.
IGNORED = {"client|setinfo", "config|get"}


def denied_to(server: EmbeddedRedis, role: Role) -> set[str]:
    """Returns the commands, keys and channels that Redis has denied to the user of a role."""
    with Redis.from_url(server.url) as admin:
        entries: Any = admin.acl_log()
    return {
        entry["object"] for entry in entries if entry["username"] == f"millstream-{role}"
    } - IGNORED


def create_user(server: EmbeddedRedis, role: Role | None) -> str:
    """Creates the user of a role (None: of all) by the printed command; returns its URL."""
    name = "all" if role is None else str(role)
    store = ["--store"] if server.modules else []
    printed = CliRunner().invoke(main, ["acl", "--role", name, *store], catch_exceptions=False)
    command = shlex.split(printed.output.replace("PASSWORD", "pw"))
    with Redis.from_url(server.url) as admin:
        assert admin.execute_command(*command) == b"OK"
    return server.url_for(f"millstream-{name}", "pw")
