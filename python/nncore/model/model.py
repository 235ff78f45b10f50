"""Model: a graph of layers and the store of their parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import setitem
from os import PathLike
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from .. import _core
from .._arrays import (
    FeatureNames,
    Label,
    assign,
    check_feature_names,
    find_feature_names,
)
from .._errors import check_is, check_number, check_path, described, unknown_name
from .._summary import Box
from ..graph import Layer, Value, as_values, expand, trace
from ..losses import Loss
from ..optimizers import Optimizer
from .config import Graph, connect, describe_layers, describe_nodes
from .contents import write
from .making import make_model, remade
from .nodes import all_layers, make_nodes, name_layers, name_values, top_names
from .objective import Losses, LossWeights, Objective, make_objective
from .pairing import changing_beside, paired_arrays, share_layout
from .parameter_store import ParameterStore, find_place, moved_array, shared_store
from .reading import Reader
from .summary import html_summary, summary, summary_boxes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import DTypeLike, NDArray

_MOST_PLANS = 16  # the number of plans that a model keeps for loss_and_gradients


class Model(Layer):
    """A graph of layers from inputs to outputs, with a store of their parameters.

    `inputs` and `outputs` are one or several symbolic values (nc.Input, and layers called on values).
    `dtype` is float32 (the default) or float64. `seed` determines the initial parameters; None draws one,
    which `model.seed` returns. Layers that already belong to a store keep it, with its dtype and seed, so
    models built from the layers of a larger one share its parameters.

    A layer without a name is named by its index. With one input or output, methods take and return one array.
    With several, they return a list, and take a list or a dict by name.

    Raises ValueError if outputs depend on other inputs, if an input is unused, if a name is used twice, or if
    only some of the layers belong to a store. Raises TypeError for other dtypes.

    >>> import nncore as nc
    >>> x = nc.Input(3)
    >>> hidden = nc.Tanh()(nc.Dense(3, 3)(x))
    >>> model = nc.Model(x, nc.Dense(3, 2)(x + hidden), seed=1)
    >>> model.predict([[0.0, 0.0, 0.0]])
    array([[0., 0.]], dtype=float32)
    """

    kind = "model"
    options = ("layers", "nodes", "outputs")  # of a nested model

    def __init__(
        self,
        inputs: Value | Sequence[Value],
        outputs: Value | Sequence[Value],
        *,
        dtype: DTypeLike | None = None,
        seed: int | None = None,
        name: str | None = None,
        _names: Mapping[Layer, str] | None = None,
    ) -> None:
        super().__init__(name=name)
        self.inputs = as_values(inputs, "inputs")
        self.outputs = as_values(outputs, "outputs")
        self.traced = trace(self.inputs, self.outputs)  # nested models appear as single layers
        calls = {value.call: value.layer for value in self.traced if value.layer is not None}
        self.layers = tuple(calls.values())
        flat = expand(self.traced)
        self._ends = [flat[value] for value in self.outputs]
        self.values = trace(self.inputs, self._ends)  # inputs first, in topological order, without models
        self.input_widths = [value.features for value in self.inputs]
        self.in_features = self.input_widths[0] if len(self.inputs) == 1 else None
        every_layer = all_layers(self.layers)
        if _names is None and (shared := shared_store(every_layer)):
            _names = shared.names  # the names that the layers already have
        self.names = name_layers(self.layers, {} if _names is None else _names)
        self._named = {self.names[layer]: layer for layer in self.layers}
        self._value_names = name_values(self.values, self.names)
        self.value_names = [self._value_names[value] for value in self.values]
        self.input_names = [self._value_names[value] for value in self.inputs]
        self.output_names = [self._value_names[value] for value in self._ends]
        self.metadata: dict[str, Any] = {}
        self.unknown_fields: dict[str, Any] = {}  # fields of its file to keep in the next save
        nested = [inner for layer in self.layers for inner in layer.names]
        place = find_place(self.names, nested, dtype, seed)
        output_widths = [value.features for value in self.outputs]
        self.reader = Reader(
            self.input_names,
            self.input_widths,
            self.output_names,
            output_widths,
            place.store.dtype,
            [value.is_integer for value in self.inputs],
        )
        # The core calls these for arguments that it cannot read. Kept, as each access would create a method.
        self._read_inputs, self._read_gradients = self.reader.inputs, self.reader.grad_outputs
        self.attach(place.store)
        place.settle()

    def attach(self, store: ParameterStore) -> None:
        """Plans the graph on a store that holds all of its layers."""
        nodes = make_nodes(self.values, self._value_names, store.places)
        places = {value: place for place, value in enumerate(self.values)}
        graph = _core.Graph(nodes, [places[value] for value in self._ends])
        network = store.precision.network(graph, store.core)
        self._store, self.graph, self.network = store, graph, network
        self.segments = store.segments_of(self.names)
        self._objectives: dict[str | Loss, Objective] = {}  # the plans of loss_and_gradients
        store.tenants.add(self)

    # A model as a layer -------------------------------------------------------------------------------

    def __call__(self, *inputs: Value) -> Any:
        """Applies the model, as a layer, to symbolic values. Returns a list if it has several outputs.

        A model with nested models holds the parameters of all of them. If they had stores of their own, these
        move to its store with their values, and models that share parameters still do. From then on
        `layer.weight` and `model.parameters` are views of the new store; views taken before no longer are.
        Trainers created before must be created again.

        >>> import nncore as nc
        >>> encoder = nc.Sequential(nc.Dense(4, 2), nc.Tanh(), name="encoder")
        >>> x = nc.Input(4)
        >>> model = nc.Model(x, nc.Dense(2, 1)(encoder(x)))
        >>> list(model.named_parameters())
        ['encoder.0.weight', 'encoder.0.bias', '1.weight', '1.bias']
        >>> bool((model["encoder"][0].weight == encoder[0].weight).all())
        True
        """
        self.output_features(self.widths(inputs))
        first, *others = self.outputs
        value = Value(self, inputs, first.features)
        if not others:
            return value
        rest = enumerate((output.features for output in others), start=1)
        return [value, *(Value(self, inputs, width, call=value.call, output=place) for place, width in rest)]

    def output_features(self, widths: Sequence[int]) -> int:
        """The width of the first output. Raises ValueError unless `widths` match the model's inputs."""
        if list(widths) != self.input_widths:
            what = f"inputs of {type(self).__name__}"
            raise ValueError(f"{what} must have {self.input_widths} features; got {list(widths)}")
        return self.outputs[0].features

    def expand(self, inputs: Sequence[Value]) -> list[Value]:
        """Its outputs for these inputs, as values of the layers within it."""
        copies = dict(zip(self.inputs, inputs, strict=True))
        for value in self.values[len(self.inputs) :]:
            read = [copies[other] for other in value.inputs]
            copies[value] = Value(value.layer, read, value.features)
        return [copies[end] for end in self._ends]

    def describe(self, names: Mapping[Layer, str]) -> dict[str, Any]:
        """Its graph as a nested model, with its own name and the name in `names` for each layer."""
        nodes = describe_nodes(self.traced, self.outputs, self.names, self.input_names)
        return {"layers": [[local, names[layer]] for layer, local in self.names.items()], **nodes}

    def describe_graph(self) -> dict[str, Any]:
        """Its graph as plain numbers and strings, from which a model like it can be built."""
        nodes = describe_nodes(self.traced, self.outputs, self.names, self.input_names)
        return {"sequential": self.kind == "sequential", "layers": describe_layers(self.names), **nodes}

    @classmethod
    def referred(cls, options: Mapping[str, Any]) -> list[str]:
        """The names of the layers within it."""
        return [name for _, name in options["layers"]]

    @classmethod
    def from_options(cls, options: Mapping[str, Any], layers: Mapping[str, Layer], name: str) -> Model:
        """The nested model that such options describe, of layers that exist already."""
        own = {local: layers[place] for local, place in options["layers"]}
        return cls.from_graph(options, own, name=name)

    @classmethod
    def from_graph(cls, graph: Graph, layers: Mapping[str, Layer], **arguments: Any) -> Model:
        """The model of a graph, given its layers by name."""
        return Model(*connect(graph, layers), _names=top_names(layers), **arguments)

    @property
    def store(self) -> ParameterStore:
        """The store of its layers' parameters. It may hold those of other layers too."""
        return cast(ParameterStore, self._store)

    @property
    def trainable(self) -> bool:
        """Whether all its layers are trainable. Setting it sets `trainable` of every layer."""
        return all(layer.trainable for layer in self.names if layer.parameter_specs())

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        layers = [layer for layer in self.names if layer.parameter_specs()]
        _core.call_together([one for layer in layers for one in layer.trainable_changes(bool(trainable))])

    # Layers -------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Layer]:
        return iter(self.layers)

    def __getitem__(self, which: int | str) -> Layer:
        """A layer by index or name. Raises IndexError or ValueError if there is none."""
        if isinstance(which, str):
            if which not in self._named:
                raise unknown_name("layer", which, self._named)
            return self._named[which]
        try:
            return self.layers[which]
        except IndexError:
            count = len(self.layers)
            raise IndexError(f"layer must be in [-{count}, {count}); got {which}") from None
        except TypeError:
            raise TypeError(f"layer must be an index or a name; got {described(which)}") from None

    @property
    def layer_names(self) -> list[str]:
        """The names of `layers`, in order."""
        return [self.names[layer] for layer in self.layers]

    @property
    def feature_names(self) -> dict[str, tuple[Label, ...]]:
        """The column names of x: a dict from each input with names to a tuple of strings and integers.

        `Trainer.fit` and `Trainer.step` remember the column names of a table (pandas, polars, pyarrow). From
        then on, the columns of tables are matched by name, and a table with other names raises ValueError.
        Data without names go by position: arrays, lists, and DataFrames whose columns are 0, 1, 2, ... Labels
        that are neither strings nor integers count as their str(). A pandas Series is one sample, with its
        names in its index.

        Assign a dict to name the columns by hand, or {} to forget them. The property returns a copy. Setting
        it raises ValueError for an unknown input, repeated names, or a wrong number of names, and TypeError
        unless it is a dict of lists.

        >>> import nncore as nc
        >>> model = nc.mlp([2, 1], seed=0)
        >>> model.feature_names = {"input": ["age", "dose"]}
        >>> model.feature_names
        {'input': ('age', 'dose')}
        """
        return dict(self.reader.feature_names)

    @feature_names.setter
    def feature_names(self, names: Mapping[str, Iterable[Label]]) -> None:
        self.reader.feature_names = check_feature_names(names, self.input_names, self.input_widths)

    # Parameters ---------------------------------------------------------------------------------------

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self.store.dtype

    @property
    def seed(self) -> int:
        """The seed from which the parameters were drawn."""
        return self.store.seed

    @property
    def parameters(self) -> NDArray[Any]:
        """All P parameters of the store, (P,): a writable view."""
        return self.store.core.values

    @parameters.setter
    def parameters(self, values: NDArray[Any]) -> None:
        assign(self.parameters, values, "parameters", self.store.changing())

    @property
    def gradients(self) -> NDArray[Any]:
        """The gradients of all P parameters, (P,), in the same order: a writable view.

        `loss_and_gradients` and `backward` set it. After `Trainer.fit` and `Trainer.step` its contents are
        unspecified: plain SGD updates large weights while it forms their gradient, and does not store it.
        """
        return self.store.core.gradients

    @gradients.setter
    def gradients(self, values: NDArray[Any]) -> None:
        assign(self.gradients, values, "gradients", self.store.changing())

    def named_parameters(self) -> dict[str, NDArray[Any]]:
        """Writable views of the arrays of parameters, by names such as "0.weight".

        >>> import nncore as nc
        >>> {name: a.shape for name, a in nc.mlp([3, 2]).named_parameters().items()}
        {'0.weight': (2, 3), '0.bias': (2,)}
        """
        return self.store.split(self.parameters, self.segments)

    def named_state(self) -> dict[str, NDArray[Any]]:
        """Writable views of the arrays that are kept but not trained, by names such as "1.running_mean".

        >>> import nncore as nc
        >>> list(nc.Sequential(nc.Dense(3, 2), nc.BatchNorm(2)).named_state())
        ['1.running_mean', '1.running_var']
        """
        return self.store.state_views(self.names)

    def named_arrays(self) -> dict[str, NDArray[Any]]:
        """`named_parameters` and `named_state` together: all arrays of a model file."""
        return {**self.named_parameters(), **self.named_state()}

    # Computing ----------------------------------------------------------------------------------------

    def predict(self, x: Any, out: Any = None) -> Any:
        """Computes the outputs (B, O) for x (B, I), in the model's dtype.

        x is an array, list or table of bool, integer or float numbers, of which a 1-D array is one sample.
        For a model with several inputs it is a list, tuple or dict of them, and a model with several outputs
        returns a list. The result is a new array, or `out`. Several threads may call `predict` at once.

        Raises TypeError for other dtypes, and ValueError for other shapes, for columns other than those of
        `feature_names`, and for masked entries (numpy.ma).
        """
        return self.network.predict(x, out, self._read_inputs)

    def predict_values(self, x: Any, places: Sequence[int]) -> list[NDArray[Any]]:
        """Some of `values`, given by index, as predictions compute them: arrays (B, features)."""
        ends = [*dict.fromkeys([*places, *self.graph.outputs])]  # an output has to depend on each node
        graph = _core.Graph(self.graph.nodes, ends)
        computed = self.store.precision.network(graph, self.store.core).predict(x, None, self._read_inputs)
        found = dict(zip(ends, computed if len(ends) > 1 else [computed], strict=True))
        return [found[place] for place in places]

    def forward(self, x: Any, *, training: bool = True) -> Any:
        """Computes the outputs like `predict`, and keeps the values that `backward` needs.

        With `training=True`, dropout is active, and batch normalization uses the statistics of the batch and
        updates its running ones. With `training=False`, both behave as in `predict`.
        """
        return self.network.forward(x, training, self._read_inputs)

    def backward(self, grad_output: Any, *, accumulate: bool = False) -> Any:
        """Backpropagates dL/d(output), (B, O), through the last `forward`, and returns dL/dx, (B, I).

        It sets `gradients`, or adds to them with `accumulate=True`. For a model with several outputs,
        grad_output is a list; for one with several inputs, the result is a list without the integer inputs.
        `backward` may be called several times after one forward pass, such as once per row of a Jacobian.

        Raises ValueError for other shapes, and RuntimeError if there was no forward pass or a training call
        has overwritten its values.

        >>> import nncore as nc
        >>> model = nc.mlp([2, 1], seed=0)
        >>> y = model.forward([[1.0, 2.0]])
        >>> grad_x = model.backward([[1.0]])
        >>> model[0].grad_weight
        array([[1., 2.]], dtype=float32)
        """
        return self.network.backward(grad_output, accumulate, True, self._read_gradients)

    def loss_and_gradients(
        self,
        x: Any,
        y: Any,
        loss: Losses,
        sample_weight: Any = None,
        *,
        loss_weights: LossWeights = None,
        accumulate: bool = False,
        training: bool = True,
    ) -> float:
        """Returns the loss of a batch and sets `gradients` to its gradient.

        x is as for `predict`. y holds values (B, O), or class indices (B,) if the loss takes them.
        sample_weight is (B,), or given by output as for `Trainer.fit`. `loss` is a name, a Loss, or a
        function loss(output, y) -> (value, gradient). `training` is as for `forward`.

        With `accumulate=True`, the gradient is added to `gradients`, which `loss_and_gradients` or `backward`
        must have set: training steps leave them unspecified.
        """
        objective = self._objective(loss, loss_weights)
        return objective.loss_and_gradients(x, y, sample_weight, accumulate, training)

    # Copies and files ---------------------------------------------------------------------------------

    def copy(self, *, dtype: DTypeLike | None = None) -> Model:
        """A copy of the model with a store of its own, in the given dtype or the model's."""
        other: Model = make_model(self.describe_graph(), self.dtype if dtype is None else dtype, self.seed)
        other.name = self.name
        other.copy_from(self)
        other.metadata = dict(self.metadata)
        other.feature_names = self.feature_names
        return other

    def copy_from(self, other: Model) -> None:
        """Copies the parameters and state of another model with the same arrays.

        Arrays are matched by name or, if the names differ, in layer order. Raises ValueError, naming an
        array, if their shapes differ.
        """
        check_is(other, Model, "other")
        if share_layout(self, other):
            self.store.core.copy_from(other.store.core)
            return
        pairs = paired_arrays(self, other)
        with changing_beside(self, other):
            _core.call_together([partial(setitem, mine, ..., theirs) for mine, theirs in pairs])

    def soft_update(self, other: Model, fraction: float) -> None:
        """Moves the parameters toward another model's: p += fraction (p_other - p), as for target networks.

        The state, such as running statistics, moves likewise. Raises ValueError unless `other` has the same
        dtype and the same arrays, matched as in `copy_from`, and fraction is in [0, 1].
        """
        check_is(other, Model, "other")
        fraction = check_number(fraction, "fraction")
        if not 0.0 <= fraction <= 1.0:
            raise ValueError(f"fraction must be in [0, 1]; got {fraction}")
        if share_layout(self, other):
            self.store.core.soft_update(other.store.core, fraction)
            return
        arrays = paired_arrays(self, other)
        if other.dtype != self.dtype:
            raise ValueError(f"other must be {self.dtype}, like this model; got {other.dtype}")
        with changing_beside(self, other):
            moved = [
                (mine, moved_array(self.store.precision, mine, theirs, fraction)) for mine, theirs in arrays
            ]
            _core.call_together([partial(setitem, mine, ..., values) for mine, values in moved])

    def save(
        self,
        path: str | PathLike[str],
        *,
        metadata: Mapping[str, Any] | None = None,
        optimizer: Optimizer | None = None,
    ) -> None:
        """Saves the model to a safetensors file.

        `metadata` is a JSON-serializable dict with string keys, which `load(path).metadata` returns; None
        keeps the model's own. With an `optimizer`, the file also holds that optimizer's state for the model,
        for `Optimizer.restore`. The write is atomic: a failure leaves the old file. Saving twice gives equal
        bytes.

        Raises TypeError or ValueError for metadata that is not JSON-serializable, IsADirectoryError for a
        folder, shutil.SpecialFileError (an OSError) for a FIFO, socket or device, and other OSErrors if the
        disk is full or the folder is not writable.
        """
        check_path(path)
        write(self, path, metadata, optimizer)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles and deep copies hold the store with all of its layers, so models that share a store and are
        pickled together still share it.
        """
        layers = {name: layer for layer, name in self.names.items() if not isinstance(layer, Model)}
        kept = {name: getattr(self, name) for name in ("name", "metadata", "feature_names", "unknown_fields")}
        return remade, (self.describe_graph(), layers, self.store, kept)

    # Pictures -----------------------------------------------------------------------------------------

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draws the graph: a box for each row of `print(model)`, an arrow for each value that a layer reads.

        Inputs are green, layers with parameters blue; outputs have a thick frame. Returns the axes: `ax`, to
        which the graph is scaled down, or those of a new figure that is large enough.

        Raises TypeError unless `ax` is matplotlib axes or None, and ImportError without matplotlib
        (`pip install 'nncore-cpu[plot]'`).
        """
        from ..plotting.network import draw_network  # only drawing needs it

        return draw_network(self._title(), self._boxes(), ax)

    def __repr__(self) -> str:
        return summary(self._title(), self._boxes())

    def _repr_html_(self) -> str:
        """`print(model)` as a table, for notebooks."""
        return html_summary(self._title(), self._boxes())

    def _title(self) -> str:
        total = sum(view.size for view in self.named_parameters().values())
        title = f"{type(self).__name__}: {total:,} parameters, {self.dtype}, seed {self.seed}"
        if len(self.segments) < len(self.store.specs):
            title += f" (in a store of {self.parameters.size:,})"
        return title

    def _boxes(self) -> list[Box]:
        return summary_boxes(self.values, self.value_names, self._ends)

    def _objective(self, loss: Losses, loss_weights: LossWeights) -> Objective:
        """The objective of a loss. Plans for the core's losses are kept, as loops need one at every step."""
        if not isinstance(loss, (str, Loss)) or loss_weights is not None:
            return make_objective(self, loss, loss_weights)
        if (planned := self._objectives.get(loss)) is None:
            while len(self._objectives) >= _MOST_PLANS:  # a loss's parameters may change at every step
                self._objectives.pop(next(iter(self._objectives)), None)
            planned = self._objectives[loss] = make_objective(self, loss)
        return planned

    def feature_names_with(self, x: Any) -> FeatureNames:
        """`feature_names`, completed by the column names of x for inputs without names."""
        return {**find_feature_names(x, self.input_names), **self.reader.feature_names}
