"""Models: a graph of layers at work on a store of parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from os import PathLike
from typing import TYPE_CHECKING, Any, cast, overload

import numpy as np

from . import _core
from .data import (
    FeatureNames,
    Label,
    as_inputs,
    as_numbers,
    as_sample_weight,
    as_targets,
    check_feature_names,
    each,
    find_feature_names,
)
from .graph import Input, Value, as_values, trace
from .initializers import Initializer
from .layers import Activation, Dense, Layer, TransposedDense, assign
from .losses import Loss
from .names import free_name
from .objective import Losses, LossWeights, Objective, Samples, make_objective
from .registry import activations, unknown_name
from .store import Store, as_dtype, as_seed, blend_arrays

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

_MOST_PLANS = 16  # that a model keeps for loss_and_gradients


class Model:
    """A graph from inputs to outputs, and the store of its layers' parameters.

    `inputs` and `outputs` are symbolic values (nc.Input, and layers called on values), one or several.
    `dtype` is float32 (the default) or float64. `seed` decides the initial parameters; None draws one, and
    `model.seed` tells it. Layers that already belong to a store keep it, with its dtype and seed: models
    built from the layers of a larger one share its parameters.

    A layer's name is the user's, or its place among the layers. With one input or output, methods take and
    return one array; with several, a list in their order (or a dict by name for what is given).

    Raises ValueError for values that depend on other inputs, unused inputs, names used twice, and layers
    of which only some belong to a store; TypeError for other dtypes.

    >>> import nncore as nc
    >>> x = nc.Input(3)
    >>> hidden = nc.Tanh()(nc.Dense(3, 3)(x))
    >>> model = nc.Model(x, nc.Dense(3, 2)(x + hidden), seed=1)
    >>> model.predict([[0.0, 0.0, 0.0]])
    array([[0., 0.]], dtype=float32)
    """

    def __init__(
        self,
        inputs: Value | Sequence[Value],
        outputs: Value | Sequence[Value],
        *,
        dtype: DTypeLike | None = None,
        seed: int | None = None,
    ) -> None:
        self.inputs = as_values(inputs, "inputs")
        self.outputs = as_values(outputs, "outputs")
        values = trace(self.inputs, self.outputs)
        self.layers = tuple(value.layer for value in values if value.layer is not None)
        everyone = _with_sources(self.layers)
        store = _common_store(everyone)
        self.names = _name_layers(self.layers, everyone, store)
        if store is None:
            store = Store(
                {self.names[layer]: layer for layer in everyone if layer.pieces()},
                as_dtype(np.float32 if dtype is None else dtype),
                as_seed(seed),
            )
        elif dtype is not None and as_dtype(dtype) != store.dtype:
            raise ValueError(f"dtype is {as_dtype(dtype)}, but the layers' store is {store.dtype}")
        elif seed is not None and as_seed(seed) != store.seed:
            raise ValueError(f"seed is {seed}, but the layers' parameters come from seed {store.seed}")
        self.store = store
        self.segments = store.segments_of(everyone)
        names = _name_values(values, self.names)
        nodes = _nodes(values, names, store)
        self.graph = _core.Graph(nodes, [values.index(value) for value in self.outputs])
        self.network = store.precision.network(self.graph, store.core)
        self.values = values  # in topological order, the inputs first
        self.input_widths = [value.features for value in self.inputs]
        self.input_names = [names[value] for value in self.inputs]
        self.output_names = [names[value] for value in self.outputs]
        self._objectives: dict[str | Loss, Objective] = {}  # the plans of loss_and_gradients
        self.metadata: dict[str, Any] = {}
        self.unknown_fields: dict[str, Any] = {}  # of the file it came from, kept for the next save
        self._feature_names: dict[str, tuple[Label, ...]] = {}
        store.bind()

    # Layers -------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, which: int | str) -> Layer:
        """A layer by its place or its name; IndexError or ValueError where there is none."""
        if isinstance(which, str):
            if which not in self.layer_names:
                raise unknown_name("layer", which, dict.fromkeys(self.layer_names))
            return self.layers[self.layer_names.index(which)]
        return self.layers[which]

    @property
    def layer_names(self) -> list[str]:
        """The name of each of `layers`."""
        return [self.names[layer] for layer in self.layers]

    @property
    def feature_names(self) -> dict[str, tuple[Label, ...]]:
        """What the columns of x are called: for each input that has names, a tuple of strings and integers.

        `Trainer.fit` and `Trainer.step` remember the column names of a table (pandas, polars, pyarrow); a
        model that was trained on arrays or lists has none. From then on the columns of a table are picked
        by name, and a table with other names is a ValueError. Tables without names go by position: arrays,
        lists, and DataFrames whose columns are 0, 1, 2, ... Labels that are neither strings nor integers
        count as their str(). A pandas Series, one sample, has its names in its index.

        Set it to name the columns by hand, or to {} to forget them; what it returns is a copy. Raises
        ValueError for an input that the model lacks, for names used twice, and where an input has another
        number of features; TypeError unless it is a dict of lists.

        >>> import nncore as nc
        >>> model = nc.mlp([2, 1], seed=0)
        >>> model.feature_names = {"input": ["age", "dose"]}
        >>> model.feature_names
        {'input': ('age', 'dose')}
        """
        return dict(self._feature_names)

    @feature_names.setter
    def feature_names(self, names: Mapping[str, Iterable[Label]]) -> None:
        self._feature_names = check_feature_names(names, self.input_names, self.input_widths)

    # Parameters ---------------------------------------------------------------------------------------

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self.store.dtype

    @property
    def seed(self) -> int:
        """The seed that the parameters were drawn from."""
        return self.store.seed

    @property
    def parameters(self) -> NDArray[Any]:
        """All P parameters of the store, flat: a writable view."""
        return self.store.core.values

    @parameters.setter
    def parameters(self, values: NDArray[Any]) -> None:
        assign(self.store, self.parameters, values, "parameters")

    @property
    def gradients(self) -> NDArray[Any]:
        """The gradients of all P parameters, flat, in the same order: a writable view.

        `loss_and_gradients` and `backward` fill it. `Trainer.fit` and `Trainer.step` use it as they like:
        plain SGD changes large weights while their gradient is formed, and does not store that.
        """
        return self.store.core.gradients

    @gradients.setter
    def gradients(self, values: NDArray[Any]) -> None:
        assign(self.store, self.gradients, values, "gradients")

    def named_parameters(self) -> dict[str, NDArray[Any]]:
        """A writable view of each array of parameters by its name, such as "0.weight".

        >>> import nncore as nc
        >>> {name: a.shape for name, a in nc.mlp([3, 2]).named_parameters().items()}
        {'0.weight': (2, 3), '0.bias': (2,)}
        """
        return self.store.split(self.parameters, self.segments)

    # Computing ----------------------------------------------------------------------------------------

    def predict(self, x: Any, out: Any = None) -> Any:
        """The outputs for x (B, I): (B, O) in the model's dtype, new or in `out`.

        x is an array, list or pandas table of bool, integer or float numbers (1-D: one sample); a list,
        tuple or dict of them where the model has several inputs. The outputs are returned as one array, or as
        a list where there are several. Several threads may predict on one model at the same time.

        Raises TypeError for other dtypes, and ValueError for other shapes, for columns that are not those of
        `feature_names`, and for masked entries of numpy.ma arrays.
        """
        output = self.network.try_predict(x, out)  # all of it, where x is one array that the core takes
        if output is not None:
            return output
        tables = self._tables(x)
        given = None if out is None else [out] if len(self.outputs) == 1 else list(out)
        return self._unwrap(self.network.predict(tables, given))

    def forward(self, x: Any) -> Any:
        """As predict, and keeps what `backward` needs."""
        output = self.network.try_forward(x)
        if output is not None:
            return output
        return self._unwrap(self.network.forward(self._tables(x)))

    def backward(self, grad_output: Any, *, accumulate: bool = False) -> Any:
        """From dL/d(output), (B, O), of the last `forward`: fills `gradients` (adds with `accumulate`) and
        returns dL/dx, (B, I) (a list for several outputs and inputs).

        Raises ValueError for other shapes, and RuntimeError where there was no forward.

        >>> import nncore as nc
        >>> model = nc.mlp([2, 1], seed=0)
        >>> y = model.forward([[1.0, 2.0]])
        >>> grad_x = model.backward([[1.0]])
        >>> model[0].grad_weight
        array([[1., 2.]], dtype=float32)
        """
        gradient = self.network.try_backward(grad_output, accumulate)
        if gradient is not None:
            return gradient
        pairs = each(grad_output, self.output_names, "grad_output")
        arrays = [np.asarray(as_numbers(item, label), dtype=self.dtype, order="C") for label, item in pairs]
        gradients = self.network.backward(arrays, accumulate)
        return gradients[0] if len(gradients) == 1 else gradients

    def loss_and_gradients(
        self,
        x: Any,
        y: Any,
        loss: Losses,
        sample_weight: Any = None,
        *,
        loss_weights: LossWeights = None,
        accumulate: bool = False,
    ) -> float:
        """The loss over a batch; fills `gradients` with its gradient (adds with `accumulate`: to what
        `loss_and_gradients` or `backward` left there, as a trainer leaves no whole gradient).

        x as for predict; y (B, O) values, or class indices (B,) where the loss takes them; sample_weight
        (B,). `loss` is a name, a Loss, or a function loss(output, y) -> (value, gradient).
        """
        objective = self._objective(loss, loss_weights)
        value = objective.try_loss_and_gradients(x, y, sample_weight, accumulate)
        if value is not None:
            return value
        return objective.loss_and_gradients(self.as_samples(objective, x, y, sample_weight), accumulate)

    # Copies and files ---------------------------------------------------------------------------------

    def copy(self, *, dtype: DTypeLike | None = None) -> Model:
        """A model of the same graph and parameters with a store of its own; `dtype` may be the other one."""
        from .description import connect, describe, make_layers

        graph = describe(self)
        other = connect(graph, make_layers(graph), self.dtype if dtype is None else dtype, self.seed)
        other.copy_from(self)
        other.metadata = dict(self.metadata)
        other.feature_names = self.feature_names
        return other

    def copy_from(self, other: Model) -> None:
        """Takes over the parameters of a model with the same arrays: by their names, or, where those are not
        the same, in the order of the layers. Raises ValueError, naming an array, where they do not fit.
        """
        if self._shares_layout_of(other):
            self.store.core.copy_from(other.store.core)
            return
        pairs = self._matching(other)
        with self._changing_beside(other):
            for mine, theirs in pairs:
                mine[...] = theirs

    def blend(self, other: Model, fraction: float) -> None:
        """parameters += fraction (other's parameters - parameters): a target network's slow step.

        `other` must have the same arrays, paired as by `copy_from`, and dtype, and fraction lie in [0, 1];
        ValueError otherwise.
        """
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"fraction must lie in [0, 1]; given {fraction}")
        if self._shares_layout_of(other):
            self.store.core.blend(other.store.core, float(fraction))
            return
        arrays = self._matching(other)
        if other.dtype != self.dtype:
            raise ValueError(f"blend needs models of one dtype; given {self.dtype} and {other.dtype}")
        with self._changing_beside(other):
            for mine, theirs in arrays:
                blend_arrays(self.store.precision, mine, theirs, float(fraction))

    def save(self, path: str | PathLike[str], *, metadata: Mapping[str, Any] | None = None) -> None:
        """Writes the model to a safetensors file; `metadata` (a dict that JSON can hold) comes back in
        `load(path).metadata`. The file appears whole or not at all; saving twice gives equal bytes.

        Raises TypeError or ValueError for metadata that JSON cannot hold. Raises IsADirectoryError where the
        path is a folder, shutil.SpecialFileError (an OSError) where it is a FIFO, socket or device, and other
        OSErrors where the disk is full or the folder cannot be written. What was there then stays.
        """
        from .files import save

        save(self, path, metadata=metadata)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles, and deep copies, are what a file would hold: a model with a store of its own."""
        from .files import build, contents

        return build, contents(self)

    def __str__(self) -> str:
        from .summary import summary

        return summary(self)

    def __repr__(self) -> str:
        return str(self)

    def _objective(self, loss: Losses, loss_weights: LossWeights) -> Objective:
        """Planned once for each of the core's losses, as loops of one's own ask for it every step."""
        if not isinstance(loss, (str, Loss)) or loss_weights is not None:
            return make_objective(self, loss, loss_weights)
        if (planned := self._objectives.get(loss)) is None:
            while len(self._objectives) >= _MOST_PLANS:  # parameters of a loss may change with every step
                self._objectives.pop(next(iter(self._objectives)), None)
            planned = self._objectives[loss] = make_objective(self, loss)
        return planned

    # Helpers ------------------------------------------------------------------------------------------

    def feature_names_with(self, x: Any) -> FeatureNames:
        """`feature_names`, and those of x for inputs that have none yet."""
        return {**find_feature_names(x, self.input_names), **self._feature_names}

    def as_samples(
        self,
        objective: Objective,
        x: Any,
        y: Any,
        sample_weight: Any,
        prefix: str = "",
        feature_names: FeatureNames | None = None,
    ) -> Samples:
        """What a call is given, as the core takes it; `prefix` names it in messages. `feature_names` are the
        model's own where None.
        """
        known = self._feature_names if feature_names is None else feature_names
        tables = as_inputs(x, self.input_names, self.input_widths, known, f"{prefix}x")
        rows = len(tables[0])
        targets = as_targets(y, [term.name for term in objective.terms], rows, f"{prefix}y")
        for place, term in enumerate(objective.terms):  # (B,) would broadcast against an output of (B, 1)
            if targets[place].ndim == 1 and self.outputs[term.output].features == 1:
                targets[place] = targets[place].reshape(-1, 1)
        return Samples(tables, targets, as_sample_weight(sample_weight, rows, f"{prefix}sample_weight"))

    def _tables(self, x: Any) -> list[NDArray[Any]]:
        return as_inputs(x, self.input_names, self.input_widths, self._feature_names)

    def _unwrap(self, outputs: list[NDArray[Any]]) -> Any:
        return outputs[0] if len(self.outputs) == 1 else outputs

    def _matching(self, other: Model) -> list[tuple[NDArray[Any], NDArray[Any]]]:
        """The model's arrays and the other's, by name, or in the order of the layers where names differ."""
        mine, theirs = self.named_parameters(), other.named_parameters()
        if len(mine) != len(theirs):
            raise ValueError(f"the models differ: {len(mine)} arrays of parameters against {len(theirs)}")
        pairs = list(zip(mine, mine if mine.keys() == theirs.keys() else theirs, strict=True))
        for name, other_name in pairs:
            a, b = mine[name].shape, theirs[other_name].shape
            if a != b:
                raise ValueError(f"the models differ: {name} is {a}, {other_name} is {b}")
        return [(mine[name], theirs[other_name]) for name, other_name in pairs]

    @contextmanager
    def _changing_beside(self, other: Model) -> Iterator[None]:
        """Nobody else uses the model's store, and nobody trains the other's."""
        with ExitStack() as stack:
            stack.enter_context(self.store.core.changing())
            if other.store is not self.store:
                stack.enter_context(other.store.core.copying())
            yield

    def _shares_layout_of(self, other: Model) -> bool:
        """Whether both use all of their stores, of one layout: then the core can do it all at once."""
        mine, theirs = list(self.store.segments.items()), list(other.store.segments.items())
        uses_all = len(self.segments) == len(mine) and len(other.segments) == len(theirs)
        return uses_all and mine == theirs and self.dtype == other.dtype


class Sequential(Model):
    """The model that is a line: each layer reads the one before. Takes layers, or one list of them.

    Its layers are numbered from 0, as those of torch.nn.Sequential are. A slice is a Sequential that shares
    this one's parameters. `dtype` and `seed` as for Model. Raises ValueError for no layers, and where none
    of them tells the number of input features.

    >>> import nncore as nc
    >>> model = nc.Sequential(nc.Dense(4, 3), nc.ReLU(), nc.Dense(3, 2), nc.Softmax(), seed=0)
    >>> model.predict([[1, 2, 3, 4]]).shape
    (1, 2)
    >>> model[0], len(model[:2])
    (Dense(4, 3), 2)
    """

    def __init__(
        self, *layers: Layer | Iterable[Layer], dtype: DTypeLike | None = None, seed: int | None = None
    ) -> None:
        given = layers[0] if len(layers) == 1 and not isinstance(layers[0], Layer) else layers
        line = list(cast(Iterable[Layer], given))
        for layer in line:
            if not isinstance(layer, Layer):
                raise TypeError(f"layers must be layers such as nc.Dense(2, 3); given {layer!r}")
        x = value = Input(_first_width(line))
        for layer in line:
            value = layer(value)
        super().__init__(x, value, dtype=dtype, seed=seed)

    @overload
    def __getitem__(self, which: int | str) -> Layer: ...

    @overload
    def __getitem__(self, which: slice) -> Sequential: ...

    def __getitem__(self, which: int | str | slice) -> Layer | Sequential:
        """A layer by place or name, or some of them as a Sequential that shares their parameters."""
        if isinstance(which, slice):
            return Sequential(self.layers[which])
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
    """A multilayer perceptron: Dense layers from each size to the next, `activation` between them and
    `output` at the end ("identity" adds none). Raises ValueError for fewer than two sizes.

    >>> import nncore as nc
    >>> nc.mlp([4, 8, 3], activation="tanh", output="softmax").layers
    (Dense(4, 8), Tanh(), Dense(8, 3), Softmax())
    """
    if len(sizes) < 2:
        raise ValueError(f"sizes needs an input and an output size at least; given {list(sizes)}")
    layers: list[Layer] = []
    for place, (in_features, out_features) in enumerate(pairwise(sizes), start=2):
        layers.append(Dense(in_features, out_features, weight_initializer=weight_initializer))
        kind = output if place == len(sizes) else activation
        make = activations[kind]
        if kind != "identity":
            layers.append(make())
    return Sequential(layers, dtype=dtype, seed=seed)


# Building ---------------------------------------------------------------------------------------------


def _with_sources(layers: Iterable[Layer]) -> list[Layer]:
    """Each layer once, and the layers whose weights are used transposed."""
    found: dict[Layer, None] = {}
    for layer in layers:
        found[layer] = None
    for layer in list(found):
        if isinstance(layer, TransposedDense):
            found[layer.source] = None
    return list(found)


def _common_store(layers: Sequence[Layer]) -> Store | None:
    """The store of all layers that have parameters; None where they have none yet."""
    holders = [layer for layer in layers if layer.pieces()]
    stores = {layer.store for layer in holders}
    if len(stores) <= 1:
        return stores.pop() if stores else None
    names = ", ".join(f"{layer!r} ({'new' if layer.store is None else 'in use'})" for layer in holders)
    raise ValueError(
        f"the layers do not share one store of parameters: {names}. Build the largest model first, the one "
        "that holds all of these layers; smaller models of its layers then share its parameters"
    )


def _name_layers(uses: Sequence[Layer], layers: Sequence[Layer], store: Store | None) -> dict[Layer, str]:
    """The name that each layer has in its store, or the user's, or the place of its first use."""
    known = {} if store is None else store.names
    wanted = {layer: known.get(layer, layer.name) for layer in layers}
    taken: set[str] = set()
    for name in wanted.values():
        if name is not None and name in taken:
            raise ValueError(f"two layers are named {name!r}; a name belongs to one layer of a model")
        taken.update(() if name is None else (name,))
    names = {}
    for layer, name in wanted.items():
        place = uses.index(layer) if layer in uses else len(uses)
        names[layer] = name if name is not None else free_name(str(place), taken)
        taken.add(names[layer])
    return names


def _name_values(values: Sequence[Value], layer_names: Mapping[Layer, str]) -> dict[Value, str]:
    """A name for every node: that of its layer, with a number from the second use on."""
    taken = set(layer_names.values())
    names: dict[Value, str] = {}
    for value in values:
        if value.layer is None and value.name is not None:
            if value.name in taken:
                raise ValueError(f"{value.name!r} names an input and something else of the model")
            names[value] = value.name
            taken.add(value.name)
    used: set[Layer] = set()
    for value in values:
        if value in names:
            continue
        if value.layer is None:
            names[value] = free_name("input", taken)
        elif value.layer in used:
            names[value] = free_name(layer_names[value.layer], taken)
        else:
            names[value] = layer_names[value.layer]
            used.add(value.layer)
        taken.add(names[value])
    return names


def _nodes(values: Sequence[Value], names: Mapping[Value, str], store: Store) -> list[_core.Node]:
    index = {value: i for i, value in enumerate(values)}
    nodes = []
    for value in values:
        if value.layer is None:
            nodes.append(_core.Node.input(names[value], value.features))
        else:
            inputs = [index[read] for read in value.inputs]
            nodes.append(value.layer.node(names[value], inputs, store.first_segment))
    return nodes


def _first_width(layers: Sequence[Layer]) -> int:
    """The number of features that a line of layers reads."""
    if not layers:
        raise ValueError("a Sequential needs at least one layer")
    for layer in layers:
        if isinstance(layer, (Dense, TransposedDense)):
            return layer.in_features
        if not isinstance(layer, Activation):
            raise ValueError(f"{layer!r} reads several values; use Model instead of Sequential")
    raise ValueError("no layer tells the number of input features; use Model(nc.Input(features), ...)")
