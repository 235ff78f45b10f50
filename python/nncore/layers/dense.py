"""Dense layers, and those that use the weight of another one transposed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from .. import _core
from .._arrays import assign
from .._errors import check_flag, check_size, described
from ..graph import Layer, ParameterSpec, Value
from ..initializers import FOR_WEIGHTS_ONLY, Initializer, as_initializer

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Dense", "TransposedDense"]


class Affine(Layer):
    """What Dense and its transposed share: two widths, a weight and perhaps a bias."""

    in_features: int
    out_features: int
    specs: dict[str, ParameterSpec]

    @property
    def weight(self) -> NDArray[Any]:
        """The weight, (O, I): a writable view."""
        raise NotImplementedError

    @property
    def bias(self) -> NDArray[Any] | None:
        """The bias, (O,): a writable view; None for a layer without one."""
        return self._view("bias", gradient=False) if "bias" in self.specs else None

    @bias.setter
    def bias(self, values: NDArray[Any]) -> None:
        if self.bias is None:
            raise ValueError(f"bias must be set where there is one; got {self!r}")
        self._assign(self.bias, values, "bias")

    @property
    def grad_bias(self) -> NDArray[Any] | None:
        """The gradient of the bias, (O,), as the last backward pass left it; None without a bias."""
        return self._view("bias", gradient=True) if "bias" in self.specs else None

    def output_features(self, widths: Sequence[int]) -> int:
        """The width of the output for one input of in_features."""
        if list(widths) != [self.in_features]:
            got = " and ".join(map(str, widths)) or "nothing"
            raise ValueError(
                f"inputs of {self!r} must be one value of {self.in_features} features; got {got}"
            )
        return self.out_features

    def _assign(self, view: NDArray[Any], values: NDArray[Any], key: str) -> None:
        assign(view, values, key, nullcontext() if self._store is None else self._store.changing())

    def _view(self, key: str, *, gradient: bool) -> NDArray[Any]:
        if self._store is None:
            raise RuntimeError(f"{self!r} has no parameters yet; it gets them when a model is built from it")
        return self._store.view(self, key, gradient=gradient)


class Dense(Affine):
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

    kind = "dense"
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
        bias = check_flag(bias, "bias")
        decayed = as_initializer(weight_initializer, "weight_initializer")
        self.specs = {
            "weight": ParameterSpec(
                (self.out_features, self.in_features), decayed, weight_decay_multiplier=1.0
            )
        }
        if bias:
            self.specs["bias"] = _bias_spec(self.out_features, bias_initializer)

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

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """`weight`, and `bias` if there is one."""
        return self.specs

    def tangent(self, value: Value, tangents: Sequence[Value | None]) -> Value:
        """The tangent times the weight."""
        return DenseTangent(self)(*(tangent for tangent in tangents if tangent is not None))

    def attributes(self) -> dict[str, bool | int | float | str]:
        """Its sizes."""
        return {"in_features": self.in_features, "out_features": self.out_features}

    def describe(self, names: Mapping[Layer, str]) -> dict[str, Any]:
        """Sizes, and whether there is a bias."""
        return {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "bias": "bias" in self.specs,
        }

    @property
    def weight(self) -> NDArray[Any]:
        """The weight, (O, I): a writable view."""
        return self._view("weight", gradient=False)

    @weight.setter
    def weight(self, values: NDArray[Any]) -> None:
        self._assign(self.weight, values, "weight")

    @property
    def grad_weight(self) -> NDArray[Any]:
        """The gradient of the weight, (O, I), as the last backward pass left it: a writable view."""
        return self._view("weight", gradient=True)

    def __repr__(self) -> str:
        without = "" if "bias" in self.specs else ", bias=False"
        return f"Dense({self.in_features}, {self.out_features}{without})"


class TransposedDense(Affine):
    """z = x weight + bias with the weight (O, I) of another layer: x (B, O), bias (I,), z (B, I).

    Made by `Dense.transposed`. The gradients of both uses add up in that layer's `grad_weight`.
    """

    kind = "transposed_dense"
    options = ("bias", "source")

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
            raise TypeError(f"source must be a Dense layer; got {described(source)}")
        self.source = source
        self.sources = (source,)
        self.in_features, self.out_features = source.out_features, source.in_features
        has_bias = check_flag(bias, "bias")
        self.specs = {"bias": _bias_spec(self.out_features, bias_initializer)} if has_bias else {}

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """`bias`, if there is one."""
        return self.specs

    def attributes(self) -> dict[str, bool | int | float | str]:
        """Its sizes, and how it uses the weight."""
        return {"in_features": self.in_features, "out_features": self.out_features, "transposed": True}

    def node(self, name: str, inputs: list[int], places: Mapping[Layer, tuple[int, int]]) -> _core.Node:
        """A dense node that reads the source's weight transposed."""
        read = [places[self.source][0], *([places[self][0]] if self.specs else [])]
        return _core.Node.make("dense", name, inputs, read, attributes=self.attributes())

    def describe(self, names: Mapping[Layer, str]) -> dict[str, Any]:
        """Whether there is a bias, and the name of the source."""
        return {"bias": bool(self.specs), "source": names[self.source]}

    @classmethod
    def referred(cls, options: Mapping[str, Any]) -> list[str]:
        """The source."""
        return [options["source"]]

    @classmethod
    def from_options(cls, options: Mapping[str, Any], layers: Mapping[str, Layer], name: str) -> Layer:
        """The layer on a source that was made before."""
        source = layers[options["source"]]
        if not isinstance(source, Dense):
            raise TypeError(f"source must be a Dense layer; got {type(source).__name__}")
        return cls(source, bias=options["bias"], name=name)

    @property
    def weight(self) -> NDArray[Any]:
        """The weight of the layer that it is tied to, (O, I) of that layer."""
        return self.source.weight

    def __repr__(self) -> str:
        return f"{self.source!r}.transposed({'' if self.specs else 'bias=False'})"


class DenseTangent(Affine):
    """t = v weight^T with the weight (O, I) of another layer: that layer's tangent. Made by nncore.jvp."""

    kind = "dense_tangent"
    options = ("source",)

    def __init__(self, source: Dense, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.source = source
        self.sources = (source,)
        self.in_features, self.out_features = source.in_features, source.out_features
        self.specs = {}

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """None: the weight is the source's."""
        return self.specs

    def tangent(self, value: Value, tangents: Sequence[Value | None]) -> Value:
        """The tangent times the weight: it is linear."""
        return DenseTangent(self.source)(*(tangent for tangent in tangents if tangent is not None))

    def attributes(self) -> dict[str, bool | int | float | str]:
        """Its sizes."""
        return {"in_features": self.in_features, "out_features": self.out_features}

    def node(self, name: str, inputs: list[int], places: Mapping[Layer, tuple[int, int]]) -> _core.Node:
        """A dense node that reads the source's weight."""
        return _core.Node.make("dense", name, inputs, [places[self.source][0]], attributes=self.attributes())

    def describe(self, names: Mapping[Layer, str]) -> dict[str, Any]:
        """The name of the source."""
        return {"source": names[self.source]}

    @classmethod
    def referred(cls, options: Mapping[str, Any]) -> list[str]:
        """The source."""
        return [options["source"]]

    @classmethod
    def from_options(cls, options: Mapping[str, Any], layers: Mapping[str, Layer], name: str) -> Layer:
        """The layer on a source that was made before."""
        source = layers[options["source"]]
        if not isinstance(source, Dense):
            raise TypeError(f"source must be a Dense layer; got {type(source).__name__}")
        return cls(source, name=name)

    @property
    def weight(self) -> NDArray[Any]:
        """The weight of the layer that it is the tangent of."""
        return self.source.weight

    def __repr__(self) -> str:
        return f"tangent of {self.source!r}"


def _bias_spec(features: int, initializer: str | Initializer) -> ParameterSpec:
    chosen = as_initializer(initializer, "bias_initializer")
    if FOR_WEIGHTS_ONLY[chosen.kind]:
        raise ValueError(
            f"bias_initializer must be one that does not depend on the sizes of a weight; got {chosen.kind!r}"
        )
    return ParameterSpec((features,), chosen)
