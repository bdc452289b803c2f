"""Converts parts of A2A messages to the content of LangChain messages, and back.

Files stay unchanged; nothing fetches their URLs.
Source: a2a-protocol.org (Part); LangChain's standard content blocks.
"""

import base64
import binascii
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

import msgspec
from a2a.types import a2a_pb2 as pb
from a2a.utils.errors import ContentTypeNotSupportedError, InvalidParamsError
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

MEDIA: Final = ("image", "audio", "video")
FILES: Final = frozenset({*MEDIA, "file", "text-plain"})  # types of content blocks


def content_of(message: pb.Message, modes: Sequence[str]) -> Any:
    """Returns a client's message as the content of a LangChain message: a text, or blocks.

    Raises InvalidParamsError for a message without parts, ContentTypeNotSupportedError for a part whose media type
    is not in `modes`.
    """
    blocks = [_block(part, modes) for part in message.parts]
    if not blocks:
        raise InvalidParamsError(message="message.parts: at least one part is needed")
    if all(block["type"] == "text" for block in blocks):
        return "\n".join(block["text"] for block in blocks)
    return blocks


def _block(part: pb.Part, modes: Sequence[str]) -> dict[str, Any]:
    kind = part.WhichOneof("content")
    media_type = part.media_type.partition(";")[0].strip().lower()
    if media_type and not any(fnmatchcase(media_type, mode) for mode in modes):
        raise ContentTypeNotSupportedError(
            message=f"message.parts: this agent does not accept {part.media_type!r}; it accepts: {', '.join(modes)}"
        )
    if kind == "text":
        return {"type": "text", "text": part.text}
    if kind == "data":
        return {"type": "text", "text": msgspec.json.encode(data_of(part)).decode()}
    family = media_type.partition("/")[0]
    block: dict[str, Any] = {"type": family if family in MEDIA else "file"}
    if part.media_type:
        block["mime_type"] = part.media_type
    if part.filename:
        block["extras"] = {"filename": part.filename}
    if kind == "url":
        return {**block, "url": part.url}
    if kind == "raw":
        return {**block, "base64": base64.b64encode(part.raw).decode()}
    raise InvalidParamsError(message="message.parts: a part needs text, data, a url or bytes")


def data_of(part: pb.Part) -> Any:
    """Returns the JSON value of a part. The protocol has floats only, so whole ones become integers."""
    return _whole(MessageToDict(part.data))


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_whole(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value


def data_part(value: Any) -> pb.Part:
    """Returns a part with a JSON value, or with its text if the value is nested too deep for the protocol."""
    part = pb.Part()
    try:
        ParseDict({"data": value}, part)
    except ParseError:
        return pb.Part(text=msgspec.json.encode(value).decode(), media_type="application/json")
    return part


def parts_of(content: Any) -> list[pb.Part]:
    """Returns the content of a LangChain message as parts, without reasoning and tool calls."""
    if isinstance(content, str):
        return [pb.Part(text=content)] if content else []
    parts: list[pb.Part] = []
    for part in _each(content if isinstance(content, list) else []):
        if parts and part.HasField("text") and parts[-1].HasField("text"):
            parts[-1].text += part.text
        else:
            parts.append(part)
    return parts


def _each(blocks: list[Any]) -> Iterator[pb.Part]:
    for block in blocks:
        if isinstance(block, str):
            yield pb.Part(text=block)
        elif not isinstance(block, dict) or not isinstance(block.get("type"), str):
            continue
        elif block["type"] == "text" and isinstance(block.get("text"), str):
            yield pb.Part(text=block["text"])
        elif block["type"] == "data" and "data" in block:
            yield data_part(block["data"])
        elif block["type"] in FILES:
            yield from _file(block)


def _file(block: dict[str, Any]) -> Iterator[pb.Part]:
    extras = block.get("extras")
    names = (block.get("filename"), extras.get("filename") if isinstance(extras, dict) else None)
    about: Any = {
        "media_type": str(block.get("mime_type") or ""),
        "filename": next((name for name in names if isinstance(name, str)), ""),
    }
    if isinstance(block.get("text"), str):
        yield pb.Part(text=block["text"], **about)
    elif isinstance(block.get("url"), str):
        yield pb.Part(url=block["url"], **about)
    elif isinstance(encoded := block.get("base64", block.get("data")), str):
        try:
            raw = base64.b64decode("".join(encoded.split()) + "==", altchars=b"-_")
        except (binascii.Error, ValueError):
            return
        yield pb.Part(raw=raw, **about)
