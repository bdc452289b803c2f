"""The process that executes the project's handlers: `python -m millstream.shared.auth_process.child`.

An API or a worker starts it. When that dies, this process ends: its socket closes, and on Linux the kernel sends
SIGKILL.
"""

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from millstream.shared import logs
from millstream.shared.auth_process import messages
from millstream.shared.auth_process.answering import Answering
from millstream.shared.auth_process.messages import Failed, FromChild, Ready
from millstream.shared.auth_process.project_auth import ProjectAuth
from millstream.shared.child_process import frame, read_frame
from millstream.shared.errors import SettingError
from millstream.shared.importing import load_object
from millstream.shared.langgraph_json import enter, read_project
from millstream.shared.own_api import connect_sdk
from millstream.shared.settings import Settings

log = logging.getLogger("millstream.auth")


def main() -> None:
    """Loads the project and answers the parent's questions, until the socket closes."""
    parser = argparse.ArgumentParser(prog="millstream.shared.auth_process.child")
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--request-class", default="", help="module:name of the class of `request`")
    parser.add_argument("--socket", type=int, required=True)
    arguments = parser.parse_args()
    # The parent alone stops this process. A signal from a terminal or from a node reaches both.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    connection = socket.socket(fileno=arguments.socket)
    logs.configure("auth", logs.early_settings())
    try:
        auth = load(arguments.config, arguments.request_class)
        logs.configure("auth", Settings.from_env())
    except SettingError as error:
        connection.sendall(frame(messages.encode(Failed(str(error)))))
        sys.exit(1)
    asyncio.run(_serve(auth, connection))


def load(config: Path, request_class: str = "") -> ProjectAuth:
    """Returns what `auth.path` of a langgraph.json names; raises SettingError that says what is wrong and where."""
    project = read_project(config)
    path = None if project.config.auth is None else project.config.auth.path
    if path is None:
        raise SettingError(f"{config}: `auth` has no `path`.")
    for note in enter(project):
        log.warning("%s", note)
    connect_sdk()
    return ProjectAuth(load_object(path, project.folder, "auth.path"), path, request_class)


async def _serve(auth: ProjectAuth, connection: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=connection)

    def send(message: FromChild) -> None:
        writer.write(frame(messages.encode(message)))

    answering = Answering(auth, send)
    send(Ready(auth.parameters, auth.handled))
    while (data := await read_frame(reader)) is not None:
        answering.receive(messages.decode_in_child(data))
    os._exit(0)  # the parent has died or has no use for the process; threads may hang


if __name__ == "__main__":
    main()
