"""Reads the facts about the settings, the folder's langgraph.json, and the APIs that settings name."""

import asyncio
import http.client
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from millstream.shared.checks.facts import ApiAnswer, Environment, IssuerState, ProjectState
from millstream.shared.errors import SettingError
from millstream.shared.issuer import Issuer, IssuerError, read_keys
from millstream.shared.langgraph_json import ProjectFile, read_env, read_project
from millstream.shared.settings import Settings

ANSWER_SECONDS: Final = 3.0
MAX_ANSWER_BYTES: Final = 65_536
UNKNOWN_THREAD: Final = "00000000-0000-0000-0000-000000000000"


def read_environment(environ: Mapping[str, str]) -> Environment:
    """Reads the settings of an environment."""
    values = {name: text for name, text in environ.items() if text.strip()}
    contradicting = {}
    for declared in fields(Settings):
        winner, *losers = [name for name in declared.metadata["names"] if name in values] or [""]
        different = tuple(name for name in losers if values[name].strip() != values[winner].strip())
        if different:
            contradicting[winner] = different
    try:
        return Environment(Settings.from_env(environ), contradicting=contradicting)
    except SettingError as error:
        return Environment(None, str(error), contradicting)


def read_project_state(
    path: Path, environ: Mapping[str, str]
) -> tuple[ProjectState, dict[str, str]]:
    """Reads a langgraph.json and looks for what it names; returns the variables that it sets, too."""
    try:
        project = read_project(path)
        variables, notes = read_env(project, environ)
    except SettingError as error:
        return ProjectState(None, str(error)), {}
    return ProjectState(
        project,
        missing_files=tuple(
            name
            for name in dict.fromkeys(project.named_files)
            if not (project.folder / name).is_file()
        ),
        missing_folders=tuple(_missing_folders(project)),
        env_notes=tuple(notes),
    ), variables


def _missing_folders(project: ProjectFile) -> list[str]:
    """Returns the dependencies that are written as folders, and are none."""
    return [
        name
        for name in project.dependencies
        if name.startswith(("./", "../", "/")) and not (project.folder / name).exists()
    ]


async def read_api_answers(settings: Settings) -> tuple[ApiAnswer, ...]:
    """Requests `/ok` of each URL that a setting names."""
    urls = {"MILLSTREAM_API_URL": settings.api_url, "MILLSTREAM_PUBLIC_URL": settings.public_url}
    return tuple(
        await asyncio.gather(
            *(asyncio.to_thread(_ask, variable, url) for variable, url in urls.items() if url)
        )
    )


async def read_issuer(settings: Settings) -> IssuerState:
    """Reads the keys of the issuer of JWTs, if the settings name one."""
    if not settings.has_jwt:
        return IssuerState()
    issuer = Issuer(settings.jwt_issuer, settings.jwt_jwks_url)
    try:
        await asyncio.to_thread(read_keys, issuer)
    except IssuerError as error:
        return IssuerState(issuer.name, str(error))
    return IssuerState(issuer.name)


def _ask(variable: str, url: str) -> ApiAnswer:
    masked = urlsplit(url)._replace(netloc=urlsplit(url).netloc.rpartition("@")[2]).geturl()
    base = url.rstrip("/")
    try:
        status, body = _get(f"{base}/ok")
        # Credentials come first, so the id of no thread shows whether they are needed.
        is_open = _get(f"{base}/threads/{UNKNOWN_THREAD}")[0] == 404
    except (URLError, OSError, http.client.HTTPException) as error:
        return ApiAnswer(variable, masked, failure=str(getattr(error, "reason", error)))
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    is_millstream = isinstance(content, dict) and isinstance(content.get("ok"), bool)
    return ApiAnswer(
        variable,
        masked,
        status=status,
        is_millstream=is_millstream,
        is_open=is_millstream and is_open,
    )


def _get(url: str) -> tuple[int, bytes]:
    """Returns status and body of a response, also of an error."""
    request = Request(url, headers={"Accept": "application/json"})
    try:
        with urlopen(request, timeout=ANSWER_SECONDS) as response:
            return response.status, response.read(MAX_ANSWER_BYTES)
    except HTTPError as error:
        with error:
            return error.code, error.read(MAX_ANSWER_BYTES)
