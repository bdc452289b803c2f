"""The ACL rules of each role are those of the code that it can reach: shared/permissions.py can't go stale."""

from house.reachable import commands_of, modules_of
from millstream.shared import permissions
from millstream.shared.permissions import Role

STARTS = {Role.API: "millstream.api.main", Role.WORKER: "millstream.worker.main"}
# Of connections, transactions and notifications, and of the trial itself: every process uses them.
OF_ALL = {*permissions.CONNECTION_COMMANDS, "PUBLISH", "SET", "PEXPIRE", "UNLINK", "DEL", "TIME"}

OF_ARQ = {"PSETEX"}  # its health check


def test_the_commands_of_one_role_alone_are_those_that_only_its_code_reaches() -> None:
    known = set(permissions.all_commands())
    reached = {role: commands_of(start, known) | OF_ALL for role, start in STARTS.items()}
    api, worker = reached[Role.API], reached[Role.WORKER] | OF_ARQ
    assert {Role.API: api - worker, Role.WORKER: worker - api} == permissions.OF_ONE_ROLE
    assert known >= api | worker, "a command that is used and not tried"
    operators = commands_of("millstream.cli.main", known) - api - worker
    assert operators == permissions.OF_OPERATORS
    assert known <= api | worker | operators, "a command that no code uses needs no permission"


def test_each_role_reaches_its_own_code() -> None:
    assert "millstream.api.runs.admission" in modules_of(STARTS[Role.API])
    assert "millstream.worker.maintenance.reaper" in modules_of(STARTS[Role.WORKER])
    for role, other in ((Role.API, "worker"), (Role.WORKER, "api")):
        assert not any(name.startswith(f"millstream.{other}") for name in modules_of(STARTS[role]))
