"""Sequential, a model of layers in a row, and mlp, which builds one of dense layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast, overload

from .._errors import check_list, check_size, described, entry
from ..graph import Input, Layer
from ..initializers import Initializer
from ..layers import Dense
from ..layers.activations import ENTRIES as ACTIVATIONS
from .config import Graph
from .model import Model
from .nodes import top_names

if TYPE_CHECKING:
    from numpy.typing import DTypeLike


class Sequential(Model):
    """A model of layers in a row, each reading the output of the one before. Takes layers or a list of them.

    Layers are numbered from 0, as in torch.nn.Sequential. A slice is a Sequential that shares this one's
    parameters. `in_features` is the width of x; it is needed only if no layer fixes it. `dtype`, `seed` and
    `name` are as for Model. Raises ValueError without layers, or if the number of input features is unknown.

    >>> import nncore as nc
    >>> model = nc.Sequential(nc.Dense(4, 3), nc.ReLU(), nc.Dense(3, 2), nc.Softmax(), seed=0)
    >>> model.predict([[1, 2, 3, 4]]).shape
    (1, 2)
    >>> model[0], len(model[:2])
    (Dense(4, 3), 2)
    """

    kind = "sequential"

    def __init__(
        self,
        *layers: Layer | Iterable[Layer],
        in_features: int | None = None,
        dtype: DTypeLike | None = None,
        seed: int | None = None,
        name: str | None = None,
        _names: Mapping[Layer, str] | None = None,
    ) -> None:
        given = layers[0] if len(layers) == 1 and not isinstance(layers[0], Layer) else layers
        line = check_list(cast(Iterable[Layer], given), "layers", "layers such as nc.Dense(2, 3)")
        for layer in line:
            if not isinstance(layer, Layer):
                raise TypeError(f"layers must be layers such as nc.Dense(2, 3); got {described(layer)}")
        if not line:
            raise ValueError("layers must be at least one layer; got none")
        width = _first_width(line) if in_features is None else check_size(in_features, "in_features")
        x = value = Input(width)
        for layer in line:
            value = layer(value)
        super().__init__(x, value, dtype=dtype, seed=seed, name=name, _names=_names)

    @classmethod
    def from_graph(cls, graph: Graph, layers: Mapping[str, Layer], **arguments: Any) -> Sequential:
        """The Sequential of the layers that the nodes of a graph name."""
        line = [layers[node["layer"]] for node in graph["nodes"] if "layer" in node]
        features = [node["features"] for node in graph["nodes"] if "input" in node]
        return Sequential(line, in_features=features[0], _names=top_names(layers), **arguments)

    @overload
    def __getitem__(self, which: int | str) -> Layer: ...

    @overload
    def __getitem__(self, which: slice) -> Sequential: ...

    def __getitem__(self, which: int | str | slice) -> Layer | Sequential:
        """A layer by index or name, or a slice as a Sequential that shares its layers' parameters."""
        if isinstance(which, slice):
            return Sequential(self.layers[which], _names=self.names)
        return super().__getitem__(which)


def mlp(
    sizes: Sequence[int],
    activation: str = "relu",
    output: str = "identity",
    *,
    weight_initializer: str | Initializer = "glorot_uniform",
    dtype: DTypeLike | None = None,
    seed: int | None = None,
) -> Sequential:
    """A multilayer perceptron: a Sequential of Dense layers from each size to the next.

    `activation` is put between them and `output` at the end; "identity" adds no layer. Raises ValueError for
    fewer than two sizes.

    >>> import nncore as nc
    >>> nc.mlp([4, 8, 3], activation="tanh", output="softmax").layers
    (Dense(4, 8), Tanh(), Dense(8, 3), Softmax())
    """
    sizes = [check_size(size, "sizes") for size in check_list(sizes, "sizes", "integers")]
    if len(sizes) < 2:
        raise ValueError(f"sizes must have at least an input and an output size; got {sizes}")
    between, last = entry("activation", activation, ACTIVATIONS), entry("output", output, ACTIVATIONS)
    layers: list[Layer] = []
    for place, (in_features, out_features) in enumerate(pairwise(sizes), start=2):
        layers.append(Dense(in_features, out_features, weight_initializer=weight_initializer))
        make = last if place == len(sizes) else between
        if make.kind != "identity":
            layers.append(make())
    return Sequential(layers, dtype=dtype, seed=seed)


def _first_width(layers: Sequence[Layer]) -> int:
    """The number of input features: that of the first layer that fixes its own."""
    for layer in layers:
        if layer.in_features is not None:
            return layer.in_features
    line = ", ".join(type(layer).__name__ for layer in layers)
    raise ValueError(
        f"layers must include one that fixes the number of input features; got {line}: pass in_features=... "
        "or build nc.Model(nc.Input(features), ...)"
    )
