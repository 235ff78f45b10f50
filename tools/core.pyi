"""The compiled core, as the bindings export it. Python code above it sees no pointers and no threads."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Never, Protocol, overload, type_check_only

import numpy as np
from numpy.typing import NDArray

type _FloatArray = NDArray[np.float32] | NDArray[np.float64]
type _IntegerArray = NDArray[np.integer[Any]]
type _Numbers = float | Sequence[float] | NDArray[Any]
type _Arrays = NDArray[Any] | Sequence[NDArray[Any]]
type _Convert = Callable[[Any], _Arrays] | None
type _ConvertBatch = Callable[[Any, Any, Any], tuple[_Arrays, _Arrays, _Arrays | None]] | None

__version__: str

# Runtime ---------------------------------------------------------------------------------------------

def show_config() -> dict[str, Any]: ...
def num_threads() -> int: ...
def set_num_threads(count: int) -> None: ...
def use_instruction_set(name: str) -> None: ...

# Random ----------------------------------------------------------------------------------------------

def philox(counter: Sequence[int], key: Sequence[int]) -> tuple[int, int, int, int]: ...
def fill_uniform(out: _FloatArray, low: float, high: float, seed: int, index: int) -> None: ...
def fill_normal(out: _FloatArray, mean: float, standard_deviation: float, seed: int, index: int) -> None: ...
def shuffled_rows(count: int, seed: int, epoch: int) -> NDArray[np.int64]: ...

# Changing several things at once ---------------------------------------------------------------------

type _Change = Callable[[], object]  # a functools.partial of a function written in C

def call_together(functions: list[_Change]) -> None: ...

# The core's tables -----------------------------------------------------------------------------------

entries: dict[str, list[dict[str, Any]]]  # per family, the fields of each kind

def check_activation(kind: str, **parameters: float | str) -> None: ...
def check_initializer(kind: str, **parameters: float) -> None: ...

# Functions: see nncore.functional --------------------------------------------------------------------

def dense_forward[A: _FloatArray](
    x: A, weight: A, bias: A | None = None, *, activation: str = "identity", out: A | None = None
) -> A: ...
def dense_backward[A: _FloatArray](
    grad_output: A,
    x: A,
    weight: A,
    *,
    out: tuple[A, A, A] | None = None,
    accumulate: bool = False,
) -> tuple[A, A, A]: ...

# One protocol for each kind of function; the functions are rows of tables.

@type_check_only
class _Elementary(Protocol):
    def __call__[A: _FloatArray](self, x: A, *, out: A | None = None) -> A: ...

exp: _Elementary
log: _Elementary

# The functions of the entries are inserted here.

# Networks: one class for each precision, with the same methods ---------------------------------------

@type_check_only
class _Class(type): ...  # the metaclass of all classes here

class Segment(metaclass=_Class):
    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        *,
        layout: str = "columns",  # or "rows"
        initializer: str = "zeros",
        initializer_parameters: Mapping[str, float] = ...,
        trainable: bool = True,
        learning_rate_multiplier: float = 1.0,
        weight_decay_multiplier: float = 0.0,
    ) -> None: ...
    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def trainable(self) -> bool: ...
    @property
    def learning_rate_multiplier(self) -> float: ...
    @property
    def weight_decay_multiplier(self) -> float: ...

class StoreGuard(metaclass=_Class):
    def __init__(self, *args: Never, **kwargs: Never) -> None: ...  # only a store makes one
    def __enter__(self) -> None: ...
    def __exit__(self, *args: object) -> None: ...

@type_check_only
class _Parameters[F: (np.float32, np.float64)](metaclass=_Class):
    def __init__(self, segments: Sequence[Segment], state_segments: Sequence[Segment] = ()) -> None: ...
    @property
    def values(self) -> NDArray[F]: ...  # flat, writable, a view
    @property
    def gradients(self) -> NDArray[F]: ...
    @property
    def state(self) -> NDArray[F]: ...
    @property
    def segments(self) -> list[Segment]: ...
    @property
    def state_segments(self) -> list[Segment]: ...
    def value(self, index: int) -> NDArray[F]: ...  # writable view: (O, I) or (O,)
    def gradient(self, index: int) -> NDArray[F]: ...
    def state_value(self, index: int) -> NDArray[F]: ...
    seed: int  # of dropout
    random_step: int  # training passes that have drawn from it
    def copying(self) -> StoreGuard: ...  # context: training waits; RuntimeError if training is under way
    def changing(self) -> StoreGuard: ...  # context: RuntimeError while any call uses the store
    def initialize(self, seed: int) -> None: ...
    def set_trainable(self, index: int, trainable: bool) -> None: ...
    def set_learning_rate_multiplier(self, index: int, multiplier: float) -> None: ...
    def set_weight_decay_multiplier(self, index: int, multiplier: float) -> None: ...
    def copy_from(self, other: _Parameters[F]) -> None: ...
    def soft_update(self, other: _Parameters[F], fraction: float) -> None: ...

class Parameters_float32(_Parameters[np.float32]): ...
class Parameters_float64(_Parameters[np.float64]): ...

class Node(metaclass=_Class):
    def __init__(self, *args: Never, **kwargs: Never) -> None: ...  # only the functions below make one
    @staticmethod
    def input(name: str, features: int, is_integer: bool = False) -> Node: ...
    @staticmethod
    def make(
        kind: str,
        name: str,
        inputs: Sequence[int],
        segments: Sequence[int] = (),  # indices in the store
        state: Sequence[int] = (),
        attributes: Mapping[str, bool | int | float | str] = ...,
    ) -> Node: ...
    @property
    def name(self) -> str: ...
    @property
    def features(self) -> int: ...
    @property
    def inputs(self) -> list[int]: ...

class Graph(metaclass=_Class):
    def __init__(self, nodes: Sequence[Node], outputs: Sequence[int]) -> None: ...
    @property
    def nodes(self) -> list[Node]: ...
    @property
    def outputs(self) -> list[int]: ...

class Transform(metaclass=_Class):
    """A transform of the gradients of a step, or a moving average of the parameters."""

    def __init__(self, *args: Never, **kwargs: Never) -> None: ...  # the functions below make them

def clip_by_global_norm(max_norm: float) -> Transform: ...
def clip_by_value(limit: float) -> Transform: ...
def moving_average(decay: float) -> Transform: ...

class Optimizer(metaclass=_Class):
    """The hyperparameters of an optimizer, by the names in its entry, and its transforms. Raises TypeError for
    other names and ValueError for values out of range."""

    def __init__(self, kind: str, **kwargs: float) -> None: ...
    @property
    def kind(self) -> str: ...
    @property
    def settings(self) -> dict[str, float]: ...
    def set(self, name: str, value: float) -> None: ...
    def set_transforms(self, transforms: Sequence[Transform | Callable[[NDArray[Any]], None]]) -> None: ...
    learning_rate: float

@type_check_only
class _OptimizerState[F: (np.float32, np.float64)](metaclass=_Class):
    def __init__(self, optimizer: Optimizer, parameters: _Parameters[F]) -> None: ...
    steps: int
    @property
    def slots(self) -> dict[str, NDArray[F]]: ...  # writable flat views, as long as the parameters
    def prepare_slots(self, optimizer: Optimizer, parameters: _Parameters[F]) -> None: ...

class OptimizerState_float32(_OptimizerState[np.float32]): ...
class OptimizerState_float64(_OptimizerState[np.float64]): ...

class Loss(metaclass=_Class):
    """A loss, given by name or alias, with its parameters by name."""

    def __init__(self, kind: str, **parameters: _Numbers) -> None: ...
    @property
    def kind(self) -> str: ...
    @property
    def parameters(self) -> dict[str, float | tuple[float, ...]]: ...
    def target_features(self, output_features: int) -> int: ...

class Objective(metaclass=_Class):
    """Loss terms, planned by a network for its own use."""

    def __init__(self, *args: Never, **kwargs: Never) -> None: ...  # only plan() makes one

class EpochResult(metaclass=_Class):
    def __init__(self, *args: Never, **kwargs: Never) -> None: ...  # only train_epoch makes one
    @property
    def mean_loss(self) -> float: ...
    @property
    def steps(self) -> int: ...

@type_check_only
class _Network[F: (np.float32, np.float64)](metaclass=_Class):
    """x: one 2-D array, or a sequence with one for each graph input, of any bool/int/float dtype and any strides.
    y: one array, or a sequence with one for each loss term: (B, O) of any bool/int/float dtype; (B,) or (B, 1)
    of integers for losses that take class indices; (B,) for other losses only if O is 1.
    sample_weight: (B,), or one for each loss term, of any real dtype, finite, >= 0, not all zero.
    rows: int64 (n,) or None.
    Every method raises TypeError for dtypes and ValueError for shapes and values, before it writes anything,
    and RuntimeError while another call uses the store in a way that excludes this one. A step with non-finite
    inputs, loss, gradients or updates raises FloatingPointError and changes nothing. loss and
    loss_and_gradients raise it for non-finite inputs, but return a non-finite loss."""

    def __init__(self, graph: Graph, parameters: _Parameters[F]) -> None: ...

    # Methods with `convert` take any object. They use single arrays for x, y and sample_weight directly if they
    # fit; x (I,) is one sample. For anything else they call convert with the arguments, once, before using the
    # store, and use the arrays that it returns; without convert they raise. They return the array itself for one
    # output or input, and a list of arrays for several.

    def predict(self, x: object, out: object = None, convert: _Convert = None) -> Any: ...
    def forward(self, x: object, training: bool = True, convert: _Convert = None) -> Any: ...  # copies out
    def backward(
        self,
        grad_output: object,
        accumulate: bool = False,
        input_gradients: bool = True,
        convert: _Convert = None,
    ) -> Any: ...  # one per float input
    def loss_and_gradients(
        self,
        objective: Objective,
        x: object,
        y: object,
        sample_weight: object = None,
        accumulate: bool = False,
        training: bool = True,  # False: like predict, without dropout and batch statistics
        convert: _ConvertBatch = None,
    ) -> float: ...
    def train_step(
        self,
        objective: Objective,
        x: object,
        y: object,
        optimizer: Optimizer,
        state: _OptimizerState[F],
        sample_weight: object = None,
        factors: tuple[float, float] | None = None,  # of learning rate and weight decay
        convert: _ConvertBatch = None,
    ) -> float: ...  # plain SGD stores no gradients of large weights
    def update(
        self, optimizer: Optimizer, state: _OptimizerState[F], factors: tuple[float, float] | None = None
    ) -> None: ...
    def plan(self, terms: Sequence[tuple[Loss, int, float]]) -> Objective: ...  # (loss, output, weight)
    def check_inputs(
        self, x: _Arrays
    ) -> None: ...  # FloatingPointError names the position of a non-finite input
    def loss(
        self,
        objective: Objective,
        x: _Arrays,
        y: _Arrays,
        sample_weight: _Arrays | None = None,
    ) -> float: ...
    def train_epoch(
        self,
        objective: Objective,
        x: _Arrays,
        y: _Arrays,
        batch_size: int,
        optimizer: Optimizer,
        state: _OptimizerState[F],
        rows: NDArray[np.int64] | None = None,
        sample_weight: _Arrays | None = None,
        tick: Callable[[int, float], object]
        | None = None,  # (steps, mean loss so far), between steps, every ~50 ms
        factors: Sequence[tuple[int, float, float]]
        | None = None,  # (steps, factor of learning rate, factor of weight decay) runs
    ) -> EpochResult: ...  # Ctrl-C raises KeyboardInterrupt after a complete step
    def train_step_with(
        self,
        loss: Callable[[list[NDArray[F]]], tuple[float, Sequence[NDArray[F]]]],
        x: _Arrays,
        optimizer: Optimizer,
        state: _OptimizerState[F],
        rows: NDArray[np.int64] | None = None,
        factors: tuple[float, float] | None = None,
    ) -> float: ...  # loss: outputs -> (loss, one gradient for each output)

class Network_float32(_Network[np.float32]): ...
class Network_float64(_Network[np.float64]): ...
