"""The records of assistants: of those that clients created, and of default assistants that a client changed.

A record holds the current version and earlier ones, up to `VERSIONS`. Source of the fields: the LangGraph Platform API.
"""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from millstream.shared import keys, scripts
from millstream.shared.errors import ConflictError, NotFoundError
from millstream.shared.metadata_index import contains
from millstream.shared.redis import Client
from millstream.shared.sealing import KeyRing, key_ring_of
from millstream.shared.sealing.structs import unpack_sealed_assistant
from millstream.shared.wire import Assistant

VERSIONS: Final = 200  # that an assistant keeps
PAGE: Final = 500  # records read in one round trip
HEAD: Final = ["head", "version", "created_at", "updated_at", "revision"]


@dataclass(frozen=True, slots=True)
class AssistantRecord:
    """An assistant with its current version, or one of its versions."""

    assistant: Assistant
    version: int
    created_at: int  # µs; for a version: its own time
    updated_at: int  # µs
    revision: int | None = None  # changes with every write; None without a record

    def matches(self, *, metadata: dict[str, Any], graph_id: str | None, name: str | None) -> bool:
        """Returns whether the graph is equal, the name contains `name`, and the metadata contains `metadata`."""
        if graph_id not in (None, self.assistant.graph_id):
            return False
        if name is not None and name.lower() not in self.assistant.name.lower():
            return False
        return not metadata or contains(msgspec.json.decode(self.assistant.metadata), metadata)


async def read(redis: Client, assistant_ids: list[str]) -> list[AssistantRecord | None]:
    """Returns the record of each assistant; None where it has no record."""
    records: list[AssistantRecord | None] = []
    for start in range(0, len(assistant_ids), PAGE):
        pipe = redis.pipeline(transaction=False)
        for assistant_id in assistant_ids[start : start + PAGE]:
            pipe.hmget(keys.assistant(assistant_id), HEAD)
        records += [_parse(key_ring_of(redis), values) for values in await pipe.execute()]
    return records


def _parse(key_ring: KeyRing, values: list[bytes | None]) -> AssistantRecord | None:
    head, version, created_at, updated_at, revision = values
    if head is None or not (version and created_at and updated_at and revision):
        return None
    return AssistantRecord(
        unpack_sealed_assistant(key_ring, head),
        int(version),
        int(created_at),
        int(updated_at),
        int(revision),
    )


async def read_all(redis: Client) -> list[AssistantRecord]:
    """Returns every record, oldest first."""
    ids = [assistant_id.decode() for assistant_id in await redis.zrange(keys.assistants(), 0, -1)]
    return [record for record in await read(redis, ids) if record is not None]


async def versions(redis: Client, assistant_id: str) -> list[AssistantRecord]:
    """Returns the stored versions, newest first; an empty list without a record."""
    fields = await redis.hgetall(keys.assistant(assistant_id))  # type: ignore[misc]
    stored = []
    for field, packed in fields.items():
        kind, _, number = field.partition(b":")
        if kind == b"v":
            time = int(fields[b"t:" + number])
            assistant = unpack_sealed_assistant(key_ring_of(redis), packed)
            stored.append(AssistantRecord(assistant, int(number), time, time))
    return sorted(stored, key=lambda record: -record.version)


async def create(redis: Client, assistant: Assistant) -> None:
    """Writes the first version; raises ConflictError if the id is taken."""
    if not await scripts.create_assistant(redis, assistant):
        raise id_taken_error(assistant.assistant_id)


def id_taken_error(assistant_id: str) -> ConflictError:
    """Returns the error for an id that another assistant has."""
    return ConflictError(f"Assistant with ID {assistant_id} already exists")


async def update(redis: Client, record: AssistantRecord, changed: Assistant) -> bool:
    """Adds a version and makes it the current one; returns False if the record has changed: read it again."""
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


async def choose(
    redis: Client, record: AssistantRecord, version: int, revision: int | None = None
) -> None:
    """Makes a version the current one.

    Raises NotFoundError if that version is not stored, RightsChangedError if the record has another
    revision than the given one.
    """
    if record.revision is None and version == record.version:
        return  # a default assistant without a record has only this version
    if not await scripts.choose_version(redis, record.assistant.assistant_id, version, revision):
        raise NotFoundError(
            f"Assistant {record.assistant.assistant_id} has no version {version} "
            f"(the newest {VERSIONS} are kept)"
        )


async def delete(redis: Client, assistant_id: str, revision: int | None = None) -> bool:
    """Deletes the record with all versions; returns False if the assistant has none.

    Raises RightsChangedError if it has another revision than the given one.
    """
    return await scripts.delete_assistant(redis, assistant_id, revision)
