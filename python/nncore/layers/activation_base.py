"""What all activations share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .. import _core
from .._errors import check_subclass
from ..graph import LAYER_KINDS, Layer, Multiply, Value

__all__ = ["Activation"]


class Activation(Layer):
    """a = f(z), elementwise or row by row; the width stays."""

    def __init__(self, *, name: str | None = None, **parameters: float | str) -> None:
        super().__init__(name=name)
        check_subclass(self, "nncore.ReLU")
        _core.check_activation(self.kind, **parameters)
        for option, value in parameters.items():
            setattr(self, option, value)

    def output_features(self, widths: Sequence[int]) -> int:
        """The width of its one input."""
        if len(widths) != 1:
            raise ValueError(f"inputs of {self!r} must be one value; got {len(widths)}")
        return widths[0]

    def attributes(self) -> dict[str, bool | int | float | str]:
        """Its parameters."""
        return {option: getattr(self, option) for option in self.options}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.attributes().items())})"

    def tangent(self, value: Value, tangents: Sequence[Value | None]) -> Value:
        """The tangent times the derivative, which is an activation of the same values."""
        [tangent] = tangents
        assert tangent is not None
        return Multiply()(Derivative(self)(*value.inputs), tangent)


class Derivative(Activation):
    """The derivative f' of a smooth activation, or one of a higher `order`, as an activation. Made by
    nncore.jvp.

    Raises NotImplementedError for activations that are not smooth, and for orders that the core lacks.
    """

    kind = "derivative"
    options = ("of", "order")

    def __init__(self, of: Activation, order: int = 1, *, name: str | None = None) -> None:
        Layer.__init__(self, name=name)
        if order >= ORDERS.get(of.kind, 0):
            raise NotImplementedError(f"{of!r} has no derivative of order {order} as an activation")
        self.of, self.order = of, order

    def attributes(self) -> dict[str, bool | int | float | str]:
        """Those of the activation, and the order."""
        return {**self.of.attributes(), "order": self.order}

    def node(self, name: str, inputs: list[int], places: Mapping[Layer, tuple[int, int]]) -> _core.Node:
        """A node of the activation's kind."""
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
        """The derivative that such options describe."""
        of = dict(options["of"])
        activation = LAYER_KINDS[of.pop("kind")](**of)
        if not isinstance(activation, Activation):
            raise TypeError(f"of must be an activation; got {type(activation).__name__}")
        return cls(activation, options["order"], name=name)

    def __repr__(self) -> str:
        return f"derivative of order {self.order} of {self.of!r}"


#: How many orders of derivatives, from 0 on, the core has as activations.
ORDERS: dict[str, int] = {row["name"]: row["orders"] for row in _core.entries["activations"]}
