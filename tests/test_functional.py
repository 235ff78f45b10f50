"""nncore.functional: values against a wider precision, layouts, out, accumulate and equal bits."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from layouts import (
    DTYPES,
    LAYOUTS,
    arranged,
    draw,
    gamma,
    instruction_sets,
    same_bits,
    using_instruction_set,
    using_threads,
    wider,
)
from nncore import functional as F

ELEMENTWISE = ["identity", "sigmoid", "tanh", "relu"]
ACTIVATIONS = [*ELEMENTWISE, "softmax", "log_softmax"]
LOSSES = [
    "half_squared_error",
    "mean_squared_error",
    "cross_entropy",
    "binary_cross_entropy",
    "softmax_cross_entropy",
    "sigmoid_cross_entropy",
]

# (batch, inputs, outputs): single elements, odd widths, sums of several blocks or chains, no rows
DENSE_SHAPES = [
    (1, 1, 1),
    (2, 3, 4),
    (7, 1, 9),
    (1, 17, 33),
    (33, 65, 17),
    (64, 64, 64),
    (97, 129, 70),
    (9, 40, 530),
    (3, 2500, 5),
    (1100, 6, 7),
    (0, 3, 4),
]
ROW_SHAPES = [(1, 1), (3, 5), (2, 16), (4, 33), (5, 100), (2, 1500)]


def assert_within(actual: NDArray, expected: NDArray, bound: NDArray | float) -> None:
    assert actual.shape == expected.shape
    difference = np.abs(wider(actual) - expected)
    assert np.all(difference <= bound), f"worst excess {np.max(difference - bound)}"


# Dense -----------------------------------------------------------------------------------------------------


def check_dense_forward(
    x: NDArray, weight: NDArray, bias: NDArray | None, out: NDArray | None = None
) -> None:
    z = F.dense_forward(x, weight, bias, out=out)
    assert z is out or out is None
    offset = 0.0 if bias is None else wider(bias)
    magnitude = np.abs(wider(x)) @ np.abs(wider(weight)).T + np.abs(offset)
    exact = wider(x) @ wider(weight).T + offset
    assert_within(z, exact, gamma(x.shape[1] + 2, x.dtype) * magnitude)


def check_dense_backward(grad_output: NDArray, x: NDArray, weight: NDArray, out: tuple | None = None) -> None:
    results = F.dense_backward(grad_output, x, weight, out=out)
    assert len(results) == 3
    if out is not None:
        assert all(result is given for result, given in zip(results, out, strict=True))
    delta, inputs, w = wider(grad_output), wider(x), wider(weight)
    exact = (delta @ w, delta.T @ inputs, delta.sum(axis=0))
    magnitudes = (np.abs(delta) @ np.abs(w), np.abs(delta).T @ np.abs(inputs), np.abs(delta).sum(axis=0))
    batch, outputs = grad_output.shape
    for result, value, magnitude, terms in zip(
        results, exact, magnitudes, (outputs, batch, batch), strict=True
    ):
        assert result.dtype == x.dtype
        assert_within(result, value, gamma(terms + 2, x.dtype) * magnitude)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("batch", "inputs", "outputs"), DENSE_SHAPES)
def test_dense_shapes(batch: int, inputs: int, outputs: int, dtype: DTypeLike) -> None:
    x, weight = draw((batch, inputs), dtype, 1), draw((outputs, inputs), dtype, 2)
    bias, delta = draw(outputs, dtype, 3), draw((batch, outputs), dtype, 4)
    check_dense_forward(x, weight, bias)
    check_dense_forward(x, weight, None)
    check_dense_backward(delta, x, weight)
    # The other order, which models use for weights.
    check_dense_forward(arranged(x, "F padded"), arranged(weight, "F"), bias)
    check_dense_backward(arranged(delta, "F"), arranged(x, "F padded"), arranged(weight, "F"))


def assert_padding_is_nan(array: NDArray) -> None:
    padding = np.full(array.base.shape, True)
    padding[: array.shape[0], : array.shape[1]] = False
    assert np.all(np.isnan(array.base[padding])), "something was written between the rows"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weight_layout", LAYOUTS)
@pytest.mark.parametrize("x_layout", LAYOUTS)
def test_dense_layouts(x_layout: str, weight_layout: str, dtype: DTypeLike) -> None:
    batch, inputs, outputs = 13, 21, 18
    plain_x, plain_weight = draw((batch, inputs), dtype, 1), draw((outputs, inputs), dtype, 2)
    x, weight = arranged(plain_x, x_layout), arranged(plain_weight, weight_layout)
    bias, delta = draw(outputs, dtype, 3), draw((batch, outputs), dtype, 4)
    plain_gradients = F.dense_backward(delta, plain_x, plain_weight)
    for out_layout in LAYOUTS:
        z, grad_x, grad_weight = (
            arranged(np.full(shape, np.nan, dtype), out_layout)
            for shape in (delta.shape, x.shape, weight.shape)
        )
        gradients = (grad_x, grad_weight, np.full(outputs, np.nan, dtype))
        check_dense_backward(arranged(delta, out_layout), x, weight, gradients)
        for array, expected in zip(gradients, plain_gradients, strict=True):
            assert same_bits(array, expected), "a layout changes bits"
        written = [grad_x, grad_weight]
        if out_layout.startswith("C"):  # z is computed row by row
            check_dense_forward(x, weight, bias, z)
            assert same_bits(z, F.dense_forward(plain_x, plain_weight, bias)), "a layout changes bits"
            written.append(z)
        for array in written if out_layout.endswith("padded") else ():
            assert_padding_is_nan(array)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense_forward_with_an_activation(activation: str, dtype: DTypeLike) -> None:
    x, weight, bias = draw((9, 20), dtype, 1), draw((70, 20), dtype, 2), draw(70, dtype, 3)
    separate = getattr(F, activation)(F.dense_forward(x, weight, bias))
    assert same_bits(F.dense_forward(x, weight, bias, activation=activation), separate)
    out = arranged(np.zeros((9, 70), dtype), "C padded")
    assert F.dense_forward(x, weight, bias, activation=activation, out=out) is out
    assert same_bits(out, separate)


@pytest.mark.parametrize("dtype", DTYPES)
def test_dense_backward_accumulates(dtype: DTypeLike) -> None:
    delta, x, weight = draw((6, 5), dtype, 1), draw((6, 7), dtype, 2), draw((5, 7), dtype, 3)
    gradients = F.dense_backward(delta, x, weight)
    start = (draw(x.shape, dtype, 4), draw(weight.shape, dtype, 5), draw(5, dtype, 6))
    out = tuple(array.copy() for array in start)
    assert F.dense_backward(delta, x, weight, out=out, accumulate=True)[1] is out[1]
    sizes = (np.abs(delta) @ np.abs(weight), np.abs(delta).T @ np.abs(x), np.abs(delta).sum(axis=0))
    for result, before, gradient, size in zip(out, start, gradients, sizes, strict=True):
        # The sum may start from the present value or be added to it.
        assert_within(result, wider(before) + wider(gradient), gamma(20, dtype) * (np.abs(before) + size))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_does_not_depend_on_its_batch(dtype: DTypeLike) -> None:
    x, weight, bias = draw((64, 1300), dtype, 1), draw((37, 1300), dtype, 2), draw(37, dtype, 3)
    batch = F.dense_forward(x, weight, bias, activation="tanh")
    for row in (0, 5, 31, 63):
        alone = F.dense_forward(x[row : row + 1], weight, bias, activation="tanh")
        assert same_bits(batch[row : row + 1], alone)


# Elementary functions and activations ----------------------------------------------------------------------


def sample_points(dtype: DTypeLike) -> NDArray:
    """Values of every magnitude and both signs, enough for whole vectors and a remainder."""
    sizes = np.logspace(-30, 1.9, 451)
    return np.concatenate([-sizes, [0.0, -0.0], sizes]).astype(dtype)


EXACT: dict[str, Callable[[NDArray], NDArray]] = {
    "identity": lambda z: z,
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "exp": np.exp,
    "log": np.log,
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT)
def test_elementwise_values(name: str, dtype: DTypeLike) -> None:
    """Errors are at most two units in the last place."""
    z = sample_points(dtype)
    z = z[z > 0] if name == "log" else z
    with np.errstate(over="ignore", under="ignore"):
        exact = EXACT[name](wider(z))
        unit = np.spacing(np.abs(exact).astype(dtype)).astype(exact.dtype)
    assert_within(getattr(F, name)(z), exact, 2 * unit)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_backward(name: str, dtype: DTypeLike) -> None:
    a = getattr(F, name)(sample_points(dtype))
    gradient = draw(a.shape, dtype, 1)
    exact_a, exact_g = wider(a), wider(gradient)
    derivative = {
        "identity": np.ones_like(exact_a),
        "sigmoid": exact_a * (1 - exact_a),
        "tanh": 1 - exact_a**2,
        "relu": (exact_a > 0).astype(exact_a.dtype),
    }[name]
    result = getattr(F, f"{name}_backward")(gradient, a)
    assert_within(result, exact_g * derivative, gamma(4, dtype) * np.abs(exact_g))
    out = draw(a.shape, dtype, 2)
    before = wider(out)
    assert getattr(F, f"{name}_backward")(gradient, a, out=out, accumulate=True) is out
    assert_within(out, before + exact_g * derivative, gamma(6, dtype) * (np.abs(exact_g) + np.abs(before)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "columns"), ROW_SHAPES)
def test_softmax_values(rows: int, columns: int, dtype: DTypeLike) -> None:
    z = 5 * draw((rows, columns), dtype, 1)
    shifted = wider(z) - wider(z).max(axis=1, keepdims=True)
    total = np.exp(shifted).sum(axis=1, keepdims=True)
    exact = np.exp(shifted) / total
    # Rounding z - max by u |z - max| changes its exponential by that relative amount.
    relative = gamma(columns + 12, dtype) + gamma(4, dtype) * np.abs(shifted)
    y, logs = F.softmax(z), F.log_softmax(z)
    assert_within(y, exact, relative * exact + gamma(4, dtype) * np.max(np.abs(shifted)) * exact)
    log_bound = gamma(columns + 12, dtype) + gamma(4, dtype) * (np.max(np.abs(shifted)) + np.log(columns))
    assert_within(logs, shifted - np.log(total), log_bound)

    g = draw((rows, columns), dtype, 2)
    a, s, wide_g = wider(y), wider(logs), wider(g)
    dot, size = (wide_g * a).sum(axis=1, keepdims=True), (np.abs(wide_g) * a).sum(axis=1, keepdims=True)
    bound = gamma(columns + 6, dtype) * a * (np.abs(wide_g) + size)
    assert_within(F.softmax_backward(g, y), a * (wide_g - dot), bound)
    g_sum, g_size = wide_g.sum(axis=1, keepdims=True), np.abs(wide_g).sum(axis=1, keepdims=True)
    bound = gamma(columns + 10, dtype) * (np.abs(wide_g) + np.exp(s) * g_size)
    assert_within(F.log_softmax_backward(g, logs), wide_g - np.exp(s) * g_sum, bound)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_out_and_layout(name: str, dtype: DTypeLike) -> None:
    forward, backward = getattr(F, name), getattr(F, f"{name}_backward")
    z, g = draw((5, 19), dtype, 1), draw((5, 19), dtype, 2)
    a, grad_z = forward(z), backward(g, forward(z))
    padded_out = arranged(np.zeros_like(z), "C padded")
    assert forward(arranged(z, "C padded"), out=padded_out) is padded_out
    assert same_bits(padded_out, a)
    assert_padding_is_nan(padded_out)
    assert backward(arranged(g, "C padded"), arranged(a, "C padded"), out=padded_out) is padded_out
    assert same_bits(padded_out, grad_z)

    in_place = z.copy()
    assert forward(in_place, out=in_place) is in_place
    assert same_bits(in_place, a)
    in_place = g.copy()
    assert backward(in_place, a, out=in_place) is in_place
    assert same_bits(in_place, grad_z)


# Losses ----------------------------------------------------------------------------------------------------


def exact_loss(name: str, a: NDArray, y: NDArray) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """The loss of each sample, its gradient, and the magnitudes that scale their rounding errors."""
    columns = a.shape[1]
    if name.endswith("squared_error"):
        factor = 0.5 if name.startswith("half") else 1 / columns
        squares = factor * (a - y) ** 2
        return squares.sum(axis=1), 2 * factor * (a - y), squares.sum(axis=1), 2 * factor * np.abs(a - y)
    if name == "cross_entropy":
        terms = -y * np.log(a)
        return terms.sum(axis=1), -y / a, np.abs(terms).sum(axis=1), y / a
    if name == "binary_cross_entropy":
        terms = -(y * np.log(a) + (1 - y) * np.log1p(-a))
        gradient = (1 - y) / (1 - a) - y / a
        return terms.sum(axis=1), gradient, (terms + 1).sum(axis=1), (1 - y) / (1 - a) + y / a
    size = 1 + np.abs(a).max(axis=1, keepdims=True)
    if name == "softmax_cross_entropy":
        logs = a - a.max(axis=1, keepdims=True)
        logs = logs - np.log(np.exp(logs).sum(axis=1, keepdims=True))
        total = y.sum(axis=1, keepdims=True)
        value_size = (size + np.log(columns)) * (total + 1)
        return -(y * logs).sum(axis=1), np.exp(logs) * total - y, value_size[:, 0], size * (total + 1)
    terms = np.maximum(a, 0) - a * y + np.log1p(np.exp(-np.abs(a)))
    return terms.sum(axis=1), 1 / (1 + np.exp(-a)) - y, (size * (1 + y)).sum(axis=1), 1 + y


def draw_loss_arguments(name: str, rows: int, columns: int, dtype: DTypeLike) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng([rows, columns])
    prediction = rng.uniform(-3.0, 3.0, (rows, columns))
    target = rng.uniform(-3.0, 3.0, (rows, columns))
    if name in ("cross_entropy", "binary_cross_entropy"):
        prediction = rng.uniform(0.05, 0.95, (rows, columns))
    if not name.endswith("squared_error"):
        target = rng.uniform(0.0, 1.0, (rows, columns))
    return prediction.astype(dtype), target.astype(dtype)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "columns"), ROW_SHAPES)
@pytest.mark.parametrize("name", LOSSES)
def test_loss_values_and_gradients(
    name: str, rows: int, columns: int, dtype: DTypeLike, weighted: bool
) -> None:
    prediction, target = draw_loss_arguments(name, rows, columns, dtype)
    value_of, gradient_of = getattr(F, name), getattr(F, f"{name}_and_gradient")
    sample_weight = np.linspace(0.0, 2.5, rows + 1)[1:].astype(dtype) if weighted else None
    w = wider(sample_weight) if weighted else np.ones(rows, wider(target).dtype)
    samples, gradient, value_size, gradient_size = exact_loss(name, wider(prediction), wider(target))
    samples, value_size = w * samples, w * value_size
    gradient, gradient_size = w[:, None] * gradient, w[:, None] * gradient_size
    accuracy = gamma(columns + rows + 16, dtype)

    for reduction, divisor in (("none", 1.0), ("sum", 1.0), ("mean", w.sum())):
        kwargs = {"sample_weight": sample_weight, "reduction": reduction}
        value = value_of(prediction, target, **kwargs)
        if reduction == "none":
            assert value.dtype == dtype
            assert_within(value, samples, accuracy * value_size)
        else:
            assert isinstance(value, float)
            exact = samples.sum() / divisor
            assert abs(value - exact) <= accuracy * value_size.sum() / divisor
        again, grad = gradient_of(prediction, target, **kwargs)
        assert same_bits(again, value)
        assert_within(grad, gradient / divisor, accuracy * gradient_size / divisor)

        out = arranged(np.zeros_like(prediction), "C padded")
        _, result = gradient_of(
            arranged(prediction, "C padded"), arranged(target, "C padded"), out=out, **kwargs
        )
        assert result is out
        assert same_bits(out, grad)
        start = draw(prediction.shape, dtype, 7)
        out[...] = start
        gradient_of(prediction, target, out=out, accumulate=True, **kwargs)
        bound = gamma(4, dtype) * (np.abs(wider(start)) + np.abs(wider(grad)))
        assert_within(out, wider(start) + wider(grad), bound + 2 * accuracy * gradient_size / divisor)
        in_place = prediction.copy()
        gradient_of(in_place, target, out=in_place, **kwargs)
        assert same_bits(in_place, grad)


@pytest.mark.parametrize(
    "labels_dtype", [np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint32, np.uint64]
)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["cross_entropy", "softmax_cross_entropy"])
def test_labels(name: str, dtype: DTypeLike, labels_dtype: DTypeLike) -> None:
    prediction = np.random.default_rng(0).uniform(0.05, 0.95, (7, 5)).astype(dtype)
    labels = np.array([4, 0, 1, 1, 3, 2, 0])
    expected, expected_gradient = getattr(F, f"{name}_and_gradient")(
        prediction, np.eye(5, dtype=dtype)[labels]
    )
    every_other = np.repeat(labels, 2).astype(labels_dtype)[::2]
    for target in (labels.astype(labels_dtype), labels.astype(labels_dtype)[:, None], every_other):
        value, gradient = getattr(F, f"{name}_and_gradient")(prediction, target)
        assert abs(value - expected) <= gamma(16, dtype) * max(1.0, abs(expected))
        assert_within(
            gradient, wider(expected_gradient), gamma(16, dtype) * np.max(np.abs(expected_gradient))
        )
        assert getattr(F, name)(prediction, target) == value


def test_a_sample_of_weight_zero_counts_for_nothing() -> None:
    prediction, target = draw_loss_arguments("half_squared_error", 4, 3, np.float64)
    w = np.array([1.0, 0.0, 2.0, 0.0])
    kept = F.half_squared_error(prediction[::2].copy(), target[::2].copy(), sample_weight=w[::2].copy())
    value, gradient = F.half_squared_error_and_gradient(prediction, target, sample_weight=w)
    assert abs(value - kept) <= gamma(target.size, np.float64) * kept  # summed in another order
    assert not np.any(gradient[1::2])


# Special values --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("isa", instruction_sets())
@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_and_infinity(isa: str, dtype: DTypeLike) -> None:
    with using_instruction_set(isa):
        for position in range(37):
            z = np.zeros((2, 37), dtype)
            z[1, position] = np.nan
            for name in (*ELEMENTWISE, "exp", "log"):
                nan = np.isnan(getattr(F, name)(z))
                assert np.array_equal(nan, np.isnan(z)), name
            for name in ("softmax", "log_softmax"):
                nan = np.isnan(getattr(F, name)(z))
                assert nan.tolist() == [[False] * 37, [True] * 37], name
            for name in ELEMENTWISE:
                gradient = np.isnan(getattr(F, f"{name}_backward")(z, np.full_like(z, 0.5)))
                assert np.array_equal(gradient, np.isnan(z)), name

        inf = np.inf
        limits = {
            "identity": ([-inf, inf], [-inf, inf]),
            "sigmoid": ([-inf, inf, -1e30, 1e30], [0.0, 1.0, 0.0, 1.0]),
            "tanh": ([-inf, inf, -1e30, 1e30], [-1.0, 1.0, -1.0, 1.0]),
            "relu": ([-inf, inf, -0.0], [0.0, inf, 0.0]),
            "exp": ([-inf, inf, -1e30, 1e30, 0.0], [0.0, inf, 0.0, inf, 1.0]),
            "log": ([inf, 0.0, 1.0], [inf, -inf, 0.0]),
        }
        for name, (given, expected) in limits.items():
            assert getattr(F, name)(np.array(given, dtype)).tolist() == expected, name
        assert np.isnan(F.log(np.array([-1.0], dtype)))[0]
        masked = np.array([[0.0, -inf, 0.0]], dtype)
        assert F.softmax(masked).tolist() == [[0.5, 0.0, 0.5]]
        assert F.log_softmax(masked)[0, 1] == -inf


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_stays_in_its_row(dtype: DTypeLike) -> None:
    x, weight = draw((6, 40), dtype, 1), draw((20, 40), dtype, 2)
    x[3, 17] = np.nan
    z = F.dense_forward(x, weight)
    assert np.array_equal(np.isnan(z), np.repeat(np.arange(6) == 3, 20).reshape(6, 20))
    for name in LOSSES:
        prediction, target = draw_loss_arguments(name, 4, 3, dtype)
        prediction[2, 1] = np.nan
        assert np.isnan(getattr(F, name)(prediction, target, reduction="none")).tolist() == [
            False,
            False,
            True,
            False,
        ]
        assert np.isnan(getattr(F, name)(prediction, target))


# The same bits ---------------------------------------------------------------------------------------------


def everything(dtype: DTypeLike) -> dict[str, NDArray]:
    """The results of every function for sizes that are no multiple of a vector length."""
    x, weight, bias = draw((70, 1031), dtype, 1), draw((45, 1031), dtype, 2), draw(45, dtype, 3)
    delta = draw((70, 45), dtype, 4)
    results = {"dense_forward": F.dense_forward(x, weight, bias)}
    backward = F.dense_backward(delta, x, weight)
    results |= {f"dense_backward {i}": gradient for i, gradient in enumerate(backward)}
    points = sample_points(dtype)
    results |= {name: getattr(F, name)(points) for name in (*ELEMENTWISE, "exp")}
    results["log"] = F.log(np.abs(points))
    for name in ACTIVATIONS:
        z = 4 * draw((5, 117), dtype, 5)
        a = getattr(F, name)(z)
        results |= {
            f"{name} rows": a,
            f"{name}_backward": getattr(F, f"{name}_backward")(draw(z.shape, dtype, 6), a),
        }
    for name in LOSSES:
        arguments = draw_loss_arguments(name, 19, 45, dtype)
        for reduction in ("none", "mean"):
            value, gradient = getattr(F, f"{name}_and_gradient")(*arguments, reduction=reduction)
            results |= {f"{name} {reduction}": value, f"{name} {reduction} gradient": gradient}
    return results


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits_on_every_instruction_set_and_thread_count(dtype: DTypeLike) -> None:
    expected = everything(dtype)
    for isa in instruction_sets():
        for threads in (1, 2, 3):
            with using_instruction_set(isa), using_threads(threads):
                results = everything(dtype)
            different = [name for name in expected if not same_bits(expected[name], results[name])]
            assert not different, f"{isa}, {threads} threads"
