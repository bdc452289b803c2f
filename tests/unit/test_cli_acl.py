"""`millstream acl`: the rules of each role."""

import json

import pytest
from click.testing import CliRunner, Result

from millstream.cli.main import main
from millstream.shared import store_items
from millstream.shared.permissions import OF_ONE_ROLE, OF_OPERATORS, Role


def acl(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["acl", *arguments])


def test_the_printed_command_creates_a_user_with_nothing_but_the_rules() -> None:
    result = acl("--role", "api")
    assert result.exit_code == 0
    parts = result.output.split()
    assert parts[:6] == ["ACL", "SETUSER", "millstream-api", "reset", "on", ">PASSWORD"]
    assert parts[6:9] == ["-@all", "~ms:*", "&ms:*"]
    assert all(rule.startswith("+") and not rule.startswith("+@") for rule in parts[9:])
    assert result.output.count("\n") == 1


@pytest.mark.parametrize("role", Role)
def test_a_role_has_the_commands_of_all_without_those_of_the_other(role: Role) -> None:
    rules = {name: set(acl("--role", name).output.split()[6:]) for name in ("all", str(role))}
    [other] = set(Role) - {role}
    others = OF_ONE_ROLE[other] | OF_OPERATORS
    assert rules["all"] - rules[role] == {f"+{name.lower()}" for name in others}
    assert rules[role] <= rules["all"]


def test_the_store_is_for_workers_alone() -> None:
    of_store = {f"+{name.lower()}" for name in store_items.COMMANDS}
    for role in ("worker", "all"):
        assert of_store <= set(acl("--role", role, "--store").output.split())
        assert not of_store & set(acl("--role", role).output.split())
    assert acl("--role", "api", "--store").output == acl("--role", "api").output


def test_json_has_the_user_the_role_and_the_rules() -> None:
    report = json.loads(acl("--json", "--user", "ms").output)
    assert (report["user"], report["role"]) == ("ms", "all")
    assert report["rules"] == acl().output.split()[6:]


def test_an_unknown_role_has_exit_status_2() -> None:
    assert acl("--role", "admin").exit_code == 2
