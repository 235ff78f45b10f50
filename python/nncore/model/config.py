"""Configs: a model's graph as plain numbers and strings, and back. Files and copies are built from them.

A graph is a dict. `layers` has the options and the `kind` of each layer, by name. `nodes` is a list in order:
a node is an input, or names its layer and the nodes that it reads. `outputs` lists the output nodes. A nested
model is a layer whose options are a graph too; its `layers` are pairs of its own name for a layer and the
outer model's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

from ..graph import LAYER_KINDS, Input, Layer, Value

Graph: TypeAlias = Mapping[str, Any]


def describe_layers(names: Mapping[Layer, str]) -> dict[str, Any]:
    """The options of all layers, by layer name."""
    return {name: _describe_layer(layer, names) for layer, name in names.items()}


def describe_nodes(
    values: Sequence[Value], outputs: Sequence[Value], names: Mapping[Layer, str], input_names: Sequence[str]
) -> dict[str, Any]:
    """Traced values as nodes. Further outputs of a call refer to the node of its first, as `of`."""
    index = {value: place for place, value in enumerate(values)}
    calls: dict[int, int] = {}
    nodes: list[dict[str, Any]] = []
    for place, value in enumerate(values):
        if value.layer is None:
            node: dict[str, Any] = {"input": input_names[place], "features": value.features}
            nodes.append({**node, "is_integer": True} if value.is_integer else node)
            continue
        first = calls.setdefault(value.call, place)
        if first == place:
            nodes.append({"layer": names[value.layer], "inputs": [index[read] for read in value.inputs]})
        else:
            nodes.append({"of": first})
        if value.output:
            nodes[-1]["output"] = value.output
    return {"nodes": nodes, "outputs": [index[value] for value in outputs]}


def connect(graph: Graph, layers: Mapping[str, Layer]) -> tuple[list[Value], list[Value]]:
    """Rebuilds the symbolic inputs and outputs of a graph from its nodes and the layers by name."""
    values: list[Value] = []
    calls: list[list[Value]] = []
    for node in graph["nodes"]:
        if "input" in node:
            is_integer = node.get("is_integer", False)
            outputs = [Input(node["features"], name=node["input"], is_integer=is_integer)]
        elif "of" in node:
            outputs = calls[node["of"]]
        else:
            made: Any = layers[node["layer"]](*(values[read] for read in node["inputs"]))
            outputs = made if isinstance(made, list) else [made]
        calls.append(outputs)
        values.append(outputs[node.get("output", 0)])
    inputs = [value for value in values if value.layer is None]
    return inputs, [values[place] for place in graph["outputs"]]


def make_layers(
    graph: Graph,
    between: Callable[[dict[str, Layer]], None] = lambda leaves: None,
    made: Mapping[str, Layer] = MappingProxyType({}),
) -> dict[str, Layer]:
    """Builds the layers of a graph, by name. Those in `made` exist already.

    After the plain layers and before the nested models, it calls `between` with the plain layers in the order
    in which a store holds them. Raises ValueError for unknown kinds and options.
    """
    made = dict(made)
    in_order = list(dict.fromkeys(_in_order(graph)))
    leaves = [name for name in in_order if not _is_nested(graph["layers"][name])]
    for name in leaves:
        _make(name, graph["layers"], made, ())
    between({name: made[name] for name in leaves})
    for name in reversed(in_order):  # inner models before outer ones
        _make(name, graph["layers"], made, ())
    return made


def is_sequential(graph: Graph) -> bool:
    """Whether the graph is that of a Sequential."""
    return bool(graph["sequential"])


def trainable_flags(graph: Graph) -> Iterator[tuple[str, bool]]:
    """For each layer but the nested models: its name, and whether it is trainable."""
    for name, options in graph["layers"].items():
        if not _is_nested(options):
            yield name, options.get("trainable", True)


def without_flags(graph: Graph) -> dict[str, Any]:
    """A graph without the trainable flags, which may change after a model is built."""
    layers = {
        name: {option: value for option, value in options.items() if option != "trainable"}
        for name, options in graph["layers"].items()
    }
    return {**graph, "layers": layers}


def _in_order(graph: Graph) -> Iterator[str]:
    """The names of all layers, in the order in which a new store holds them. Some appear more than once."""
    layers = graph["layers"]
    called = [node["layer"] for node in graph["nodes"] if "layer" in node]
    for name in called:
        yield name
        yield from (inner for _, inner in layers[name].get("layers", ()))
    for name in called:  # layers that are not called, but whose parameters others read
        kind = layers[name]["kind"]
        referred = LAYER_KINDS[kind].referred(layers[name]) if kind in LAYER_KINDS else ()
        yield from (other for other in referred if other in layers)
    yield from layers


def _is_nested(options: Mapping[str, Any]) -> bool:
    return "nodes" in options


def _describe_layer(layer: Layer, names: Mapping[Layer, str]) -> dict[str, Any]:
    description = {"kind": layer.kind, **layer.describe(names)}
    if not _is_nested(description) and not layer.trainable:
        description["trainable"] = False
    return description


def _make(
    name: str, graph_layers: Mapping[str, Any], made: dict[str, Layer], waiting: tuple[str, ...]
) -> None:
    """Builds a layer after those that it refers to. `waiting` has the layers that refer to it."""
    if name in made:
        return
    options = dict(graph_layers[name])
    kind, trainable = options.pop("kind"), options.pop("trainable", True)
    if kind not in LAYER_KINDS:
        raise ValueError(f"kind of layer {name!r} must be one of {', '.join(LAYER_KINDS)}; got {kind!r}")
    make = LAYER_KINDS[kind]
    if set(options) != set(make.options):
        raise ValueError(
            f"options of layer {name!r} ({kind}) must be {sorted(make.options)}; got {sorted(options)}"
        )
    for other in make.referred(options):
        if other not in graph_layers or other in (*waiting, name):
            raise ValueError(f"layer {name!r} must refer to existing layers, without cycles; got {other!r}")
        _make(other, graph_layers, made, (*waiting, name))
    made[name] = make.from_options(options, made, name.rpartition(".")[2])
    if not _is_nested(options):
        made[name].trainable = trainable
