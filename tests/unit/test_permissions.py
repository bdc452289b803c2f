"""The message for a Redis user without enough permissions, and the commands that the check covers."""

import re
from pathlib import Path

from millstream.shared import permissions, scripts
from millstream.shared.permissions import DeniedPermissions


def test_a_user_with_all_permissions_gets_no_message() -> None:
    assert DeniedPermissions().message("ms") == ""


def test_one_sentence_names_all_missing_permissions_and_one_rule_adds_them() -> None:
    denied = DeniedPermissions(
        commands=["TIME", "EVAL", "TIME"], keys=["ms:queue:trial"], channels=["ms:a"]
    )
    assert denied.message("ms") == (
        "The Redis user 'ms' may not use the keys ms:* (ms:queue:trial, for one) and the channels "
        "ms:* (ms:a, for one) and the commands TIME, EVAL, without which no run can be executed. "
        "This allows it: ACL SETUSER ms ~ms:* &ms:* +time +eval"
    )


def test_many_missing_commands_are_shortened_and_the_usual_rule_is_printed() -> None:
    said = DeniedPermissions(commands=list(permissions.COMMANDS)).message("ms")
    assert said.endswith("ACL SETUSER ms +@all -@dangerous")
    assert f"{len(permissions.COMMANDS)} commands (COPY, EXISTS, " in said
    assert len(said) < 300


def test_every_command_of_every_script_is_checked() -> None:
    folder = Path(scripts.__file__).parent
    used = {
        name
        for script in folder.rglob("*.lua")
        for first in re.findall(r"redis\.p?call\(([^,)]*)", script.read_text())
        for name in re.findall(r"'([A-Z.]+)'", first)
    }
    assert {"HSET", "PUBLISH", "ZREVRANGE", "TIME"} <= used
    of_the_store = {name for name in used if name.startswith("JSON.")}
    assert used - of_the_store <= set(permissions.all_commands())
