"""The base class of activations, and derivatives as activations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import _core
from .._errors import check_subclass
from ..graph import LAYER_KINDS, Layer, Multiply, Value

__all__ = ["Activation"]


class Activation(Layer):
    """Base class of activations, a = f(z), elementwise or by row: z and a (B, features).

    nncore.mlp also takes the name of an activation, such as "relu".

    Parameters
    ----------
    name : str, optional
        The layer's name; by default its index in the model.
    """

    def __init__(self, *, name: str | None = None, **parameters: float | str) -> None:
        super().__init__(name=name)
        check_subclass(self, "nncore.ReLU")
        _core.check_activation(self.kind, **parameters)
        for option, value in parameters.items():
            setattr(self, option, value)

    def output_features(self, widths: Sequence[int]) -> int:
        """The width of the one input."""
        if len(widths) != 1:
            raise ValueError(f"inputs of {self!r} must be one value; got {len(widths)}")
        return widths[0]

    def attributes(self) -> dict[str, bool | int | float | str]:
        """The parameters, by name."""
        return {option: getattr(self, option) for option in self.options}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.attributes().items())})"

    def tangent(self, value: Value, tangents: Sequence[Value | None]) -> Value:
        """The tangent times the derivative f'(z), itself an activation."""
        [tangent] = tangents
        assert tangent is not None
        return Multiply()(Derivative(self)(*value.inputs), tangent)


class Derivative(Activation):
    """The derivative of a smooth activation, of any `order` that the core implements, as an activation.
    nncore.jvp creates it.

    Raises NotImplementedError if the core does not implement that derivative.
    """

    kind = "derivative"
    options = ("of", "order")

    def __init__(self, of: Activation, order: int = 1, *, name: str | None = None) -> None:
        Layer.__init__(self, name=name)
        if order >= ORDERS.get(of.kind, 0):
            raise NotImplementedError(f"{of!r} has no derivative of order {order} that is an activation")
        self.of, self.order = of, order

    def attributes(self) -> dict[str, bool | int | float | str]:
        """The attributes of the activation, and the order."""
        return {**self.of.attributes(), "order": self.order}

    def node(self, name: str, inputs: list[int], places: Mapping[Layer, tuple[int, int]]) -> _core.Node:
        """A node of the activation's kind, with the order as an attribute."""
        return _core.Node.make(self.of.kind, name, inputs, attributes=self.attributes())

    def tangent(self, value: Value, tangents: Sequence[Value | None]) -> Value:
        """The tangent times the next derivative."""
        [tangent] = tangents
        assert tangent is not None
        return Multiply()(Derivative(self.of, self.order + 1)(*value.inputs), tangent)

    def describe(self, names: Mapping[Layer, str]) -> dict[str, Any]:
        """The activation and the order."""
        return {"of": {"kind": self.of.kind, **self.of.describe(names)}, "order": self.order}

    @classmethod
    def from_options(cls, options: Mapping[str, Any], layers: Mapping[str, Layer], name: str) -> Layer:
        """The derivative that these options describe."""
        of = dict(options["of"])
        activation = LAYER_KINDS[of.pop("kind")](**of)
        if not isinstance(activation, Activation):
            raise TypeError(f"of must be an activation; got {type(activation).__name__}")
        return cls(activation, options["order"], name=name)

    def __repr__(self) -> str:
        return f"derivative of order {self.order} of {self.of!r}"


#: The number of orders of derivatives, counted from 0, that the core implements as activations.
ORDERS: dict[str, int] = {row["name"]: row["orders"] for row in _core.entries["activations"]}
