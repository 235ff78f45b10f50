"""Layers: what a model is described with. They hold no numbers themselves: a model's store does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from . import _core
from .data import as_numbers
from .graph import Value, check_size
from .initializers import Initializer, as_initializer
from .names import check_name
from .registry import activations, layers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .store import Store


class Piece(NamedTuple):
    """One array of parameters that a layer asks its store for."""

    shape: tuple[int, ...]
    initializer: Initializer
    weight_decay_multiplier: float  # of weight decay: 1 for weights, 0 for biases


class Layer:
    """An operation of a model. Called on symbolic values, it gives one.

    A layer may be called several times, within one model or in several: its parameters are the same
    everywhere, and their gradients add. It gets them when the first model with it is built; from then on
    `weight`, `bias` and their gradients are writable views of that model's store.
    """

    kind: ClassVar[str]
    options: ClassVar[tuple[str, ...]] = ()  # the arguments that describe it in a file, beside its name

    def __init__(self, *, name: str | None = None) -> None:
        self.name = check_name(name)
        self._trainable = True
        self._store: Store | None = None

    def __call__(self, *inputs: Value) -> Value:
        """The symbolic value of this layer applied to others; ValueError where widths do not fit."""
        for value in inputs:
            if not isinstance(value, Value):
                raise TypeError(
                    f"{self!r} is called on symbolic values (nc.Input); given {type(value).__name__}. "
                    "To compute with arrays, build a model and call predict"
                )
        return Value(self, inputs, self.output_features([value.features for value in inputs]))

    def output_features(self, widths: Sequence[int]) -> int:
        """The width of the output for inputs of these widths; ValueError where they do not fit."""
        raise NotImplementedError

    def pieces(self) -> dict[str, Piece]:
        """The parameters of its own, by the name of each, in the order in which they are stored."""
        return {}

    def node(self, name: str, inputs: list[int], segments: Mapping[Layer, int]) -> _core.Node:
        """Its node in the core's graph. `segments` tells where each layer's own parameters start."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """The options that would make it again, as plain numbers and strings."""
        return {option: getattr(self, option) for option in self.options}

    @property
    def store(self) -> Store | None:
        """The store that holds its parameters; None before the first model with it is built."""
        return self._store

    @property
    def trainable(self) -> bool:
        """Whether optimizers change its parameters. Setting it works at any time."""
        return self._trainable

    @trainable.setter
    def trainable(self, trainable: bool) -> None:
        trainable = bool(trainable)
        if self._store is not None:
            self._store.set_trainable(self, trainable)
        self._trainable = trainable

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class _Affine(Layer):
    """What Dense and its transposed share: two widths, a weight and perhaps a bias."""

    in_features: int
    out_features: int

    @property
    def weight(self) -> NDArray[Any]:
        """The weight, (O, I): a writable view."""
        raise NotImplementedError

    @property
    def bias(self) -> NDArray[Any] | None:
        """The bias, (O,): a writable view; None for a layer without one."""
        return self._view("bias", gradient=False) if "bias" in self.pieces() else None

    @bias.setter
    def bias(self, values: NDArray[Any]) -> None:
        if self.bias is None:
            raise ValueError(f"{self!r} has no bias")
        assign(self.store, self.bias, values, "bias")

    @property
    def grad_bias(self) -> NDArray[Any] | None:
        """The gradient of the bias, (O,), as the last backward pass left it; None without a bias."""
        return self._view("bias", gradient=True) if "bias" in self.pieces() else None

    def output_features(self, widths: Sequence[int]) -> int:
        """The width of the output for one input of in_features."""
        if list(widths) != [self.in_features]:
            given = " and ".join(map(str, widths)) or "nothing"
            raise ValueError(f"{self!r} takes one value of {self.in_features} features; given {given}")
        return self.out_features

    def _view(self, piece: str, *, gradient: bool) -> NDArray[Any]:
        if self._store is None:
            raise RuntimeError(f"{self!r} has no parameters yet; it gets them when a model is built from it")
        return self._store.view(self, piece, gradient=gradient)


@layers.row("dense")
class Dense(_Affine):
    """z = x weight^T + bias: x (B, I), weight (O, I), bias (O,), z (B, O).

    `weight_initializer` and `bias_initializer` are names ("glorot_uniform", "glorot_normal", "he_uniform",
    "he_normal", "zeros") or instances such as Constant(0.1). `trainable=False` keeps optimizers from
    changing it. Weight decay applies to the weight, not to the bias.
    Raises ValueError for sizes < 1 and unknown names, with the nearest known one.

    >>> import nncore as nc
    >>> layer = nc.Dense(3, 2)
    >>> model = nc.Sequential(layer, nc.Tanh(), seed=0)
    >>> layer.weight.shape, layer.bias.shape
    ((2, 3), (2,))
    """

    options = ("in_features", "out_features", "bias")

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        weight_initializer: str | Initializer = "glorot_uniform",
        bias_initializer: str | Initializer = "zeros",
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name)
        self.in_features = check_size(in_features, "in_features")
        self.out_features = check_size(out_features, "out_features")
        self.trainable = trainable
        decayed = as_initializer(weight_initializer, "weight_initializer")
        self._pieces = {
            "weight": Piece((self.out_features, self.in_features), decayed, weight_decay_multiplier=1.0)
        }
        if bias:
            self._pieces["bias"] = _bias_piece(self.out_features, bias_initializer)

    def transposed(
        self, *, bias: bool = True, bias_initializer: str | Initializer = "zeros", name: str | None = None
    ) -> TransposedDense:
        """A layer that uses this layer's weight transposed, O features to I: a tied autoencoder's decoder.

        >>> import nncore as nc
        >>> encoder = nc.Dense(8, 3)
        >>> autoencoder = nc.Sequential(encoder, nc.Tanh(), encoder.transposed())
        >>> autoencoder.parameters.size == 3 * 8 + 3 + 8
        True
        """
        return TransposedDense(self, bias=bias, bias_initializer=bias_initializer, name=name)

    def pieces(self) -> dict[str, Piece]:
        """`weight`, and `bias` if there is one."""
        return self._pieces

    def node(self, name: str, inputs: list[int], segments: Mapping[Layer, int]) -> _core.Node:
        """A dense node on its weight and bias."""
        weight = segments[self]
        bias = weight + 1 if "bias" in self._pieces else -1
        return _core.Node.dense(name, inputs[0], weight, bias, self.in_features, self.out_features)

    def describe(self) -> dict[str, Any]:
        """Sizes, and whether there is a bias."""
        return {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "bias": "bias" in self._pieces,
        }

    @property
    def weight(self) -> NDArray[Any]:
        """The weight, (O, I): a writable view."""
        return self._view("weight", gradient=False)

    @weight.setter
    def weight(self, values: NDArray[Any]) -> None:
        assign(self.store, self.weight, values, "weight")

    @property
    def grad_weight(self) -> NDArray[Any]:
        """The gradient of the weight, (O, I), as the last backward pass left it: a writable view."""
        return self._view("weight", gradient=True)

    def __repr__(self) -> str:
        without = "" if "bias" in self._pieces else ", bias=False"
        return f"Dense({self.in_features}, {self.out_features}{without})"


@layers.row("transposed_dense")
class TransposedDense(_Affine):
    """z = x weight + bias with the weight (O, I) of another layer: x (B, O), bias (I,), z (B, I).

    Made by `Dense.transposed`. The gradients of both uses add up in that layer's `grad_weight`.
    """

    options = ("bias",)

    def __init__(
        self,
        source: Dense,
        *,
        bias: bool = True,
        bias_initializer: str | Initializer = "zeros",
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if not isinstance(source, Dense):
            raise TypeError(f"source must be a Dense layer; given {type(source).__name__}")
        self.source = source
        self.in_features, self.out_features = source.out_features, source.in_features
        self._pieces = {"bias": _bias_piece(self.out_features, bias_initializer)} if bias else {}

    def pieces(self) -> dict[str, Piece]:
        """`bias`, if there is one."""
        return self._pieces

    def node(self, name: str, inputs: list[int], segments: Mapping[Layer, int]) -> _core.Node:
        """A dense node that reads the source's weight transposed."""
        weight, bias = segments[self.source], segments[self] if self._pieces else -1
        return _core.Node.dense(
            name, inputs[0], weight, bias, self.in_features, self.out_features, transposed=True
        )

    def describe(self) -> dict[str, Any]:
        """Whether there is a bias; the source is named by the graph."""
        return {"bias": bool(self._pieces)}

    @property
    def weight(self) -> NDArray[Any]:
        """The weight of the layer that it is tied to, (O, I) of that layer."""
        return self.source.weight

    def __repr__(self) -> str:
        return f"{self.source!r}.transposed({'' if self._pieces else 'bias=False'})"


class Activation(Layer):
    """a = f(z), elementwise or row by row; the width stays."""

    def output_features(self, widths: Sequence[int]) -> int:
        """The width of its one input."""
        if len(widths) != 1:
            raise ValueError(f"{self!r} takes one value; given {len(widths)}")
        return widths[0]

    def node(self, name: str, inputs: list[int], segments: Mapping[Layer, int]) -> _core.Node:
        """An activation node of its kind."""
        return _core.Node.activation(name, inputs[0], self.kind)


@layers.row("identity")
@activations.row("identity")
class Identity(Activation):
    """a = z."""


@layers.row("sigmoid")
@activations.row("sigmoid")
class Sigmoid(Activation):
    """a = 1 / (1 + e^-z), in (0, 1)."""


@layers.row("tanh")
@activations.row("tanh")
class Tanh(Activation):
    """a = tanh z, in (-1, 1)."""


@layers.row("relu")
@activations.row("relu")
class ReLU(Activation):
    """a = max(z, 0); its derivative at 0 is 0."""


@layers.row("softmax")
@activations.row("softmax")
class Softmax(Activation):
    """a_k = e^z_k / sum of e^z over the row: probabilities that sum to 1."""


@layers.row("log_softmax")
@activations.row("log_softmax")
class LogSoftmax(Activation):
    """a_k = z_k - log of the sum of e^z over the row: the logarithms of softmax."""


class _Join(Layer):
    """What joins several values of one width, element by element."""

    def output_features(self, widths: Sequence[int]) -> int:
        """The common width of at least two inputs."""
        _check_several(self, widths)
        if len(set(widths)) > 1:
            raise ValueError(f"{self!r} takes values of one width; given {' and '.join(map(str, widths))}")
        return widths[0]


@layers.row("add")
class Add(_Join):
    """The sum of two or more values of one width; `a + b` is short for Add()(a, b)."""

    def node(self, name: str, inputs: list[int], segments: Mapping[Layer, int]) -> _core.Node:
        """An add node."""
        return _core.Node.add(name, inputs)


@layers.row("multiply")
class Multiply(_Join):
    """The elementwise product of two or more values of one width; `a * b` is short for Multiply()(a, b)."""

    def node(self, name: str, inputs: list[int], segments: Mapping[Layer, int]) -> _core.Node:
        """A multiply node."""
        return _core.Node.multiply(name, inputs)


@layers.row("concatenate")
class Concatenate(Layer):
    """The columns of two or more values side by side."""

    def output_features(self, widths: Sequence[int]) -> int:
        """The sum of at least two widths."""
        _check_several(self, widths)
        return sum(widths)

    def node(self, name: str, inputs: list[int], segments: Mapping[Layer, int]) -> _core.Node:
        """A concatenate node."""
        return _core.Node.concatenate(name, inputs)


def assign(store: Store | None, view: NDArray[Any], values: NDArray[Any], name: str) -> None:
    """view[...] = values without broadcasting, so that `layer.weight -= step` and `= w` both work.

    Raises RuntimeError, and writes nothing, while another call uses the store of the view.
    """
    given = as_numbers(values, name)
    if given.shape != view.shape:
        raise ValueError(f"{name} has shape {view.shape}; given {given.shape}")
    with nullcontext() if store is None else store.core.changing():
        view[...] = given


def _bias_piece(features: int, initializer: str | Initializer) -> Piece:
    chosen = as_initializer(initializer, "bias_initializer")
    if chosen.kind not in ("zeros", "constant"):
        raise ValueError(
            f"bias_initializer must be 'zeros' or Constant(value); given {chosen.kind!r}, "
            "which depends on the sizes of a weight"
        )
    return Piece((features,), chosen, weight_decay_multiplier=0.0)


def _check_several(layer: Layer, widths: Sequence[int]) -> None:
    if len(widths) < 2:
        raise ValueError(f"{layer!r} joins two or more values; given {len(widths)}")
