"""The compiled core: what the bindings export. Python code above it never sees a pointer or a thread."""

from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import NDArray

type FloatArray = NDArray[np.float32] | NDArray[np.float64]
type Reduction = Literal["mean", "sum", "none"]

__version__: str

# Runtime ---------------------------------------------------------------------------------------------

def show_config() -> dict[str, Any]: ...
def num_threads() -> int: ...
def set_num_threads(count: int) -> None: ...
def use_instruction_set(name: str) -> None: ...

# Random ----------------------------------------------------------------------------------------------

def philox(counter: Sequence[int], key: Sequence[int]) -> tuple[int, int, int, int]: ...
def fill_uniform(out: FloatArray, low: float, high: float, seed: int, index: int) -> None: ...
def fill_normal(out: FloatArray, mean: float, standard_deviation: float, seed: int, index: int) -> None: ...
def shuffled_rows(count: int, seed: int, epoch: int) -> NDArray[np.int64]: ...

# Tables of names: what the registry rows must agree with ---------------------------------------------

activation_names: tuple[str, ...]
loss_names: tuple[str, ...]
optimizer_names: tuple[str, ...]
initializer_names: tuple[str, ...]

# Functions: see nncore.functional --------------------------------------------------------------------

def exp[A: FloatArray](x: A, *, out: A | None = None) -> A: ...
def log[A: FloatArray](x: A, *, out: A | None = None) -> A: ...
def dense_forward[A: FloatArray](
    x: A, weight: A, bias: A | None = None, *, activation: str = "identity", out: A | None = None
) -> A: ...
def dense_backward[A: FloatArray](
    grad_output: A,
    x: A,
    weight: A,
    *,
    out: tuple[A, A, A] | None = None,
    accumulate: bool = False,
) -> tuple[A, A, A]: ...

# <activation>(z, *, out=None) and <activation>_backward(grad_output, output, *, out=None, accumulate=False)
# for: identity sigmoid tanh relu softmax log_softmax
# <loss>(prediction, target, *, sample_weight=None, reduction="mean") and
# <loss>_and_gradient(prediction, target, *, sample_weight=None, reduction="mean", out=None, accumulate=False)
# for: half_squared_error mean_squared_error cross_entropy binary_cross_entropy softmax_cross_entropy
# sigmoid_cross_entropy;  value: float, for reduction="none" an array (B,)

# Networks: one class a dtype, the same methods; float32 written out -----------------------------------

class Segment:
    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        *,
        initializer: str = "zeros",
        value: float = 0.0,
        trainable: bool = True,
        learning_rate_multiplier: float = 1.0,
        decay: bool = False,
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
    def decay(self) -> bool: ...

class Parameters_float32:
    def __init__(self, segments: Sequence[Segment], state_segments: Sequence[Segment] = ()) -> None: ...
    @property
    def values(self) -> NDArray[np.float32]: ...  # flat, writable, a view
    @property
    def gradients(self) -> NDArray[np.float32]: ...
    @property
    def state(self) -> NDArray[np.float32]: ...
    @property
    def segments(self) -> list[Segment]: ...
    @property
    def state_segments(self) -> list[Segment]: ...
    def value(self, index: int) -> NDArray[np.float32]: ...  # writable view: (O, I) or (O,)
    def gradient(self, index: int) -> NDArray[np.float32]: ...
    def state_value(self, index: int) -> NDArray[np.float32]: ...
    def initialize(self, seed: int) -> None: ...
    def set_trainable(self, index: int, trainable: bool) -> None: ...
    def set_learning_rate_multiplier(self, index: int, multiplier: float) -> None: ...
    def set_decay(self, index: int, decay: bool) -> None: ...
    def copy_from(self, other: Parameters_float32) -> None: ...
    def blend(self, other: Parameters_float32, fraction: float) -> None: ...

class Parameters_float64: ...  # the same

class Node:
    @staticmethod
    def input(name: str, features: int, is_integer: bool = False) -> Node: ...
    @staticmethod
    def dense(
        name: str,
        input: int,
        weight: int,  # segment index in the store
        bias: int,  # segment index, -1: none
        in_features: int,
        out_features: int,
        transposed: bool = False,
    ) -> Node: ...
    @staticmethod
    def activation(name: str, input: int, activation: str) -> Node: ...
    @staticmethod
    def add(name: str, inputs: Sequence[int]) -> Node: ...
    @staticmethod
    def multiply(name: str, inputs: Sequence[int]) -> Node: ...
    @staticmethod
    def concatenate(name: str, inputs: Sequence[int]) -> Node: ...
    @property
    def name(self) -> str: ...
    @property
    def features(self) -> int: ...
    @property
    def inputs(self) -> list[int]: ...

class Graph:
    def __init__(self, nodes: Sequence[Node], outputs: Sequence[int]) -> None: ...
    @property
    def nodes(self) -> list[Node]: ...
    @property
    def outputs(self) -> list[int]: ...

class Optimizer:
    """The numbers of an optimizer; checked when made (ValueError names the field)."""

    def __init__(
        self,
        kind: str,
        *,
        learning_rate: float,
        momentum: float = 0.9,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None: ...
    learning_rate: float

class OptimizerState_float32:
    def __init__(self, kind: str, parameters: Parameters_float32) -> None: ...
    steps: int
    @property
    def first_moment(self) -> NDArray[np.float32]: ...  # writable views, empty where there is none
    @property
    def second_moment(self) -> NDArray[np.float32]: ...

class OptimizerState_float64: ...  # the same

class Objective: ...

class EpochResult:
    @property
    def mean_loss(self) -> float: ...
    @property
    def steps(self) -> int: ...

class Network_float32:
    """x: one array a graph input, 2-D, any bool/int/float dtype, any strides; y: one array a loss term:
    (B, O) of any bool/int/float dtype, or for losses that take class indices (B,) or (B, 1) of integers;
    1-D y of other losses only where O is 1. sample_weight (B,), any real dtype, finite and >= 0. rows: int64 (n,) or None.
    Every method raises TypeError for dtypes and ValueError for shapes and values, before anything is
    written; RuntimeError where another call is using the store in a way that excludes this one. A loss
    that is not finite raises FloatingPointError and changes nothing."""

    def __init__(self, graph: Graph, parameters: Parameters_float32) -> None: ...
    def predict(
        self, x: Sequence[NDArray[Any]], out: Sequence[NDArray[np.float32]] | None = None
    ) -> list[NDArray[np.float32]]: ...
    def forward(self, x: Sequence[NDArray[Any]], training: bool = True) -> list[NDArray[np.float32]]: ...  # copies out
    def backward(
        self,
        grad_outputs: Sequence[NDArray[np.float32]],
        accumulate: bool = False,
        input_gradients: bool = True,
    ) -> list[NDArray[np.float32]]: ...  # one per float input
    def plan(self, terms: Sequence[tuple[str, int, float]]) -> Objective: ...  # (loss, output, weight)
    def loss(
        self,
        objective: Objective,
        x: Sequence[NDArray[Any]],
        y: Sequence[NDArray[Any]],
        sample_weight: NDArray[Any] | None = None,
    ) -> float: ...
    def loss_and_gradients(
        self,
        objective: Objective,
        x: Sequence[NDArray[Any]],
        y: Sequence[NDArray[Any]],
        sample_weight: NDArray[Any] | None = None,
        accumulate: bool = False,
    ) -> float: ...
    def train_step(
        self,
        objective: Objective,
        x: Sequence[NDArray[Any]],
        y: Sequence[NDArray[Any]],
        optimizer: Optimizer,
        state: OptimizerState_float32,
        rows: NDArray[np.int64] | None = None,
        sample_weight: NDArray[Any] | None = None,
    ) -> float: ...
    def train_epoch(
        self,
        objective: Objective,
        x: Sequence[NDArray[Any]],
        y: Sequence[NDArray[Any]],
        batch_size: int,
        optimizer: Optimizer,
        state: OptimizerState_float32,
        rows: NDArray[np.int64] | None = None,
        sample_weight: NDArray[Any] | None = None,
        tick: Callable[[int, float], object] | None = None,  # (steps done, mean loss so far), every ~50 ms, between steps
    ) -> EpochResult: ...  # Ctrl-C raises KeyboardInterrupt after a whole step
    def update(self, optimizer: Optimizer, state: OptimizerState_float32) -> None: ...
    def train_step_with(
        self,
        loss: Callable[[list[NDArray[np.float32]]], tuple[float, Sequence[NDArray[np.float32]]]],
        x: Sequence[NDArray[Any]],
        optimizer: Optimizer,
        state: OptimizerState_float32,
        rows: NDArray[np.int64] | None = None,
    ) -> float: ...  # a step whose loss is Python: outputs -> (loss, one gradient an output)

class Network_float64: ...  # the same
