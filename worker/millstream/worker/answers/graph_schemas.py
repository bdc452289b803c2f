"""Describes a graph: JSON schemas, nodes and edges, subgraphs. Source: the LangGraph Platform API."""

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, cast, get_type_hints

from langchain_core.runnables import RunnableConfig
from langchain_core.utils.pydantic import create_model_v2
from langgraph.pregel import Pregel

from millstream.shared.access import unpack_user
from millstream.shared.errors import InvalidError, RefusedError
from millstream.shared.wire import Call
from millstream.worker import private_entries
from millstream.worker.answers.context import AnswerContext
from millstream.worker.client_errors import show_or
from millstream.worker.encode import encode
from millstream.worker.graphs import Graph

log = logging.getLogger(__name__)

Schema = dict[str, Any]
# Raised for types that JSON Schema can't describe, or whose names can't be resolved.
SCHEMA_ERRORS: Final = (RuntimeError, TypeError, NameError, ValueError, AttributeError)


async def get_schemas(context: AnswerContext, call: Call) -> bytes:
    """`schemas`: returns the JSON schemas of the graph. Arguments: config."""
    config = _config(call)
    async with context.graph(call, "assistants.read", config) as graph:
        return encode({"graph_id": call.graph_id, **schemas_of(graph)})


async def draw(context: AnswerContext, call: Call) -> bytes:
    """`graph`: returns the graph's nodes and edges in LangChain's form. Arguments: config, xray.

    Raises RefusedError for a graph that can't be drawn.
    """
    config, xray = _config(call), call.arguments["xray"]
    async with context.graph(call, "assistants.read", config) as graph:
        try:
            drawable = await graph.aget_graph(config, xray=xray)
        except Exception as error:  # of the user's code: invalid types, cycles, ...
            log.info("graph %r can't be drawn", call.graph_id, exc_info=error)
            text = show_or(f"The graph can't be drawn: {error}", masked="The graph can't be drawn.")
            raise RefusedError(text) from error
        drawing: dict[str, Any] = drawable.to_json()
        for node in drawing["nodes"]:
            if isinstance(node.get("data"), dict):
                node["data"].pop("id", None)  # names classes of the library
        return encode(drawing)


async def get_subgraphs(context: AnswerContext, call: Call) -> bytes:
    """`subgraphs`: returns each subgraph's schemas by namespace.

    Arguments: config, namespace (None: all), recurse. Raises InvalidError for a namespace without a subgraph.
    """
    config, namespace = _config(call), call.arguments["namespace"]
    schemas_by_name = {}
    async with context.graph(call, "assistants.read", config) as graph:
        subgraphs = graph.aget_subgraphs(namespace=namespace, recurse=call.arguments["recurse"])
        async for name, subgraph in subgraphs:
            if isinstance(subgraph, Pregel):
                schemas_by_name[name] = schemas_of(subgraph)
    if namespace is not None and not schemas_by_name:
        raise InvalidError(f"namespace: graph {call.graph_id!r} has no subgraph at {namespace!r}")
    return encode(schemas_by_name)


def schemas_of(graph: Graph) -> dict[str, Schema | None]:
    """Returns the schemas of input, output, state, config and context; None for a schema that can't be built."""
    builder = getattr(graph, "builder", None)
    input_class = getattr(builder, "input_schema", None)
    output_class = getattr(builder, "output_schema", None)
    return {
        "input_schema": _first_schema(
            graph.get_input_jsonschema, lambda: _schema_of_hints("Input", input_class)
        ),
        "output_schema": _first_schema(
            graph.get_output_jsonschema, lambda: _schema_of_hints("Output", output_class)
        ),
        "state_schema": _first_schema(lambda: _state_schema(graph)),
        "config_schema": _first_schema(lambda: _configurable_schema(graph.get_config_jsonschema())),
        "context_schema": _first_schema(graph.get_context_jsonschema),
    }


def _first_schema(*functions: Callable[[], Schema | None]) -> Schema | None:
    """Returns the result of the first function that does not raise, or None."""
    for function in functions:
        with suppress(*SCHEMA_ERRORS):
            return function()
    return None


def _state_schema(graph: Graph) -> Schema:
    """Returns the schema of the channels that clients receive."""
    channels = graph.stream_channels_list
    types = {name: getattr(graph.channels[name], "UpdateType", Any) for name in channels}
    return _schema_of_fields(graph.get_name("State"), types)


def _schema_of_hints(name: str, annotated: Any) -> Schema:
    """Returns the schema of a class with annotations, such as a TypedDict that pydantic rejects."""
    return _schema_of_fields(name, get_type_hints(annotated))


def _schema_of_fields(name: str, types: Mapping[str, Any]) -> Schema:
    """Returns the schema of an object with these fields. A type without a schema allows any value."""
    fields: dict[str, Any] = {}
    for field, kind in types.items():
        fields[field] = (Any, None)
        with suppress(*SCHEMA_ERRORS):
            create_model_v2(name, field_definitions={field: (kind, None)}).model_json_schema()
            fields[field] = (kind, None)
    schema: Schema = create_model_v2(name, field_definitions=fields).model_json_schema()
    return schema


def _configurable_schema(schema: Mapping[str, Any]) -> Schema:
    """Returns the schema of `configurable` from a config's schema, or `{}`."""
    definitions: dict[str, Any] = dict(schema.get("$defs", {}))
    reference = schema.get("properties", {}).get("configurable", {})
    fields = definitions.pop(str(reference.get("$ref", "")).rpartition("/")[2], None)
    if fields is None:
        return {}
    return {**fields, "$defs": definitions} if definitions else dict(fields)


def _config(call: Call) -> RunnableConfig:
    config = cast("RunnableConfig", dict(call.arguments["config"]))
    ids = {"graph_id": call.graph_id, "assistant_id": call.arguments["assistant_id"]}
    configurable = {**ids, **config.get("configurable", {})}
    config["configurable"] = private_entries.add(configurable, unpack_user(call.user))
    return config
