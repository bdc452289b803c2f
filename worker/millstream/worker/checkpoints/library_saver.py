"""The saver of langgraph-checkpoint-redis, for `CHECKPOINTER=langgraph-redis`.

The library stores values as JSON, and objects as JSON objects with certain keys. It takes every such JSON object for
an object that it stored, also one in a client's input: a client could so have a worker import any module and build any
dataclass. Here the client's are stored as a list of their entries. What the library stored by itself stays readable.
"""

from base64 import b64decode
from typing import Any, Final, cast

from langgraph.checkpoint.base import CheckpointMetadata
from langgraph.checkpoint.redis.aio import AsyncRedisSaver
from langgraph.checkpoint.redis.jsonplus_redis import JsonPlusRedisSerializer

from millstream.shared.redis import Client
from millstream.worker.checkpoints.classes import ClassNotFoundError, find_data_class

PLAIN: Final = "__plain__"  # the only key of a JSON object that holds the entries of another
# The library takes a JSON object with one of these keys, or an `lc` of 1 or 2, for an object that it stored.
FLAGS: Final = ("__send__", "__interrupt__", "__delta_snapshot__")
BYTES: Final = "__bytes__"
METADATA: Final = JsonPlusRedisSerializer()


class LibrarySerializer(JsonPlusRedisSerializer):
    """Tells objects that it stored from JSON objects that look like them."""

    def _preprocess_redis_json(self, obj: Any, *, encode_bytes: Any = None) -> Any:
        if isinstance(obj, dict) and _looks_stored(obj):
            entries = [
                [key, self._preprocess_redis_json(value, encode_bytes=encode_bytes)]
                for key, value in obj.items()
            ]
            return {PLAIN: entries}
        return super()._preprocess_redis_json(obj, encode_bytes=encode_bytes)

    def _default_handler(self, obj: Any) -> Any:
        stored = super()._default_handler(obj)
        if isinstance(stored, dict):  # of an object, whose fields may hold JSON of a client
            return {key: self._preprocess_redis_json(value) for key, value in stored.items()}
        return stored

    def _revive_if_needed(self, obj: Any) -> Any:
        if isinstance(obj, dict) and obj.keys() == {PLAIN} and _are_entries(obj[PLAIN]):
            return {key: self._revive_if_needed(value) for key, value in obj[PLAIN]}
        if isinstance(obj, dict) and obj.keys() == {BYTES} and isinstance(obj[BYTES], str):
            return b64decode(obj[BYTES])
        return super()._revive_if_needed(obj)

    def _constructor_class(self, obj: dict[str, Any]) -> type[Any]:
        """Returns the class of a stored object; raises ValueError if it is no class of stored objects."""
        parts = obj.get("id")
        if not (
            isinstance(parts, list) and len(parts) > 1 and all(isinstance(p, str) for p in parts)
        ):
            raise ValueError("the id of a stored object is invalid")
        try:
            return cast("type[Any]", find_data_class(".".join(parts[:-1]), parts[-1]))
        except ClassNotFoundError as error:
            raise ValueError(str(error)) from None


class LibrarySaver(AsyncRedisSaver):
    """The library's saver with `LibrarySerializer`."""

    serde: LibrarySerializer

    def __init__(self, redis: Client) -> None:
        """`redis` stays open when the saver is closed."""
        super().__init__(redis_client=redis)
        self.serde = LibrarySerializer()

    def _recursive_deserialize(self, obj: Any) -> Any:
        return self.serde._revive_if_needed(obj)

    def _dump_metadata(self, metadata: CheckpointMetadata) -> str:
        # The library reads metadata as plain JSON.
        _, packed = METADATA.dumps_typed(metadata)
        return packed.decode().replace("\\u0000", "")


def _looks_stored(entries: dict[Any, Any]) -> bool:
    return (
        entries.get("lc") in (1, 2)
        or PLAIN in entries
        or BYTES in entries
        or any(entries.get(flag) is True for flag in FLAGS)
    )


def _are_entries(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, list) and len(each) == 2 for each in value
    )
