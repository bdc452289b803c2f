"""Assistants with a record: created by clients, or default ones that a client has changed.

A record holds the current version and, up to `VERSIONS`, those before it. Source of the fields: the
LangGraph Platform API.
"""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from millstream.shared import keys, scripts
from millstream.shared.errors import ConflictError, NotFoundError
from millstream.shared.metadata_index import contains
from millstream.shared.redis import Client
from millstream.shared.wire import Assistant, unpack_assistant

VERSIONS: Final = 200  # that are kept of one assistant
PAGE: Final = 500  # records read in one round trip
HEAD: Final = ["head", "version", "created_at", "updated_at", "revision"]


@dataclass(frozen=True, slots=True)
class AssistantRecord:
    """An assistant as it is now, or one of its versions."""

    assistant: Assistant
    version: int
    created_at: int  # µs; of a version: its own
    updated_at: int  # µs
    revision: int | None = None  # changes with every write; None: there is no record

    def fits(self, *, metadata: dict[str, Any], graph_id: str | None, name: str | None) -> bool:
        """Returns whether it is of that graph, has that in its name and contains that metadata."""
        if graph_id not in (None, self.assistant.graph_id):
            return False
        if name is not None and name.lower() not in self.assistant.name.lower():
            return False
        return not metadata or contains(msgspec.json.decode(self.assistant.metadata), metadata)


async def read(redis: Client, assistant_ids: list[str]) -> list[AssistantRecord | None]:
    """Returns the record of each; None where there is none."""
    found: list[AssistantRecord | None] = []
    for start in range(0, len(assistant_ids), PAGE):
        pipe = redis.pipeline(transaction=False)
        for assistant_id in assistant_ids[start : start + PAGE]:
            pipe.hmget(keys.assistant(assistant_id), HEAD)
        found += [_record(words) for words in await pipe.execute()]
    return found


def _record(words: list[bytes | None]) -> AssistantRecord | None:
    head, version, created_at, updated_at, revision = words
    if head is None or not (version and created_at and updated_at and revision):
        return None
    return AssistantRecord(
        unpack_assistant(head), int(version), int(created_at), int(updated_at), int(revision)
    )


async def read_all(redis: Client) -> list[AssistantRecord]:
    """Returns every record, oldest first."""
    ids = [word.decode() for word in await redis.zrange(keys.assistants(), 0, -1)]
    return [record for record in await read(redis, ids) if record is not None]


async def versions(redis: Client, assistant_id: str) -> list[AssistantRecord]:
    """Returns the versions that are kept, newest first; none if there is no record."""
    words = await redis.hgetall(keys.assistant(assistant_id))  # type: ignore[misc]
    found = []
    for field, packed in words.items():
        kind, _, number = field.partition(b":")
        if kind == b"v":
            time = int(words[b"t:" + number])
            found.append(AssistantRecord(unpack_assistant(packed), int(number), time, time))
    return sorted(found, key=lambda record: -record.version)


async def create(redis: Client, assistant: Assistant) -> None:
    """Writes a first version; raises ConflictError if the id is taken."""
    if not await scripts.create_assistant(redis, assistant):
        raise id_taken_error(assistant.assistant_id)


def id_taken_error(assistant_id: str) -> ConflictError:
    """Returns the refusal of an id that an assistant has."""
    return ConflictError(f"Assistant with ID {assistant_id} already exists")


async def update(redis: Client, record: AssistantRecord, changed: Assistant) -> bool:
    """Gives the assistant a new version; returns False if it is another by now: read it again."""
    return bool(
        await scripts.update_assistant(
            redis,
            changed,
            revision=record.revision,
            first=record.assistant,
            announced_at=record.created_at,
            max_versions=VERSIONS,
        )
    )


async def choose(redis: Client, record: AssistantRecord, version: int) -> None:
    """Makes a version the current one; raises NotFoundError if there is none of that number."""
    if record.revision is None and version == record.version:
        return  # the only version of a default assistant that nobody has changed
    if not await scripts.choose_version(redis, record.assistant.assistant_id, version):
        raise NotFoundError(
            f"Assistant {record.assistant.assistant_id} has no version {version} "
            f"(the newest {VERSIONS} are kept)"
        )


async def delete(redis: Client, assistant_id: str) -> bool:
    """Deletes it with all its versions; returns False if it was gone already."""
    return await scripts.delete_assistant(redis, assistant_id)
