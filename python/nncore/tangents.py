"""Tangents: derivatives of symbolic values in a direction, as symbolic values.

A Jacobian-vector product is a transformation of the graph: a dense layer becomes its weight alone, an
activation its derivative times the tangent. The result is trained and differentiated like any other value: a
reverse pass over it gives Hessian-vector products.
"""

from __future__ import annotations

from collections.abc import Sequence

from .graph import Value, as_values, expand, trace

__all__ = ["jvp"]


def jvp(output: Value, inputs: Value | Sequence[Value], tangents: Value | Sequence[Value]) -> Value:
    """The derivative of `output` with respect to `inputs` in the direction `tangents`: of an output (B, O) a
    symbolic value (B, O), J v for each row. `inputs` are the values that nc.Input made, all that the output
    depends on; `tangents` are values of the same widths, one for each.

    Dense layers, sums, differences, products and smooth activations (sigmoid, tanh, gelu, silu) have
    tangents; NotImplementedError for others. Raises ValueError where the widths of inputs and tangents
    differ, and where the output does not depend on them.

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
        raise ValueError(f"tangents must have the features of inputs, {widths}; got {given}")
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
