"""An auth file as projects write it (tests/graphs/tenants.py), whose users an identity service knows."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from millstream.shared.auth_process.authorizer import ProjectAuthorizer
from millstream.shared.errors import AccessError, UnauthenticatedError
from worker.auth_project import started

AUTH_FILE = Path(__file__).parents[1] / "graphs" / "tenants.py"
USERS = {
    "Bearer t1": {"id": "u-1", "email": "one@example.com"},
    "Bearer t2": {"id": "u-2", "email": "two@example.com"},
}


class IdentityService(BaseHTTPRequestHandler):
    """Says to which user a token belongs."""

    def do_GET(self) -> None:
        user = USERS.get(self.headers["authorization"]) if self.path == "/auth/v1/user" else None
        body = json.dumps(user).encode()
        self.send_response(200 if user else 401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Writes nothing."""


@pytest.fixture
def identity_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with ThreadingHTTPServer(("127.0.0.1", 0), IdentityService) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("IDENTITY_URL", f"http://127.0.0.1:{server.server_address[1]}")
        yield
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("identity_service")
async def test_users_reach_their_own_resources(tmp_path: Path) -> None:
    async with started(tmp_path, f"{AUTH_FILE}:auth") as processes:
        authorizer = ProjectAuthorizer(processes, deny_unhandled=True)
        for authorization in (None, "", "t1", "Basic t1"):
            with pytest.raises(UnauthenticatedError):
                await processes.authenticate({"authorization": authorization})
        with pytest.raises(AccessError, match="Invalid token") as error:
            await processes.authenticate({"authorization": "Bearer other"})
        assert error.value.status == 401
        one = await processes.authenticate({"authorization": "Bearer t1"})
        two = await processes.authenticate({"authorization": "Bearer t2"})
        assert (one.identity, one.display_name) == ("u-1", "one@example.com")
        read = await authorizer.decide(one, "threads.search", {"metadata": {"a": 1}})
        assert read.value == {"metadata": {"a": 1, "owner": "u-1"}}
        assert read.filter is not None
        assert read.filter.matches({"owner": "u-1"})
        assert not read.filter.matches({"owner": two.identity})
        put = await authorizer.decide(two, "store.put", {"namespace": ["notes"], "key": "k"})
        assert put.value["namespace"] == ["u-2", "notes"]
        listed = await authorizer.decide(two, "store.list_namespaces", {"namespace": None})
        assert listed.value["namespace"] == ["u-2"]
        for ask in ("threads.create", "assistants.delete"):
            with pytest.raises(AccessError) as error:
                await authorizer.decide(one, ask, {})
            assert error.value.status == 403
