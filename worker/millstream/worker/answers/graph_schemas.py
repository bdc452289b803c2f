"""What a graph looks like: JSON schemas, nodes and edges, subgraphs. Source: the LangGraph Platform API."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, cast, get_type_hints

from langchain_core.runnables import RunnableConfig
from langchain_core.utils.pydantic import create_model_v2
from langgraph.pregel import Pregel

from millstream.shared.errors import InvalidError, RefusedError
from millstream.shared.wire import Call
from millstream.worker.answers.context import AnswerContext
from millstream.worker.encode import encode
from millstream.worker.graphs import Graph

Schema = dict[str, Any]
# Raised for types that JSON Schema can't describe, or whose names can't be resolved.
UNSHOWABLE: Final = (RuntimeError, TypeError, NameError, ValueError, AttributeError)


async def schemas(context: AnswerContext, call: Call) -> bytes:
    """`schemas`: the JSON schemas of the graph. Arguments: config."""
    config = _config(call)
    async with context.graph(call, "assistants.read", config) as graph:
        return encode({"graph_id": call.graph_id, **schemas_of(graph)})


async def drawing(context: AnswerContext, call: Call) -> bytes:
    """`graph`: its nodes and edges, as LangChain draws them. Arguments: config, xray.

    Raises RefusedError for a graph that can't be drawn.
    """
    config, xray = _config(call), call.arguments["xray"]
    async with context.graph(call, "assistants.read", config) as graph:
        try:
            picture = await graph.aget_graph(config, xray=xray)
        except Exception as error:  # of the user's code: types that are no types, cycles, ...
            raise RefusedError(f"The graph can't be drawn: {error}") from error
        drawn: dict[str, Any] = picture.to_json()
        for node in drawn["nodes"]:
            if isinstance(node.get("data"), dict):
                node["data"].pop("id", None)  # names classes of the library
        return encode(drawn)


async def subgraphs(context: AnswerContext, call: Call) -> bytes:
    """`subgraphs`: the schemas of each, by namespace. Arguments: config, namespace (or None), recurse.

    Raises InvalidError for a namespace that has no subgraph.
    """
    config, namespace = _config(call), call.arguments["namespace"]
    schemas_by_name = {}
    async with context.graph(call, "assistants.read", config) as graph:
        parts = graph.aget_subgraphs(namespace=namespace, recurse=call.arguments["recurse"])
        async for name, part in parts:
            if isinstance(part, Pregel):
                schemas_by_name[name] = schemas_of(part)
    if namespace is not None and not schemas_by_name:
        raise InvalidError(f"namespace: graph {call.graph_id!r} has no subgraph at {namespace!r}")
    return encode(schemas_by_name)


def schemas_of(graph: Graph) -> dict[str, Schema | None]:
    """Returns the schemas of input, output, state, config and context; None for one that does not exist."""
    builder = getattr(graph, "builder", None)
    taken = getattr(builder, "input_schema", None)
    returned = getattr(builder, "output_schema", None)
    return {
        "input_schema": _schema(graph.get_input_jsonschema, lambda: _of_hints("Input", taken)),
        "output_schema": _schema(
            graph.get_output_jsonschema, lambda: _of_hints("Output", returned)
        ),
        "state_schema": _schema(lambda: _state_schema(graph)),
        "config_schema": _schema(lambda: _configurable(graph.get_config_jsonschema())),
        "context_schema": _schema(graph.get_context_jsonschema),
    }


def _schema(*functions: Callable[[], Schema | None]) -> Schema | None:
    """Returns the schema by the first function that finds one, or None."""
    for function in functions:
        with suppress(*UNSHOWABLE):
            return function()
    return None


def _state_schema(graph: Graph) -> Schema:
    """Returns the schema of the channels that a client sees."""
    channels = graph.stream_channels_list
    kinds = {name: getattr(graph.channels[name], "UpdateType", Any) for name in channels}
    return _of_fields(graph.get_name("State"), kinds)


def _of_hints(name: str, kind: Any) -> Schema:
    """Returns the schema of a class with annotations, such as a TypedDict that pydantic won't read."""
    return _of_fields(name, get_type_hints(kind))


def _of_fields(name: str, kinds: Mapping[str, Any]) -> Schema:
    """Returns the schema of an object with these fields; of a type that has none, anything goes."""
    fields: dict[str, Any] = {}
    for field, kind in kinds.items():
        fields[field] = (Any, None)
        with suppress(*UNSHOWABLE):
            create_model_v2(name, field_definitions={field: (kind, None)}).model_json_schema()
            fields[field] = (kind, None)
    schema: Schema = create_model_v2(name, field_definitions=fields).model_json_schema()
    return schema


def _configurable(schema: Mapping[str, Any]) -> Schema:
    """Returns the part of a config's schema that clients may fill in, `{}` if there is none."""
    definitions: dict[str, Any] = dict(schema.get("$defs", {}))
    reference = schema.get("properties", {}).get("configurable", {})
    fields = definitions.pop(str(reference.get("$ref", "")).rpartition("/")[2], None)
    if fields is None:
        return {}
    return {**fields, "$defs": definitions} if definitions else dict(fields)


def _config(call: Call) -> RunnableConfig:
    config = cast("RunnableConfig", dict(call.arguments["config"]))
    ids = {"graph_id": call.graph_id, "assistant_id": call.arguments["assistant_id"]}
    config["configurable"] = {**ids, **config.get("configurable", {})}
    return config
