"""Calls from loops: arguments that they use directly or convert, and that they keep no references."""

import gc
import inspect
import pickle
import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import DTypeLike, NDArray

import nncore as nc
from nncore import _core
from nncore import functional as F
from nncore._arrays import as_inputs
from nncore.model import reading
from small_networks import DTYPES, chain, draw, snapshot, unchanged

# One array each ----------------------------------------------------------------------------------------


ARRANGEMENTS: dict[str, Callable[[NDArray], NDArray]] = {
    "as it is": np.ascontiguousarray,
    "columns in order": np.asfortranarray,
    "reversed": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
    "every other": lambda a: np.repeat(np.repeat(a, 2, axis=0), 3, axis=1)[::2, ::3],
}


def unwanted(*_: Any) -> Any:
    raise AssertionError("the converter was asked")


@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
@pytest.mark.parametrize("number", ["?", "i2", "u8", "f2", "f4", "f8"])
@pytest.mark.parametrize("rows", [1, 5])
def test_arrays_are_taken_as_those_of_a_converter_are(rows: int, number: str, arrangement: str) -> None:
    rng = np.random.default_rng(0)
    x, y = (
        ARRANGEMENTS[arrangement](rng.integers(0, 2, (rows, columns)).astype(number)) for columns in (3, 2)
    )
    one, other = chain([3, 4, 2]), chain([3, 4, 2])
    expected = one.network.predict("x", None, lambda _: [x])
    for _ in range(2):  # the second call reuses the workspace
        assert np.array_equal(one.network.predict(x, None, unwanted), expected)
        out = np.full((rows, 2), np.nan, np.float32)
        assert one.network.predict(x, out, unwanted) is out
        assert np.array_equal(out, expected)

    assert np.array_equal(
        one.network.forward(x, True, unwanted), other.network.forward("x", convert=lambda _: [x])
    )
    gradient = draw(rows, 2)
    for accumulate in (False, True):
        if accumulate:
            one.network.forward(x)
            other.network.forward([x])
        grad_x = one.network.backward(gradient, accumulate, True, unwanted)
        assert np.array_equal(grad_x, other.network.backward("g", accumulate, convert=lambda _: [gradient]))
        assert snapshot(one) == snapshot(other)

    weight = rng.uniform(0.5, 1.0, rows)
    for given, accumulate in ((None, False), (weight, True)):
        batch = ([x], [y], given)
        value = one.network.loss_and_gradients(one.objective, x, y, given, accumulate, True, unwanted)
        assert value == other.network.loss_and_gradients(
            other.objective, "x", "y", None, accumulate, True, lambda *_, batch=batch: batch
        )
        assert snapshot(one) == snapshot(other)
        value = one.network.train_step(one.objective, x, y, one.optimizer, one.state, given, None, unwanted)
        assert value == other.network.train_step(
            other.objective, "x", "y", other.optimizer, other.state, None, None, lambda *_, batch=batch: batch
        )
        assert snapshot(one) == snapshot(other)


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_sample(dtype: DTypeLike) -> None:
    model = chain([3, 2], dtype)
    x = draw(3, 6, dtype=dtype)[:, ::2]
    expected = model.network.predict(x)
    for row in range(3):
        for sample in (x[row], x[row].copy(), x[row : row + 1]):
            result = model.network.predict(sample, None, unwanted)
            assert result.shape == (1, 2)
            assert np.array_equal(result[0], expected[row])


X, Y = draw(4, 3), draw(4, 2)
NOT_TAKEN: dict[str, Any] = {
    "nothing": None,
    "a list": X.tolist(),
    "a list of arrays": [X],
    "a tuple of arrays": (X,),
    "a dict": {"x": X},
    "a number": 1.0,
    "complex numbers": X.astype(complex),
    "objects": X.astype(object),
    "another byte order": X.astype(">f4"),
    "another width": draw(4, 5),
    "a vector of another width": draw(5),
    "three dimensions": X[None],
    "no dimension": np.array(1.0),
}


class ConverterError(Exception):
    """Raised by a converter, with its arguments."""


def refuse(*given: Any) -> Any:
    raise ConverterError(*given)


def check_asked(call: Callable[..., object], *arguments: Any, given: tuple[Any, ...]) -> None:
    """Checks that the converter gets the identical arguments of the call, and that its error propagates."""
    with pytest.raises(ConverterError) as seen:
        call(*arguments, convert=refuse)
    assert len(seen.value.args) == len(given)
    assert all(one is other for one, other in zip(seen.value.args, given, strict=True))


@pytest.mark.parametrize("case", NOT_TAKEN)
def test_what_is_not_taken_goes_to_the_converter(case: str) -> None:
    model, wrong = chain([3, 2]), NOT_TAKEN[case]
    network, objective, step = model.network, model.objective, (model.optimizer, model.state)
    network.forward(X)
    out = np.full((4, 2), 7.0, np.float32)
    with unchanged(model):
        check_asked(network.predict, wrong, given=(wrong,))
        check_asked(network.predict, wrong, out, given=(wrong,))
        check_asked(network.forward, wrong, given=(wrong,))
        check_asked(network.backward, wrong, given=(wrong,))
        check_asked(network.loss_and_gradients, objective, wrong, Y, given=(wrong, Y, None))
        check_asked(network.train_step, objective, wrong, Y, *step, given=(wrong, Y, None))
        if case != "another width":  # the loss checks the width of y
            check_asked(network.loss_and_gradients, objective, X, wrong, given=(X, wrong, None))
            check_asked(network.train_step, objective, X, wrong, *step, given=(X, wrong, None))
        if wrong is not None:
            for weight in (wrong, np.ones((4, 1))):
                check_asked(network.train_step, objective, X, Y, *step, weight, given=(X, Y, weight))
    assert np.all(out == 7.0)
    assert network.backward(Y).shape == (4, 3)  # the forward pass is still available


@pytest.mark.parametrize("case", [case for case in NOT_TAKEN if not case.endswith("of arrays")])
def test_what_is_not_taken_without_a_converter_is_refused(case: str) -> None:
    model, wrong = chain([3, 2]), NOT_TAKEN[case]
    network, objective, step = model.network, model.objective, (model.optimizer, model.state)
    network.forward(X)
    with unchanged(model):
        for call, *arguments in (
            (network.predict, wrong),
            (network.forward, wrong),
            (network.backward, wrong),
            (network.loss_and_gradients, objective, wrong, Y),
            (network.train_step, objective, X, wrong, *step),
        ):
            with pytest.raises((TypeError, ValueError), match=r"^(x|y|grad_output) must"):
                call(*arguments)


def test_what_a_converter_returns_is_used_once() -> None:
    model = chain([3, 2])
    network, objective, step = model.network, model.objective, (model.optimizer, model.state)
    asked: list[Any] = []

    def answer(arrays: Any) -> Callable[..., Any]:
        def convert(*given: Any) -> Any:
            asked.append(given)
            return arrays

        return convert

    with unchanged(model):
        for wrong in (draw(4, 5), [draw(4, 5)], [X, X], [], "x", None, 3):
            asked.clear()
            with pytest.raises((TypeError, ValueError), match=r"^x(\[0\])? must"):
                network.predict("given", convert=answer(wrong))
            assert asked == [("given",)]
            with pytest.raises((TypeError, ValueError), match=r"^x(\[0\])? must"):
                network.train_step(objective, "x", "y", *step, convert=answer((wrong, Y, None)))
            assert asked == [("given",), ("x", "y", None)]
        with pytest.raises(ValueError, match="convert must return x, y and sample_weight; got 2 objects"):
            network.train_step(objective, "x", "y", *step, convert=answer((X, Y)))
        with pytest.raises(TypeError, match="not callable"):
            network.predict("x", convert=3)
    asked.clear()
    assert network.predict("x", convert=answer(X)).shape == (4, 2)
    assert network.train_step(objective, "x", "y", *step, "w", convert=answer((X, Y, np.ones(4)))) > 0.0
    assert asked == [("x",), ("x", "y", "w")]


def test_converters_may_use_the_model() -> None:
    """Converters are called before the store is in use."""
    model = chain([3, 2])
    step = (model.optimizer, model.state)

    def convert(*_: Any) -> Any:
        model.network.train_step(model.objective, X, Y, *step)
        return X, Y, None

    for count in (2, 4):
        model.network.train_step(model.objective, X.tolist(), Y, *step, convert=convert)
        assert model.state.steps == count
    model.network.forward(X.tolist(), convert=lambda _: [model.network.predict(X) @ draw(2, 3)])


def test_out_that_is_not_taken() -> None:
    model = chain([3, 2])
    memory = np.zeros(25, np.float32)
    x_there = memory[:12].reshape(4, 3)
    read_only = np.zeros((4, 2), np.float32)
    read_only.flags.writeable = False
    for out in (
        np.zeros((4, 2)),
        np.zeros((3, 2), np.float32),
        np.zeros((2, 4), np.float32).T,
        memory[11:19].reshape(4, 2),
        model.store.values.reshape(4, 2),
        read_only,
    ):
        with unchanged(model):
            before = out.tobytes()
            with pytest.raises((TypeError, ValueError), match=r"^out must"):
                model.network.predict(x_there, out, unwanted)
            assert out.tobytes() == before


def test_networks_of_several_inputs_or_outputs() -> None:
    inputs = [_core.Node.input("a", 2), _core.Node.input("b", 2)]
    two_in = _core.Graph([*inputs, _core.Node.make("add", "sum", [0, 1])], [2])
    two_out = _core.Graph([inputs[0], _core.Node.make("relu", "r", [0])], [0, 1])
    networks = [_core.Network_float32(graph, _core.Parameters_float32([])) for graph in (two_in, two_out)]
    x = draw(4, 2)
    check_asked(networks[0].predict, x, given=(x,))
    pair = [x, x]
    check_asked(networks[0].predict, pair, given=(pair,))
    assert np.array_equal(networks[0].forward(x, convert=lambda x: [x, x]), x + x)
    grad_a, grad_b = networks[0].backward(x)
    assert np.array_equal(grad_a, x)
    assert np.array_equal(grad_b, x)
    same, relu = networks[1].predict(x, None, unwanted)
    assert np.array_equal(same, x)
    assert np.array_equal(relu, np.maximum(x, 0))
    networks[1].forward(x)
    check_asked(networks[1].backward, x, given=(x,))
    for nothing in ((None, _core.Parameters_float32([])), (two_in, None)):
        with pytest.raises(TypeError):
            _core.Network_float32(*nothing)


def test_what_is_wrong_otherwise_is_said() -> None:
    model, other = chain([3, 2]), chain([3, 2])
    network, objective, step = model.network, model.objective, (model.optimizer, model.state)
    nan = Y.copy()
    nan[2, 1] = np.nan
    with unchanged(model):
        with pytest.raises(RuntimeError, match="call forward first"):
            network.backward(Y, convert=unwanted)
        with pytest.raises(ValueError, match=r"y must have shape \(4, 2\); got \(4, 5\)"):
            network.train_step(objective, X, draw(4, 5), *step, convert=unwanted)
        with pytest.raises(ValueError, match="y must be a number; got nan in row 2, column 1"):
            network.train_step(objective, X, nan, *step, convert=unwanted)
        with pytest.raises(FloatingPointError, match="x must be finite; got nan in row 0, column 0"):
            network.train_step(objective, X + np.float32(np.nan), Y, *step, convert=unwanted)
        with pytest.raises(ValueError, match=r"^objective must be .* got one planned by another network"):
            network.train_step(other.objective, X, Y, *step, convert=unwanted)
    for wrong in (3, X, model.state):
        with pytest.raises(TypeError, match=r"objective must be a .*Objective; got "):
            network.loss_and_gradients(wrong, X, Y)
    with pytest.raises(TypeError, match=r"state must be a .*OptimizerState_float32; got .*_float64"):
        network.train_step(objective, X, Y, model.optimizer, chain([3, 2], np.float64).state)
    with pytest.raises(TypeError, match="optimizer must be a "):
        network.update(model.state, model.state)


def test_a_store_in_use() -> None:
    model = chain([3, 2])
    calls: list[Callable[[], object]] = [
        lambda: model.network.predict(X),
        lambda: model.network.forward(X),
        lambda: model.network.backward(Y),
        lambda: model.network.loss_and_gradients(model.objective, X, Y),
        lambda: model.network.train_step(model.objective, X, Y, model.optimizer, model.state),
    ]
    for call in calls:
        with unchanged(model), pytest.raises(RuntimeError, match=r"by another call|another call is using"):
            model.network.train_step_with(lambda _, call=call: call(), [X], model.optimizer, model.state)


# Models ------------------------------------------------------------------------------------------------


def test_models_give_the_same_for_arrays_and_lists() -> None:
    one, other = (nc.mlp([3, 4, 2], "tanh", seed=0) for _ in range(2))
    x, y = X.astype(np.float64), Y.astype(np.float64)
    trainers = [nc.Trainer(model, "mean_squared_error", nc.Adam(0.1)) for model in (one, other)]
    for _ in range(2):
        assert trainers[0].step(x, y) == trainers[1].step(x.tolist(), y.tolist())
        assert np.array_equal(one.predict(x), other.predict(x.tolist()))
        assert np.array_equal(one.predict(x[0]), other.predict(x[0].tolist()))
        loss = one.loss_and_gradients(x, y, "mean_squared_error")
        assert loss == other.loss_and_gradients(x.tolist(), y.tolist(), "mean_squared_error")
        assert np.array_equal(one.gradients, other.gradients)
        assert np.array_equal(one.forward(x), other.forward(x.tolist()))
        assert np.array_equal(one.backward(Y), other.backward(Y.tolist()))
        assert np.array_equal(one.gradients, other.gradients)
        assert np.array_equal(one.parameters, other.parameters)


def test_tables_are_made_once_and_only_of_what_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def counted(x: Any, *arguments: Any) -> Any:
        made.append(x)
        return as_inputs(x, *arguments)

    monkeypatch.setattr(reading, "as_inputs", counted)
    model = nc.mlp([3, 4, 2], "tanh", seed=0)
    trainer = nc.Trainer(model, "mean_squared_error")
    by_python = nc.Trainer(model, lambda output, y: (float(np.mean((output - y) ** 2)), output - y))
    for x, y, expected in ((X, Y, 0), (X.tolist(), Y, 1), (X, Y.tolist(), 1), (X.tolist(), Y.tolist(), 1)):
        for call, count in (
            (lambda x=x, y=y: trainer.step(x, y), expected),
            (lambda x=x, y=y: model.loss_and_gradients(x, y, "mean_squared_error"), expected),
            (lambda x=x, y=y: by_python.step(x, y), 1),
            (lambda x=x: model.predict(x), int(x is not X)),
            (lambda x=x: model.forward(x), int(x is not X)),
        ):
            made.clear()
            call()
            assert len(made) == count
            assert all(given is x for given in made)


def test_another_optimizer_has_its_own_state() -> None:
    trainer = nc.Trainer(nc.mlp([3, 2], seed=0), "mean_squared_error", nc.Adam())
    first = trainer.optimizer
    trainer.step(X, Y)
    trainer.optimizer = nc.Adam()
    trainer.step(X, Y)
    trainer.step(X, Y)
    store = trainer.model.store
    assert (first.state(store).steps, trainer.optimizer.state(store).steps) == (1, 2)


def test_threads_predict_on_one_model() -> None:
    model = nc.mlp([3, 16, 2], "tanh", seed=0)
    inputs = [draw(rows, 3, seed=rows) for rows in (1, 1, 2, 7)]
    expected = [model.predict(x) for x in inputs]
    wrong: list[int] = []
    ready = threading.Barrier(len(inputs))

    def work(index: int) -> None:
        ready.wait()
        out = np.empty_like(expected[index])
        for _ in range(2000):
            model.predict(inputs[index], out)
            if not np.array_equal(out, expected[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(inputs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# The calling convention --------------------------------------------------------------------------------


def test_calls_that_do_not_fit() -> None:
    for given, keywords, message in (
        ((), {}, r"argument 'z' is missing: \(z, \*, out=None\)"),
        ((X, X), {}, "positional arguments must be at most 1; got 2"),
        ((X,), {"z": X}, "argument 'z' is given twice"),
        ((X,), {"output": X}, "argument 'output' is unknown; allowed:"),
        ((), {"out": X}, "argument 'z' is missing"),
    ):
        with pytest.raises(TypeError, match=message):
            F.tanh(*given, **keywords)
    with pytest.raises(TypeError, match="activation must be a string; got int"):
        F.dense_forward(X, X, activation=3)
    with pytest.raises(TypeError, match="out must be a tuple of three arrays; got list"):
        F.dense_backward(Y, X, draw(2, 3), out=[X, X, X])
    with pytest.raises(TypeError, match=r"accumulate must be True or False; got numpy\.ndarray"):
        F.tanh_backward(X, X, accumulate=X)


def test_names_and_None_for_arguments() -> None:
    weight, bias = draw(2, 3), draw(2)
    expected = F.dense_forward(X, weight, bias)
    assert np.array_equal(F.dense_forward(bias=bias, weight=weight, x=X, out=None), expected)
    assert np.array_equal(F.dense_forward(X, weight, None), F.dense_forward(X, weight))


def test_functions_show_their_signatures() -> None:
    signature = "(x, weight, bias=None, *, activation='identity', out=None)"
    assert str(inspect.signature(F.dense_forward)) == signature
    assert str(inspect.signature(_core.Network_float32.predict)) == "(self, /, x, out=None, convert=None)"
    assert F.tanh.__doc__.startswith("tanh: a = tanh(z).")


@pytest.mark.parametrize("name", [name for name in F.__all__ if callable(getattr(F, name))])
def test_functions_can_be_pickled(name: str) -> None:
    function = getattr(F, name)
    assert pickle.loads(pickle.dumps(function)) is function
    assert function.__name__ == name


def test_calls_hold_on_to_nothing() -> None:
    """Reference counts stay the same whether a call accepts or rejects its arguments, and however it ends."""
    model = chain([3, 2])
    network, objective, optimizer, state = model.network, model.objective, model.optimizer, model.state
    x, y, out, weight = draw(4, 3), draw(4, 2), np.zeros((4, 2), np.float32), np.ones(4)
    list_x, wrong, label = x.tolist(), draw(4, 5), np.array([0, 1, 0, 9])
    outs = (draw(4, 3), draw(2, 3), draw(2))
    matrix = draw(2, 3)
    batch = ([x], [y], weight)
    core = (network, objective, optimizer, state)
    watched = [batch, x, y, out, weight, list_x, wrong, label, matrix, outs, *outs, *core]

    def read(*_: Any) -> Any:
        return batch

    def refused(function: Callable[..., object], *arguments: Any, **keywords: Any) -> None:
        try:  # pytest.raises would keep a reference
            function(*arguments, **keywords)
        except (TypeError, ValueError, RuntimeError):
            return
        raise AssertionError("nothing was refused")

    def calls() -> None:
        for given in (x, list_x, wrong):
            network.predict(given, None, lambda _: [x])
            network.predict(given, out, lambda _: x)
            network.forward(given, True, lambda _: (x,))
            network.backward(given, False, True, lambda _: [y])
            network.forward(x)
            network.backward(y)
            network.loss_and_gradients(objective, given, y, weight, False, True, lambda *_: batch)
            network.train_step(objective, given, y, optimizer, state, sample_weight=weight, convert=read)
        for given in (list_x, wrong):
            refused(network.predict, given)
            refused(network.predict, x=given, out=wrong)
            refused(network.predict, given, convert=lambda _: [])
            refused(network.backward, given)
            refused(
                network.train_step, objective, given, y, optimizer, state, weight, None, lambda *_: (x, y)
            )
        network.update(optimizer, state)
        network.predict([x], out)
        network.train_step(objective, [x], [y], optimizer, state)
        F.tanh(y, out=out)
        F.tanh_backward(y, y, out=out, accumulate=True)
        F.dense_forward(x, matrix, out=out)
        F.dense_backward(y, x, matrix, out=outs)
        F.half_squared_error(y, y, sample_weight=np.ones(4, np.float32))
        F.half_squared_error_and_gradient(y, y, reduction="none", out=out)
        refused(F.tanh, y, z=y)
        refused(F.tanh, list_x, out=out)
        refused(F.tanh, y, out=x)
        refused(F.dense_forward, x, wrong, out=out)
        refused(F.dense_backward, y, x, matrix, out=(x, x))
        refused(F.softmax_cross_entropy, y, label)
        refused(network.loss_and_gradients, optimizer, x, y)
        refused(network.predict, [list_x], out)
        refused(network.predict, x, [out])

    def counts() -> list[int]:
        return [sys.getrefcount(thing) for thing in watched]

    for _ in range(20):
        calls()
    gc.collect()
    before, nones, blocks = counts(), sys.getrefcount(None), sys.getallocatedblocks()
    for _ in range(400):
        calls()
    gc.collect()
    assert counts() == before
    assert abs(sys.getrefcount(None) - nones) < 100
    assert sys.getallocatedblocks() - blocks < 200
