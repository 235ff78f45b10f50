"""The names of a model's layers and values, and their nodes in the core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .. import _core
from .._names import TakenNames
from ..graph import Layer, Value


def all_layers(uses: Sequence[Layer]) -> list[Layer]:
    """The layers that a model calls, those in nested models, and those whose parameters they read."""
    found = dict.fromkeys(inner for layer in uses for inner in (layer, *layer.names))
    found |= dict.fromkeys(source for layer in uses for source in layer.sources)
    return list(found)


def name_layers(uses: Sequence[Layer], known: Mapping[Layer, str]) -> dict[Layer, str]:
    """A name for every layer, in the order in which a new store holds their parameters.

    A layer that the model calls (one of `uses`) gets its known name, the user's name, or the index of its
    first use. Layers whose parameters those read follow. A layer in a nested model gets the nested model's
    name, a dot, and its name in there: "encoder.0".
    """
    called = list(dict.fromkeys(uses))
    within = {layer for model in called for layer in model.names}
    lenders = dict.fromkeys(source for layer in called for source in layer.sources)
    known_here = within.union(called)
    called += [source for source in lenders if source not in known_here]
    wanted = {layer: layer.name for layer in called}
    wanted |= {layer: known[layer].rpartition(".")[2] for layer in called if layer in known}
    taken = TakenNames()
    for layer, name in wanted.items():
        if name is not None and name in taken and layer not in known:
            raise ValueError(f"names of layers must be unique in a model; got two named {name!r}")
        taken.update(() if name is None else (name,))
    used: set[str] = set()
    names: dict[Layer, str] = {}
    places = {layer: place for place, layer in reversed(list(enumerate(uses)))}  # of the first use
    for layer, name in wanted.items():
        if name is None or name in used:
            name = taken.free(str(places.get(layer, len(uses))) if name is None else name)
        taken.add(name)
        used.add(name)
        names[layer] = name
        for inner, local in layer.names.items():
            names.setdefault(inner, f"{name}.{local}")
    return names


def top_names(layers: Mapping[str, Layer]) -> dict[Layer, str]:
    """The graph's names for its layers, without those in nested models."""
    return {layer: name for name, layer in layers.items() if "." not in name}


def name_values(values: Sequence[Value], layer_names: Mapping[Layer, str]) -> dict[Value, str]:
    """A name for every value: that of its layer, with a number from the second use on."""
    taken = TakenNames(layer_names.values())
    names: dict[Value, str] = {}
    for value in values:
        if value.layer is None and value.name is not None:
            if value.name in taken:
                raise ValueError(f"names of inputs must be unique in a model; got {value.name!r} twice")
            names[value] = value.name
            taken.add(value.name)
    used: set[Layer] = set()
    for value in values:
        if value in names:
            continue
        if value.layer is None:
            names[value] = taken.free("input")
        elif value.layer in used:
            names[value] = taken.free(layer_names[value.layer])
        else:
            names[value] = layer_names[value.layer]
            used.add(value.layer)
        taken.add(names[value])
    return names


def make_nodes(
    values: Sequence[Value], names: Mapping[Value, str], places: Mapping[Layer, tuple[int, int]]
) -> list[_core.Node]:
    """The core's node for every value. `places` has the index of each layer's first parameter and state."""
    index = {value: i for i, value in enumerate(values)}
    nodes = []
    for value in values:
        if value.layer is None:
            nodes.append(_core.Node.input(names[value], value.features, value.is_integer))
        else:
            inputs = [index[read] for read in value.inputs]
            nodes.append(value.layer.node(names[value], inputs, places))
    return nodes
