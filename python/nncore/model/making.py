"""Builds models from descriptions: a graph as plain numbers and strings, from a file, a copy or a pickle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from .._precision import as_dtype
from ..graph import LAYER_KINDS, Layer
from .config import Graph, connect, is_sequential, make_layers
from .contents import as_metadata, check_tensors, checked_dtype, checked_seed, unknown_fields
from .parameter_store import ParameterStore

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


def make_model(
    graph: Graph,
    dtype: DTypeLike,
    seed: int,
    check: Callable[[Mapping[str, Layer]], None] = lambda leaves: None,
) -> Any:
    """Builds the model of a graph and draws its parameters from the seed.

    `check` is called with its layers before anything large is allocated.
    """

    def make_store(leaves: Mapping[str, Layer]) -> None:
        check(leaves)
        holders = {name: layer for name, layer in leaves.items() if layer.has_arrays}
        ParameterStore(holders, as_dtype(dtype), seed).bind()

    layers = make_layers(graph, make_store)
    model = _connected(graph, layers, dtype=dtype, seed=seed)
    if unused := set(layers) - set(model.names.values()):
        raise ValueError(f"outputs must depend on all layers; got none that uses {', '.join(sorted(unused))}")
    return model


def model_of(fields: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> Any:
    """Builds the model of a file's contents. Sizes are checked against the arrays before anything large is
    allocated.
    """
    graph, dtype, seed = fields["graph"], checked_dtype(fields["dtype"]), checked_seed(fields["seed"])
    metadata = as_metadata(fields["metadata"])
    model = make_model(graph, dtype, seed, lambda leaves: check_tensors(tensors, leaves, dtype))
    described = model.describe_graph()
    if described != {key: graph[key] for key in described}:  # flags that are strings, negative indices, ...
        connect(graph, {name: layer for layer, name in model.names.items()})  # may raise a clearer error
        raise ValueError("graph must be as nncore writes it; got one that reads back differently")
    for name, view in model.named_arrays().items():
        view[...] = tensors[name]
    model.metadata = metadata
    model.feature_names = fields.get("feature_names", {})
    model.unknown_fields = unknown_fields(fields)
    return model


def remade(graph: Graph, layers: Mapping[str, Layer], store: ParameterStore, kept: Mapping[str, Any]) -> Any:
    """Builds the model of a pickle or a deep copy, which brings its own layers and store."""
    made = make_layers(graph, made=layers)
    model = _connected(graph, made, dtype=store.dtype, seed=store.seed)
    if model.store is not store:  # only if the model has no parameters
        model.attach(store)
    for name, value in kept.items():
        setattr(model, name, value)
    return model


def _connected(graph: Graph, layers: Mapping[str, Layer], **arguments: Any) -> Any:
    make: Any = LAYER_KINDS["sequential" if is_sequential(graph) else "model"]
    return make.from_graph(graph, layers, **arguments)
