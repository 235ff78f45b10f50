"""nncore._core: arguments and results of networks, and references that they hold."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

from nncore import _core
from small_networks import CROSS_ENTROPY, DTYPES, chain, draw, snapshot, train_epoch, train_step, unchanged

# Arguments ---------------------------------------------------------------------------------------------


NUMBERS = ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "g"]
ARRANGEMENTS: dict[str, Callable[[NDArray], NDArray]] = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "reversed": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
    "every other": lambda a: np.repeat(np.repeat(a, 2, axis=0), 3, axis=1)[::2, ::3],
    "misaligned": lambda a: np.frombuffer(b"\0" + a.tobytes(), a.dtype, offset=1).reshape(a.shape),
}


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize("number", NUMBERS)
def test_any_real_data_of_any_strides(number: str, arrangement: str) -> None:
    x = np.random.default_rng(0).integers(0, 2 if number == "?" else 100, (9, 5)).astype(number)
    given = ARRANGEMENTS[arrangement](x)
    plain = x.astype(np.float32)
    one, other = chain([5, 4, 5]), chain([5, 4, 5])
    assert np.array_equal(one.network.predict(given), other.network.predict(plain))
    rows = np.array([8, 0, 3])
    assert train_step(one, given, given) == train_step(other, plain, plain)
    results = [train_epoch(m, a, a, rows=rows) for m, a in ((one, given), (other, plain))]
    assert results[0].mean_loss == results[1].mean_loss
    assert snapshot(one) == snapshot(other)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 3), complex),
        np.zeros((4, 3), object),
        np.zeros((4, 3), "U1"),
        np.zeros((4, 3), ">f4"),
        np.zeros((4, 3), ">i8"),
        np.zeros((4, 3), "m8[s]"),
        np.zeros((4, 3), [("a", "f4")]),
    ],
    ids=lambda array: str(array.dtype),
)
def test_data_of_another_dtype(wrong: NDArray) -> None:
    model, x, y = chain([3, 3]), draw(4, 3), draw(4, 3)
    with unchanged(model):
        for call, named in (
            (lambda: model.network.predict(wrong), "x"),
            (lambda: model.network.forward(wrong), "x"),
            (lambda: train_step(model, wrong, y), "x"),
            (lambda: train_step(model, x, wrong), "y"),
            (lambda: train_epoch(model, x, y, sample_weight=wrong[:, 0].copy()), "sample_weight"),
            (lambda: train_epoch(model, x, y, rows=wrong[:, 0].copy()), "rows"),
        ):
            with pytest.raises(TypeError, match=f"^{named} must have .*; got dtype "):
                call()


def test_what_is_no_array() -> None:
    model, x, y = chain([3, 3]), draw(4, 3), draw(4, 3)
    with unchanged(model):
        with pytest.raises(TypeError, match="x must be a NumPy array; got list"):
            model.network.predict([x.tolist()])
        with pytest.raises(TypeError, match="rows must be a NumPy array; got list"):
            train_epoch(model, x, y, rows=[0, 1])
        with pytest.raises(TypeError, match="out must be a NumPy array; got '"):
            model.network.predict(x, "out")


def test_data_of_another_shape() -> None:
    model, x, y = chain([3, 2]), draw(4, 3), draw(4, 2)
    labelled = chain([3, 2], terms=CROSS_ENTROPY)
    with unchanged(model), unchanged(labelled):
        for wrong in (draw(2), draw(4, 2), draw(4, 4), draw(4, 3, 1), np.array(1.0)):
            with pytest.raises(ValueError, match=r"^x must have shape .*; got \("):
                model.network.predict(wrong)
        for wrong in (draw(4), draw(4, 3), draw(4, 1), draw(3, 2), draw(5, 2), draw(4, 2, 1)):
            for call in (train_step, train_epoch):
                with pytest.raises(ValueError, match=r"^y must have shape "):
                    call(model, x, wrong)
        for wrong in (np.zeros(3, int), np.zeros((4, 3), int), np.zeros((1, 4), int)):
            with pytest.raises(ValueError, match=r"^y must have shape "):
                train_step(labelled, x, wrong)
        for arrays in ([], [x, x]):
            with pytest.raises(ValueError, match=f"x must hold 1 array; got {len(arrays)}"):
                model.network.predict(arrays)
            with pytest.raises(ValueError, match=f"y must hold 1 array; got {len(arrays)}"):
                model.network.loss(model.objective, [x], arrays)
        for wrong in (draw(3), draw(4, 2), draw(5), np.ones((4, 1))):
            with pytest.raises(ValueError, match=r"^sample_weight must have shape"):
                train_step(model, x, y, sample_weight=wrong)
        for size in (0, -1):
            with pytest.raises(ValueError, match=f"batch_size must be at least 1; got {size}"):
                train_epoch(model, x, y, batch_size=size)
        for rows, message in (
            (np.array([0, 4]), r"rows\[1\] must be in \[0, 4\); got 4"),
            (np.array([-1]), r"rows\[0\] must be in \[0, 4\); got -1"),
            (np.array([[0, 1]]), "rows must have shape"),
            (np.arange(4)[::2], "rows must be contiguous; got a stride"),
        ):
            with pytest.raises(ValueError, match=message):
                train_epoch(model, x, y, rows=rows)


def test_values_that_cannot_be_learned_from() -> None:
    model, x, y = chain([3, 2]), draw(4, 3), draw(4, 2)
    labelled = chain([3, 2], terms=CROSS_ENTROPY)
    with unchanged(model), unchanged(labelled):
        nan = y.copy()
        nan[2, 1] = np.nan
        for call in (train_step, train_epoch):
            with pytest.raises(ValueError, match="y must be a number; got nan in row 2, column 1"):
                call(model, x, nan)
            for label in (2, -1):
                with pytest.raises(
                    ValueError, match=f"y must hold labels from 0 to 1; got label {label} in row 3"
                ):
                    call(labelled, x, np.array([0, 1, 0, label]))
            for weight in (-1.0, np.nan, np.inf):
                with pytest.raises(ValueError, match=r"^sample_weight must be finite .* in row 1$"):
                    call(model, x, y, sample_weight=np.array([1.0, weight, 1.0, 1.0]))
            with pytest.raises(ValueError, match="sample_weight must be positive for at least one sample"):
                call(model, x, y, sample_weight=np.zeros(4))
    # Unused rows do not matter.
    assert np.isfinite(train_epoch(model, x, nan, rows=np.array([0, 1, 3])).mean_loss)
    weight = np.array([1.0, np.nan, 1.0, 1.0])
    assert np.isfinite(train_epoch(model, x, y, rows=np.array([0, 2]), sample_weight=weight).mean_loss)


def test_class_labels_and_columns() -> None:
    x = draw(5, 3)
    labels = np.array([0, 2, 1, 1, 0])
    losses = []
    for y in (labels, labels[:, None], labels.astype(np.uint8), np.eye(3, dtype=np.float32)[labels]):
        model = chain([3, 3], terms=CROSS_ENTROPY)
        losses.append(train_step(model, x, y))
    assert losses[0] == losses[1] == losses[2]
    assert losses[3] == pytest.approx(losses[0], rel=16 * float(np.finfo(np.float32).eps))
    one, other = chain([3, 1]), chain([3, 1])
    y = draw(5, 1)
    assert train_step(one, x, y[:, 0]) == train_step(other, x, y)
    assert snapshot(one) == snapshot(other)


def test_several_inputs() -> None:
    nodes = [
        _core.Node.input("a", 2),
        _core.Node.input("b", 3),
        _core.Node.make("concatenate", "both", [0, 1]),
    ]
    network = _core.Network_float32(_core.Graph(nodes, [2, 0]), _core.Parameters_float32([]))
    a, b = draw(4, 2), draw(4, 3, seed=1)
    both, again = network.predict([a, b])
    assert np.array_equal(both, np.concatenate([a, b], axis=1))
    assert np.array_equal(again, a)
    with pytest.raises(ValueError, match=r"x\[1\] must have shape \(4, 3\); got \(5, 3\)"):
        network.predict([a, draw(5, 3)])
    with pytest.raises(TypeError, match=r"x\[1\] must have .*; got dtype complex128"):
        network.predict([a, b.astype(complex)])
    outs = [np.zeros((4, 5), np.float32), np.zeros((4, 2), np.float32)]
    result = network.predict([a, b], outs)
    assert result[0] is outs[0]
    assert result[1] is outs[1]
    assert np.array_equal(outs[0], both)
    for wrong in ([], outs[:1], [*outs, outs[0]]):
        with pytest.raises(ValueError, match=f"out must hold 2 arrays; got {len(wrong)}"):
            network.predict([a, b], wrong)
    shared = np.zeros(40, np.float32)
    with pytest.raises(ValueError, match=r"out\[1\] must not share memory with another array of out"):
        network.predict([a, b], [shared[:20].reshape(4, 5), shared[19:27].reshape(4, 2)])
    assert not np.any(shared)


# Results of predict ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_predict_into_out(dtype: DTypeLike) -> None:
    model, x = chain([3, 4, 2], dtype), draw(5, 3, dtype=dtype)
    expected = model.network.predict(x)
    assert expected.dtype == dtype
    for base in (np.full((5, 2), np.nan, dtype), np.full((5, 6), np.nan, dtype)):
        out = base[:, :2]
        assert model.network.predict(x, out) is out
        assert np.array_equal(out, expected)
        assert np.all(np.isnan(base[:, 2:]))


def test_what_one_call_filled_the_next_leaves_alone() -> None:
    """Calls of one size share a workspace, which computes results in the caller's array if possible."""
    model, x, other = chain([3, 4, 2]), draw(5, 3), draw(5, 3, seed=1)
    expected = model.network.predict(x)
    expected_other = model.network.predict(other)
    first, base = np.zeros((5, 2), np.float32), np.zeros((5, 3), np.float32)
    model.network.predict(x, first)
    model.network.predict(other, base[:, :2])  # has gaps, so not computed in place
    assert np.array_equal(first, expected)
    assert np.array_equal(base[:, :2], expected_other)
    assert not np.any(base[:, 2])
    assert np.array_equal(model.network.predict(x), expected)
    assert np.array_equal(base[:, :2], expected_other)


def test_out_that_does_not_fit() -> None:
    model, x = chain([3, 2]), draw(5, 3)
    read_only = np.zeros((5, 2), np.float32)
    read_only.flags.writeable = False
    memory = np.zeros(25, np.float32)
    x_there = memory[:15].reshape(5, 3)
    for error, out, message in (
        (TypeError, np.zeros((5, 2)), "out must have dtype float32, .*; got dtype float64"),
        (TypeError, np.zeros((5, 2), ">f4"), "out must have .*; got dtype >f4"),
        (ValueError, np.zeros((5, 3), np.float32), r"out must have shape \(5, 2\); got \(5, 3\)"),
        (ValueError, np.zeros(10, np.float32), r"out must have shape .*; got \(10,\)"),
        (ValueError, np.zeros((2, 5), np.float32).T, "contiguous rows"),
        (ValueError, np.zeros((5, 2), np.float32)[:, ::-1], "contiguous rows"),
        (ValueError, np.zeros((5, 2), np.float32)[::-1], "contiguous rows"),
        (ValueError, read_only, "out must be writable; got a read-only array"),
        (ValueError, memory[14:24].reshape(5, 2), "out must not share memory with x"),
    ):
        before = out.tobytes()
        with pytest.raises(error, match=message):
            model.network.predict(x_there, out)
        assert out.tobytes() == before
    for outs in ([], [read_only, read_only]):
        with pytest.raises(TypeError, match="out must be a NumPy array; got list"):
            model.network.predict(x, outs)
    with unchanged(model), pytest.raises(ValueError, match="must not share memory with the model"):
        model.network.predict(x[:4], model.store.values.reshape(4, 2))


def test_no_rows() -> None:
    model = chain([3, 2])
    x, y = np.zeros((0, 3), np.float32), np.zeros((0, 2), np.float32)
    assert model.network.predict(x).shape == (0, 2)
    with unchanged(model):
        assert train_epoch(model, x, y).steps == 0
        assert train_epoch(model, draw(4, 3), draw(4, 2), rows=np.zeros(0, np.int64)).steps == 0
    steps = model.state.steps
    values = model.store.values.copy()
    assert train_step(model, x, y) == 0.0
    assert model.state.steps == steps
    assert np.array_equal(model.store.values, values)


# Steps -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_epoch_is_its_steps(dtype: DTypeLike) -> None:
    whole, steps = chain([3, 5, 2], dtype), chain([3, 5, 2], dtype)
    x, y = draw(11, 3), draw(11, 2, seed=1)
    rows = np.random.default_rng(2).permutation(11)
    result = train_epoch(whole, x, y, rows=rows)
    losses = [train_step(steps, x[rows[i : i + 4]], y[rows[i : i + 4]]) for i in (0, 4, 8)]
    assert snapshot(whole) == snapshot(steps)
    assert result.steps == 3
    assert result.mean_loss == pytest.approx(np.average(losses, weights=[4, 4, 3]), rel=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_step_by_its_pieces(dtype: DTypeLike) -> None:
    x, y = draw(6, 3, dtype=dtype), draw(6, 2, seed=1, dtype=dtype)

    def loss(outputs: list[NDArray]) -> tuple[float, list[NDArray]]:
        value, gradient = _core.half_squared_error_and_gradient(outputs[0], y)
        return value, [gradient]

    one, two, three = (chain([3, 5, 2], dtype) for _ in range(3))
    expected = train_step(one, x, y)
    assert two.network.train_step_with(loss, [x], two.optimizer, two.state) == expected
    assert snapshot(one) == snapshot(two)
    value, gradients = loss([three.network.forward(x)])
    grad_x = three.network.backward(gradients)
    three.network.update(three.optimizer, three.state)
    assert value == expected
    assert grad_x.shape == x.shape
    assert snapshot(one) == snapshot(three)

    rows = np.array([5, 2, 2])
    x, y = draw(6, 3, seed=2, dtype=dtype), y[rows]
    train_step(one, x[rows], y)
    two.network.train_step_with(loss, [x], two.optimizer, two.state, rows)
    assert snapshot(one) == snapshot(two)


def test_backward() -> None:
    model, x, y = chain([3, 5, 2]), draw(6, 3), draw(6, 2, seed=1)
    with unchanged(model), pytest.raises(RuntimeError, match="forward"):
        model.network.backward(y)
    model.network.loss_and_gradients(model.objective, x, y)
    expected = model.store.gradients.copy()
    model.store.gradients[:] = 0.0

    def gradient() -> NDArray:
        result: NDArray = _core.half_squared_error_and_gradient(model.network.forward(x), y)[1]
        return result

    assert model.network.backward(gradient(), input_gradients=False) == []
    assert np.array_equal(model.store.gradients, expected)
    model.network.backward(gradient(), accumulate=True)
    assert np.array_equal(model.store.gradients, 2 * expected)
    grad = gradient()
    with unchanged(model):
        for wrong, error in (
            (grad.astype(np.float64), TypeError),
            (grad[:5], ValueError),
            (np.asfortranarray(grad), ValueError),
        ):
            with pytest.raises(error, match=r"^grad_output must have"):
                model.network.backward(wrong)
    model.network.backward(grad)  # after rejected gradients, a valid one still works
    assert np.array_equal(model.store.gradients, expected)
    model.network.backward(2 * grad)  # and backward may run repeatedly after one forward pass
    assert np.array_equal(model.store.gradients, 2 * expected)


def test_objective_and_state_of_others() -> None:
    model, other, x, y = chain([3, 2]), chain([3, 2]), draw(4, 3), draw(4, 2)
    wide = chain([3, 4])
    sgd = _core.OptimizerState_float32(_core.Optimizer("sgd"), model.store)
    with unchanged(model):
        with pytest.raises(ValueError, match=r"^objective must be .* got one planned by another network"):
            model.network.loss(other.objective, [x], [y])
        for state in (sgd, wide.state):
            arguments = (model.objective, x, y, model.optimizer, state)
            with pytest.raises(
                ValueError, match="state must be for adam with 8 parameters and the slots first"
            ):
                model.network.train_step(*arguments)
            with pytest.raises(ValueError, match="state must be for adam"):
                model.network.update(model.optimizer, state)


# Numbers that are not finite ----------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_step_whose_input_is_not_finite_is_not_made(bad: float) -> None:
    model, same = chain([3, 2]), chain([3, 2])
    x, y = draw(12, 3), draw(12, 2)
    x[9, 1] = bad
    values, steps = model.store.values.copy(), model.state.steps
    with pytest.raises(FloatingPointError, match=f"x must be finite; got {bad} in row 9, column 1"):
        train_step(model, x, y)
    assert np.array_equal(model.store.values, values)
    assert model.state.steps == steps
    with pytest.raises(FloatingPointError, match=f"x must be finite; got {bad} in row 9, column 1"):
        train_epoch(model, x, y)
    train_epoch(same, x[:8], y[:8])
    assert model.state.steps == 2
    assert np.array_equal(model.store.values, same.store.values)
    for name, slot in model.state.slots.items():
        assert np.array_equal(slot, same.state.slots[name])


def test_a_python_loss_that_does_not_fit() -> None:
    model, x = chain([3, 2]), draw(4, 3)
    good = np.ones((4, 2), np.float32)
    with unchanged(model):
        for answer, error, message in (
            ((np.nan, [good]), FloatingPointError, "the loss is nan in step 1"),
            ((1.0, [good.astype(np.float64)]), TypeError, "gradient of loss must have .*; got dtype float64"),
            ((1.0, [good[:3]]), ValueError, "gradient of loss must have shape"),
            ((1.0, []), ValueError, "gradient of loss must hold 1 array; got 0"),
            (1.0, TypeError, "loss must return a pair"),
            ((1.0, [good], 2), TypeError, "loss must return a pair"),
        ):
            with pytest.raises(error, match=message):
                model.network.train_step_with(
                    lambda _, answer=answer: answer, [x], model.optimizer, model.state
                )

        def raising(_: list[NDArray]) -> Any:
            raise KeyError("of the caller")

        with pytest.raises(KeyError, match="of the caller"):
            model.network.train_step_with(raising, [x], model.optimizer, model.state)
