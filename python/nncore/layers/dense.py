"""Dense layers, and dense layers that share the weight of another layer, transposed or as its tangent."""

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
    """Base class of dense layers: two widths, a weight and an optional bias."""

    in_features: int
    out_features: int
    specs: dict[str, ParameterSpec]

    @property
    def weight(self) -> NDArray[Any]:
        """The weight (O, I), as a writable view."""
        raise NotImplementedError

    @property
    def bias(self) -> NDArray[Any] | None:
        """The bias, one number for each output, as a writable view; None with bias=False."""
        return self._view("bias", gradient=False) if "bias" in self.specs else None

    @bias.setter
    def bias(self, values: NDArray[Any]) -> None:
        if self.bias is None:
            raise ValueError(f"bias must belong to a layer with bias=True; got {self!r}")
        self._assign(self.bias, values, "bias")

    @property
    def grad_bias(self) -> NDArray[Any] | None:
        """The gradient of the bias from the last backward pass, as a writable view; None with bias=False."""
        return self._view("bias", gradient=True) if "bias" in self.specs else None

    def output_features(self, widths: Sequence[int]) -> int:
        """out_features, for one input of in_features."""
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
            raise RuntimeError(f"{self!r} has no parameters until a model is built from it")
        return self._store.view(self, key, gradient=gradient)


class Dense(Affine):
    """A fully connected layer: z = x weight^T + bias.

    Shapes: x (B, I), weight (O, I), bias (O,), z (B, O), with I = in_features and O = out_features. Weight
    decay applies to the weight, not to the bias. Raises ValueError for sizes below 1 and for unknown names,
    suggesting the nearest known name.

    Parameters
    ----------
    in_features, out_features : int
        The numbers of inputs and outputs.
    bias : bool, default True
        Whether the layer has a bias.
    weight_initializer : str or Initializer, default "glorot_uniform"
        A name, such as "glorot_normal", "he_uniform", "he_normal" or "zeros", or an instance.
    bias_initializer : str or Initializer, default "zeros"
        A name, or an instance such as nncore.Constant(0.1). It must not depend on fan-in or fan-out.
    name : str, optional
        The layer's name; by default its index in the model.
    trainable : bool, default True
        Whether optimizers update the parameters.

    Examples
    --------
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
        """A layer with this layer's weight transposed, from O to I features: a tied autoencoder's decoder.

        >>> import nncore as nc
        >>> encoder = nc.Dense(8, 3)
        >>> autoencoder = nc.Sequential(encoder, nc.Tanh(), encoder.transposed())
        >>> autoencoder.parameters.size == 3 * 8 + 3 + 8
        True
        """
        return TransposedDense(self, bias=bias, bias_initializer=bias_initializer, name=name)

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """`weight`, and `bias` if the layer has one."""
        return self.specs

    def tangent(self, value: Value, tangents: Sequence[Value | None]) -> Value:
        """The tangent times the weight."""
        return DenseTangent(self)(*(tangent for tangent in tangents if tangent is not None))

    def attributes(self) -> dict[str, bool | int | float | str]:
        """The numbers of inputs and outputs."""
        return {"in_features": self.in_features, "out_features": self.out_features}

    def describe(self, names: Mapping[Layer, str]) -> dict[str, Any]:
        """The numbers of inputs and outputs, and whether the layer has a bias."""
        return {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "bias": "bias" in self.specs,
        }

    @property
    def weight(self) -> NDArray[Any]:
        """The weight (O, I), as a writable view."""
        return self._view("weight", gradient=False)

    @weight.setter
    def weight(self, values: NDArray[Any]) -> None:
        self._assign(self.weight, values, "weight")

    @property
    def grad_weight(self) -> NDArray[Any]:
        """The gradient of the weight (O, I) from the last backward pass, as a writable view."""
        return self._view("weight", gradient=True)

    def __repr__(self) -> str:
        without = "" if "bias" in self.specs else ", bias=False"
        return f"Dense({self.in_features}, {self.out_features}{without})"


class TransposedDense(Affine):
    """z = x weight + bias, with the weight (O, I) of a Dense layer: a tied decoder.

    Shapes: x (B, O), bias (I,), z (B, I). Create it with `Dense.transposed`. The gradients of both uses of
    the weight add up in the source layer's `grad_weight`.

    Parameters
    ----------
    source : Dense
        The layer that owns the weight.
    bias : bool, default True
        Whether the layer has a bias of its own.
    bias_initializer : str or Initializer, default "zeros"
        A name or an instance. It must not depend on fan-in or fan-out.
    name : str, optional
        The layer's name; by default its index in the model.
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
        """`bias`, if the layer has one."""
        return self.specs

    def attributes(self) -> dict[str, bool | int | float | str]:
        """The numbers of inputs and outputs, and that the weight is transposed."""
        return {"in_features": self.in_features, "out_features": self.out_features, "transposed": True}

    def node(self, name: str, inputs: list[int], places: Mapping[Layer, tuple[int, int]]) -> _core.Node:
        """A dense node that reads the source's weight transposed."""
        read = [places[self.source][0], *([places[self][0]] if self.specs else [])]
        return _core.Node.make("dense", name, inputs, read, attributes=self.attributes())

    def describe(self, names: Mapping[Layer, str]) -> dict[str, Any]:
        """Whether the layer has a bias, and the name of the source."""
        return {"bias": bool(self.specs), "source": names[self.source]}

    @classmethod
    def referred(cls, options: Mapping[str, Any]) -> list[str]:
        """The name of the source."""
        return [options["source"]]

    @classmethod
    def from_options(cls, options: Mapping[str, Any], layers: Mapping[str, Layer], name: str) -> Layer:
        """The layer, built on a source that already exists."""
        source = layers[options["source"]]
        if not isinstance(source, Dense):
            raise TypeError(f"source must be a Dense layer; got {type(source).__name__}")
        return cls(source, bias=options["bias"], name=name)

    @property
    def weight(self) -> NDArray[Any]:
        """The weight (O, I) of the source."""
        return self.source.weight

    def __repr__(self) -> str:
        return f"{self.source!r}.transposed({'' if self.specs else 'bias=False'})"


class DenseTangent(Affine):
    """t = v weight^T, with the weight (O, I) of a Dense layer: its tangent, which nncore.jvp creates."""

    kind = "dense_tangent"
    options = ("source",)

    def __init__(self, source: Dense, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.source = source
        self.sources = (source,)
        self.in_features, self.out_features = source.in_features, source.out_features
        self.specs = {}

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """No parameters: the source owns the weight."""
        return self.specs

    def tangent(self, value: Value, tangents: Sequence[Value | None]) -> Value:
        """The tangent times the weight, as the layer is linear."""
        return DenseTangent(self.source)(*(tangent for tangent in tangents if tangent is not None))

    def attributes(self) -> dict[str, bool | int | float | str]:
        """The numbers of inputs and outputs."""
        return {"in_features": self.in_features, "out_features": self.out_features}

    def node(self, name: str, inputs: list[int], places: Mapping[Layer, tuple[int, int]]) -> _core.Node:
        """A dense node that reads the source's weight."""
        return _core.Node.make("dense", name, inputs, [places[self.source][0]], attributes=self.attributes())

    def describe(self, names: Mapping[Layer, str]) -> dict[str, Any]:
        """The name of the source."""
        return {"source": names[self.source]}

    @classmethod
    def referred(cls, options: Mapping[str, Any]) -> list[str]:
        """The name of the source."""
        return [options["source"]]

    @classmethod
    def from_options(cls, options: Mapping[str, Any], layers: Mapping[str, Layer], name: str) -> Layer:
        """The layer, built on a source that already exists."""
        source = layers[options["source"]]
        if not isinstance(source, Dense):
            raise TypeError(f"source must be a Dense layer; got {type(source).__name__}")
        return cls(source, name=name)

    @property
    def weight(self) -> NDArray[Any]:
        """The weight (O, I) of the source."""
        return self.source.weight

    def __repr__(self) -> str:
        return f"tangent of {self.source!r}"


def _bias_spec(features: int, initializer: str | Initializer) -> ParameterSpec:
    chosen = as_initializer(initializer, "bias_initializer")
    if FOR_WEIGHTS_ONLY[chosen.kind]:
        raise ValueError(f"bias_initializer must not depend on fan-in or fan-out; got {chosen.kind!r}")
    return ParameterSpec((features,), chosen)
