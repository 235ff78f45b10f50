"""Directional derivatives of symbolic values (tangents), which are symbolic values themselves.

A Jacobian-vector product transforms the graph: a dense layer becomes a product with its weight, and an
activation becomes its derivative times the tangent. The result can be trained and differentiated like any
other value; a reverse pass over it gives Hessian-vector products.
"""

from __future__ import annotations

from collections.abc import Sequence

from .graph import Value, as_values, expand, trace

__all__ = ["jvp"]


def jvp(output: Value, inputs: Value | Sequence[Value], tangents: Value | Sequence[Value]) -> Value:
    """The Jacobian-vector product J v of each row, as a symbolic value of the output's shape (B, O).

    J is the Jacobian of `output` with respect to `inputs`, and v is the direction `tangents`. `inputs` are
    all the nc.Input values that the output depends on; `tangents` are values of the same widths, one for each
    input.

    Dense layers, sums, differences, products and smooth activations (sigmoid, tanh, gelu, silu) are
    supported; other layers raise NotImplementedError. Raises ValueError if the widths of inputs and tangents
    differ, or if the output does not depend on the inputs.

    >>> import nncore as nc
    >>> x, v = nc.Input(1), nc.Input(1)
    >>> y = nc.Tanh()(x)
    >>> model = nc.Model([x, v], nc.jvp(y, x, v))
    >>> model.predict([[[0.0]], [[2.0]]])  # tanh'(0) is 1
    array([[2.]], dtype=float32)
    """
    moving = as_values(inputs, "inputs")
    [output] = as_values(output, "output")
    directions = [*(tangents if isinstance(tangents, Sequence) else (tangents,))]
    for direction in directions:
        as_values(direction, "tangents")
    widths, given = [value.features for value in moving], [value.features for value in directions]
    if widths != given:
        raise ValueError(f"tangents must have the widths of inputs, {widths}; got {given}")
    traced = trace(moving, [output])
    flat = expand(traced)
    found: dict[Value, Value | None] = dict(zip(moving, directions, strict=True))
    for value in trace(moving, [flat[output]])[len(moving) :]:
        assert value.layer is not None
        read = [found[other] for other in value.inputs]
        found[value] = value.layer.tangent(value, read) if any(read) else None
    tangent = found[flat[output]]
    if tangent is None:
        raise ValueError("output must depend on inputs; got one that does not")
    return tangent
