"""Models: a graph of layers at work on a store of parameters."""

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

_MOST_PLANS = 16  # that a model keeps for loss_and_gradients


class Model(Layer):
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
        self.traced = trace(self.inputs, self.outputs)  # with nested models as they were called
        calls = {value.call: value.layer for value in self.traced if value.layer is not None}
        self.layers = tuple(calls.values())
        flat = expand(self.traced)
        self._ends = [flat[value] for value in self.outputs]
        self.values = trace(self.inputs, self._ends)  # in topological order, the inputs first; no models
        self.input_widths = [value.features for value in self.inputs]
        self.in_features = self.input_widths[0] if len(self.inputs) == 1 else None
        everyone = all_layers(self.layers)
        if _names is None and (shared := shared_store(everyone)):
            _names = shared.names  # what the layers are called where they were before
        self.names = name_layers(self.layers, {} if _names is None else _names)
        self._named = {self.names[layer]: layer for layer in self.layers}
        self._value_names = name_values(self.values, self.names)
        self.value_names = [self._value_names[value] for value in self.values]
        self.input_names = [self._value_names[value] for value in self.inputs]
        self.output_names = [self._value_names[value] for value in self._ends]
        self.metadata: dict[str, Any] = {}
        self.unknown_fields: dict[str, Any] = {}  # of the file it came from, kept for the next save
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
        # What the core calls for what it does not take; kept, as loops would make a bound method every time.
        self._read_inputs, self._read_gradients = self.reader.inputs, self.reader.grad_outputs
        self.attach(place.store)
        place.settle()

    def attach(self, store: ParameterStore) -> None:
        """Plans the graph on a store that has all of its layers."""
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
        """The symbolic value of the whole model applied to others; a list where it has several outputs.

        A model of models has the parameters of all of them. Where they had stores of their own, those move
        to its store, values and all: models that share them go on sharing, `layer.weight` and
        `model.parameters` are views of the new store, and what was taken from them before is none any more.
        Trainers that were made before are to be made anew.

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
        """The width of the first output for inputs of the model's widths."""
        if list(widths) != self.input_widths:
            what = f"inputs of {type(self).__name__}"
            raise ValueError(f"{what} must be of {self.input_widths} features; got {list(widths)}")
        return self.outputs[0].features

    def expand(self, inputs: Sequence[Value]) -> list[Value]:
        """Its outputs as values of the layers within it."""
        copies = dict(zip(self.inputs, inputs, strict=True))
        for value in self.values[len(self.inputs) :]:
            read = [copies[other] for other in value.inputs]
            copies[value] = Value(value.layer, read, value.features)
        return [copies[end] for end in self._ends]

    def describe(self, names: Mapping[Layer, str]) -> dict[str, Any]:
        """Its graph, with its own names of layers and those that `names` has."""
        nodes = describe_nodes(self.traced, self.outputs, self.names, self.input_names)
        return {"layers": [[local, names[layer]] for layer, local in self.names.items()], **nodes}

    def describe_graph(self) -> dict[str, Any]:
        """Its graph as one whole, from which a model like it can be made."""
        nodes = describe_nodes(self.traced, self.outputs, self.names, self.input_names)
        return {"sequential": self.kind == "sequential", "layers": describe_layers(self.names), **nodes}

    @classmethod
    def referred(cls, options: Mapping[str, Any]) -> list[str]:
        """The layers within it."""
        return [name for _, name in options["layers"]]

    @classmethod
    def from_options(cls, options: Mapping[str, Any], layers: Mapping[str, Layer], name: str) -> Model:
        """The model of some layers that were made before."""
        own = {local: layers[place] for local, place in options["layers"]}
        return cls.from_graph(options, own, name=name)

    @classmethod
    def from_graph(cls, graph: Graph, layers: Mapping[str, Layer], **arguments: Any) -> Model:
        """The model that the nodes of a graph make of its layers."""
        return Model(*connect(graph, layers), _names=top_names(layers), **arguments)

    @property
    def store(self) -> ParameterStore:
        """The parameters of its layers, and perhaps those of others."""
        return cast(ParameterStore, self._store)

    @property
    def trainable(self) -> bool:
        """Whether optimizers change the parameters of all its layers. Setting it sets it for each."""
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
        """A layer by its place or its name; IndexError or ValueError where there is none."""
        if isinstance(which, str):
            if which not in self._named:
                raise unknown_name("layer", which, self._named)
            return self._named[which]
        try:
            return self.layers[which]
        except IndexError:
            raise IndexError(f"layer must be below {len(self.layers)}; got {which}") from None
        except TypeError:
            raise TypeError(f"layer must be a place or a name; got {described(which)}") from None

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
        """The seed that the parameters were drawn from."""
        return self.store.seed

    @property
    def parameters(self) -> NDArray[Any]:
        """All P parameters of the store, flat: a writable view."""
        return self.store.core.values

    @parameters.setter
    def parameters(self, values: NDArray[Any]) -> None:
        assign(self.parameters, values, "parameters", self.store.changing())

    @property
    def gradients(self) -> NDArray[Any]:
        """The gradients of all P parameters, flat, in the same order: a writable view.

        `loss_and_gradients` and `backward` fill it. `Trainer.fit` and `Trainer.step` use it as they like:
        plain SGD changes large weights while their gradient is formed, and does not store that.
        """
        return self.store.core.gradients

    @gradients.setter
    def gradients(self, values: NDArray[Any]) -> None:
        assign(self.gradients, values, "gradients", self.store.changing())

    def named_parameters(self) -> dict[str, NDArray[Any]]:
        """A writable view of each array of parameters by its name, such as "0.weight".

        >>> import nncore as nc
        >>> {name: a.shape for name, a in nc.mlp([3, 2]).named_parameters().items()}
        {'0.weight': (2, 3), '0.bias': (2,)}
        """
        return self.store.split(self.parameters, self.segments)

    def named_state(self) -> dict[str, NDArray[Any]]:
        """A writable view of each array that is kept without being learned, such as "1.running_mean".

        >>> import nncore as nc
        >>> list(nc.Sequential(nc.Dense(3, 2), nc.BatchNorm(2)).named_state())
        ['1.running_mean', '1.running_var']
        """
        return self.store.state_views(self.names)

    def named_arrays(self) -> dict[str, NDArray[Any]]:
        """`named_parameters` and `named_state`: all that a file holds."""
        return {**self.named_parameters(), **self.named_state()}

    # Computing ----------------------------------------------------------------------------------------

    def predict(self, x: Any, out: Any = None) -> Any:
        """The outputs for x (B, I): (B, O) in the model's dtype, new or in `out`.

        x is an array, list or pandas table of bool, integer or float numbers (1-D: one sample); a list,
        tuple or dict of them where the model has several inputs. The outputs are returned as one array, or as
        a list where there are several. Several threads may predict on one model at the same time.

        Raises TypeError for other dtypes, and ValueError for other shapes, for columns that are not those of
        `feature_names`, and for masked entries of numpy.ma arrays.
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
        """As predict, and keeps what `backward` needs.

        With `training`, dropout draws and batch normalization takes the statistics of the batch, which move
        its running ones; without, they do as in predictions.
        """
        return self.network.forward(x, training, self._read_inputs)

    def backward(self, grad_output: Any, *, accumulate: bool = False) -> Any:
        """From dL/d(output), (B, O), of the last `forward`: fills `gradients` (adds with `accumulate`) and
        returns dL/dx, (B, I) (a list for several outputs and inputs; inputs of integers have none). It
        may be called several times for one forward pass: once for each row of a Jacobian.

        Raises ValueError for other shapes, and RuntimeError where there was no forward, or where a call that
        trains has used its values since.

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
        """The loss over a batch; fills `gradients` with its gradient (adds with `accumulate`: to what
        `loss_and_gradients` or `backward` left there, as a trainer leaves no whole gradient).

        x as for predict; y (B, O) values, or class indices (B,) where the loss takes them; sample_weight
        (B,), or by output, as `Trainer.fit` takes it. `loss` is a name, a Loss, or a function
        loss(output, y) -> (value, gradient). `training` as for `forward`.
        """
        objective = self._objective(loss, loss_weights)
        return objective.loss_and_gradients(x, y, sample_weight, accumulate, training)

    # Copies and files ---------------------------------------------------------------------------------

    def copy(self, *, dtype: DTypeLike | None = None) -> Model:
        """A model of the same graph and parameters with a store of its own; `dtype` may be the other one."""
        other: Model = make_model(self.describe_graph(), self.dtype if dtype is None else dtype, self.seed)
        other.name = self.name
        other.copy_from(self)
        other.metadata = dict(self.metadata)
        other.feature_names = self.feature_names
        return other

    def copy_from(self, other: Model) -> None:
        """Takes over the parameters of a model with the same arrays: by their names, or, where those are not
        the same, in the order of the layers. Raises ValueError, naming an array, where they do not fit.
        """
        check_is(other, Model, "other")
        if share_layout(self, other):
            self.store.core.copy_from(other.store.core)
            return
        pairs = paired_arrays(self, other)
        with changing_beside(self, other):
            _core.call_together([partial(setitem, mine, ..., theirs) for mine, theirs in pairs])

    def soft_update(self, other: Model, fraction: float) -> None:
        """parameters += fraction (other's parameters - parameters): a target network's slow step.

        `other` must have the same arrays, paired as by `copy_from`, and dtype, and fraction lie in [0, 1];
        ValueError otherwise.
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
            raise ValueError(f"other must be {self.dtype}, as this model is; got {other.dtype}")
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
        """Writes the model to a safetensors file; `metadata` (a dict that JSON can hold) comes back in
        `load(path).metadata`. The file appears whole or not at all; saving twice gives equal bytes. With an
        `optimizer`, the file holds what that knows of the model too, for `Optimizer.restore`.

        Raises TypeError or ValueError for metadata that JSON cannot hold. Raises IsADirectoryError where the
        path is a folder, shutil.SpecialFileError (an OSError) where it is a FIFO, socket or device, and other
        OSErrors where the disk is full or the folder cannot be written. What was there then stays.
        """
        check_path(path)
        write(self, path, metadata, optimizer)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickles and deep copies hold the store, and with it all layers that are in it: models that share
        one still share it where they are pickled together.
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
        """Planned once for each of the core's losses, as loops of one's own ask for it every step."""
        if not isinstance(loss, (str, Loss)) or loss_weights is not None:
            return make_objective(self, loss, loss_weights)
        if (planned := self._objectives.get(loss)) is None:
            while len(self._objectives) >= _MOST_PLANS:  # parameters of a loss may change with every step
                self._objectives.pop(next(iter(self._objectives)), None)
            planned = self._objectives[loss] = make_objective(self, loss)
        return planned

    def feature_names_with(self, x: Any) -> FeatureNames:
        """`feature_names`, and those of x for inputs that have none yet."""
        return {**find_feature_names(x, self.input_names), **self.reader.feature_names}
