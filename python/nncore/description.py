"""Descriptions: a model's graph as plain numbers and strings, and back. Files and copies are made of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from .graph import Input, Value
from .layers import Dense, Layer, TransposedDense
from .model import Model, Sequential
from .registry import layers as layer_kinds

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


def describe(model: Model) -> dict[str, Any]:
    """The graph: its layers by name, its nodes in order (each names its layer and the nodes it reads), and
    which of them are outputs.
    """
    index = {value: place for place, value in enumerate(model.values)}
    names = model.names
    return {
        "sequential": isinstance(model, Sequential),
        "layers": {name: _describe_layer(layer, names) for layer, name in names.items()},
        "nodes": [_describe_node(value, index, model) for value in model.values],
        "outputs": [index[value] for value in model.outputs],
    }


def make_layers(graph: Mapping[str, Any]) -> dict[str, Layer]:
    """The layers of a description, without numbers. ValueError for kinds and options that are not known."""
    made: dict[str, Layer] = {}
    tied: dict[str, dict[str, Any]] = {}
    for name, options in graph["layers"].items():
        if options["kind"] == TransposedDense.kind:
            tied[name] = dict(options)
        else:
            made[name] = _make_layer(name, dict(options))
    for name, options in tied.items():
        source = made.get(options.pop("source"))
        if not isinstance(source, Dense):
            raise ValueError(f"layer {name!r} is tied to a layer that is not there")
        made[name] = _make_layer(name, options, source)
    return {name: made[name] for name in graph["layers"]}


def connect(graph: Mapping[str, Any], layers: Mapping[str, Layer], dtype: DTypeLike, seed: int) -> Model:
    """The model that a description's nodes make of its layers, with parameters drawn from the seed."""
    values: list[Value] = []
    for node in graph["nodes"]:
        if "input" in node:
            values.append(Input(node["features"], name=node["input"]))
        else:
            values.append(layers[node["layer"]](*(values[read] for read in node["inputs"])))
    if graph["sequential"]:
        return Sequential((value.layer for value in values if value.layer), dtype=dtype, seed=seed)
    inputs = [value for value in values if value.layer is None]
    model = Model(inputs, [values[place] for place in graph["outputs"]], dtype=dtype, seed=seed)
    if unused := set(layers) - set(model.names.values()):
        raise ValueError(f"the outputs do not depend on the layers {', '.join(sorted(unused))}")
    return model


def _describe_layer(layer: Layer, names: Mapping[Layer, str]) -> dict[str, Any]:
    description = {"kind": layer.kind, **layer.describe()}
    if isinstance(layer, TransposedDense):
        description["source"] = names[layer.source]
    if not layer.trainable:
        description["trainable"] = False
    return description


def _describe_node(value: Value, index: Mapping[Value, int], model: Model) -> dict[str, Any]:
    if value.layer is not None:
        return {"layer": model.names[value.layer], "inputs": [index[read] for read in value.inputs]}
    return {"input": model.input_names[index[value]], "features": value.features}


def _make_layer(name: str, options: dict[str, Any], *source: Layer) -> Layer:
    kind = options.pop("kind")
    trainable = options.pop("trainable", True)
    if kind not in layer_kinds:
        raise ValueError(f"layer {name!r} is of the unknown kind {kind!r}")
    make = cast(type[Layer], layer_kinds[kind])
    if set(options) != set(make.options):
        raise ValueError(f"layer {name!r} ({kind}) has options {sorted(options)}, not {sorted(make.options)}")
    layer = make(*source, **options, name=name)
    layer.trainable = trainable
    return layer
