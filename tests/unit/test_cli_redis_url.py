"""No command prints the password of REDIS_URL, valid or not."""

import pytest
from click.testing import CliRunner

from millstream.cli.main import main

PASSWORD = "S3CRET-PW"


@pytest.mark.parametrize(
    "url",
    [
        f"user:{PASSWORD}@127.0.0.1:1/0",
        PASSWORD,
        f"redis://user:{PASSWORD}@127.0.0.1:1/0",
        f"redis+sentinel://127.0.0.1:1/main?sentinel_password={PASSWORD}",
    ],
)
@pytest.mark.parametrize("command", ["status --once", "keys list", "runs list", "queues", "doctor"])
def test_no_command_prints_the_password_of_redis(
    monkeypatch: pytest.MonkeyPatch, url: str, command: str
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code in (1, 2)
    assert "Redis" in result.output
    assert PASSWORD not in result.output
    assert isinstance(result.exception, SystemExit)
