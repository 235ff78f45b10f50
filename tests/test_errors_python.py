"""Bad input to the Python layer raises a clear error and changes nothing."""

import numpy as np
import pandas as pd
import pytest

import nncore as nc
from nncore import _core

X, Y, LABELS = np.ones((4, 3)), np.ones((4, 2)), np.array([0, 1, 1, 0])


def mlp(**options):
    return nc.mlp([3, 4, 2], **{"activation": "tanh", "seed": 0, **options})


DESCRIBING = {
    "size of 0": (lambda: nc.Dense(0, 2), ValueError, "in_features must be at least 1; got 0"),
    "size of a float": (lambda: nc.Dense(2, 2.0), TypeError, "out_features must be an integer; got float"),
    "unknown initializer": (
        lambda: nc.Dense(2, 2, weight_initializer="glorot"),
        ValueError,
        r"initializer must be one of .*; got 'glorot' \(did you mean 'glorot_",
    ),
    "constant of NaN": (
        lambda: nc.Constant(float("nan")),
        ValueError,
        "value must be a finite number; got nan",
    ),
    "initializer of a number": (lambda: nc.Dense(2, 2, weight_initializer=0.5), TypeError, "got float"),
    "bias by sizes of a weight": (
        lambda: nc.Dense(2, 2, bias_initializer="he_normal"),
        ValueError,
        "bias_initializer must not depend on fan-in or fan-out; got 'he_normal'",
    ),
    "name with a dot": (
        lambda: nc.Dense(2, 2, name="a.b"),
        ValueError,
        "letters, digits, _ and -; got 'a.b'",
    ),
    "reserved name": (
        lambda: nc.ReLU(name="optimizer"),
        ValueError,
        "must not be one that files reserve; got 'optimizer'",
    ),
    "name of a number": (lambda: nc.ReLU(name=3), TypeError, "name must be a string; got int"),
    "called on an array": (lambda: nc.Dense(3, 2)(X), TypeError, "build a model and call predict"),
    "width of a layer": (
        lambda: nc.Dense(3, 2)(nc.Input(4)),
        ValueError,
        "must be one value of 3 features; got 4",
    ),
    "two values for one": (
        lambda: nc.ReLU()(nc.Input(4), nc.Input(4)),
        ValueError,
        "must be one value; got 2",
    ),
    "widths of a sum": (
        lambda: nc.Input(3) + nc.Input(2),
        ValueError,
        "must have the same width; got 3 and 2",
    ),
    "one value joined": (
        lambda: nc.Concatenate()(nc.Input(3)),
        ValueError,
        "must be at least two values; got 1",
    ),
    "a number added": (lambda: nc.Input(3) + 1, TypeError, "unsupported operand"),
    "tied to no dense layer": (
        lambda: nc.TransposedDense(nc.ReLU()),
        TypeError,
        "source must be a Dense layer",
    ),
}


@pytest.mark.parametrize("case", DESCRIBING)
def test_describing(case):
    call, error, message = DESCRIBING[case]
    with pytest.raises(error, match=message):
        call()


def stranger():
    x, other = nc.Input(2), nc.Input(2, name="other")
    nc.Model(x, x + other)


def inner():
    x = nc.Input(2)
    hidden = nc.Dense(2, 2)(x)
    nc.Model(hidden, nc.ReLU()(hidden))


def unused():
    x, other = nc.Input(2), nc.Input(2, name="other")
    nc.Model([x, other], nc.ReLU()(x))


def twice_in():
    x = nc.Input(2)
    nc.Model([x, x], nc.ReLU()(x))


def twice_out():
    x = nc.Input(2)
    y = nc.ReLU()(x)
    nc.Model(x, [y, y])


def clash():
    x = nc.Input(2, name="same")
    nc.Model(x, nc.Dense(2, 2, name="same")(x))


BUILDING = {
    "no layers": (lambda: nc.Sequential(), ValueError, "layers must be at least one layer; got none"),
    "no widths": (
        lambda: nc.Sequential(nc.ReLU()),
        ValueError,
        "one that fixes the number of input features; got ReLU: pass in_features",
    ),
    "a join in a line": (lambda: nc.Sequential(nc.Add()), ValueError, "got Add: .*nc.Model"),
    "no layer": (
        lambda: nc.Sequential(nc.Dense(2, 2), "relu"),
        TypeError,
        "layers must be layers .*got 'relu'",
    ),
    "widths of neighbours": (lambda: nc.Sequential(nc.Dense(2, 3), nc.Dense(2, 1)), ValueError, "got 3"),
    "two of a name": (
        lambda: nc.Sequential(nc.Dense(2, 2, name="a"), nc.ReLU(name="a")),
        ValueError,
        "must be unique in a model; got two named 'a'",
    ),
    "input and layer of a name": (clash, ValueError, "names of inputs must be unique in a model; got 'same'"),
    "dtype": (lambda: mlp(dtype=np.float16), TypeError, "must be float32 or float64; got float16"),
    "seed below 0": (lambda: mlp(seed=-1), ValueError, r"seed must be in \[0, 2\*\*64\); got -1"),
    "seed of a float": (lambda: mlp(seed=0.5), TypeError, "seed must be an integer or None; got float"),
    "one size": (lambda: nc.mlp([3]), ValueError, r"at least an input and an output size; got \[3\]"),
    "unknown activation": (lambda: mlp(activation="rely"), ValueError, "did you mean 'relu'"),
    "unknown output": (lambda: mlp(output="soft_max"), ValueError, "did you mean 'softmax'"),
    "another input": (stranger, ValueError, "got one that reads 'other'"),
    "an inner value as input": (inner, ValueError, "inputs must be values made by nc.Input"),
    "unused input": (unused, ValueError, "'other' is an unused input"),
    "input twice": (twice_in, ValueError, "inputs must be distinct values; got one of them twice"),
    "output twice": (twice_out, ValueError, "outputs must be distinct values; got one of them twice"),
    "no inputs": (
        lambda: nc.Model([], nc.Input(2)),
        ValueError,
        "inputs must be at least one value; got none",
    ),
    "a layer as input": (
        lambda: nc.Model(nc.ReLU(), nc.Input(2)),
        TypeError,
        "inputs must be symbolic values",
    ),
    "a layer among outputs": (
        lambda: nc.Model(nc.Input(2), [nc.ReLU()]),
        TypeError,
        "outputs must be symbolic",
    ),
    "an empty graph": (lambda: _core.Graph([], [0]), ValueError, "empty"),
    "a cycle": (
        lambda: _core.Graph([_core.Node.input("x", 2), _core.Node.make("add", "a", [0, 1])], [1]),
        ValueError,
        "cycle",
    ),
}


@pytest.mark.parametrize("case", BUILDING)
def test_building(case):
    call, error, message = BUILDING[case]
    with pytest.raises(error, match=message):
        call()


def test_a_model_that_cannot_be_built_binds_nothing():
    layer = nc.Dense(2, 2)
    x, other = nc.Input(2), nc.Input(2)
    with pytest.raises(ValueError, match="unused"):
        nc.Model([x, other], layer(x))
    assert layer.store is None
    with pytest.raises(RuntimeError, match="has no parameters until a model is built"):
        layer.weight  # noqa: B018 - reading it is what raises
    nc.Sequential(layer)
    assert layer.weight.shape == (2, 2)


USING = {
    "features of x": (
        lambda m: m.predict(np.ones((4, 5))),
        ValueError,
        r"x must have shape \(B, 3\); got \(4, 5\)",
    ),
    "rank of x": (lambda m: m.predict(np.ones((4, 3, 1))), ValueError, r"got \(4, 3, 1\)"),
    "rank 0": (lambda m: m.predict(3.0), ValueError, r"got \(\)"),
    "one sample too short": (
        lambda m: m.predict([1, 2]),
        ValueError,
        "x must have 3 features per sample; got 2 numbers",
    ),
    "ragged list": (lambda m: m.predict([[1, 2, 3], [1]]), ValueError, "x must be a table"),
    "complex": (lambda m: m.predict(X.astype(complex)), TypeError, "got dtype complex128"),
    "strings": (
        lambda m: m.predict([["a", "b", "c"]]),
        TypeError,
        "x must hold bool, integer or float numbers",
    ),
    "objects": (lambda m: m.predict(X.astype(object)), TypeError, "got dtype object"),
    "dates": (lambda m: m.predict(X.astype("datetime64[s]")), TypeError, "got dtype datetime64"),
    "None": (lambda m: m.predict(None), TypeError, "x must be an array, a list or a table .*; got None"),
    "column of strings": (
        lambda m: m.predict(pd.DataFrame({"a": [1.0], "b": ["x"], "c": [2.0]})),
        TypeError,
        "column 'b' of x must hold",
    ),
    "column of dates": (
        lambda m: m.predict(pd.DataFrame({"a": [1.0], "b": [1.0], "when": pd.to_datetime(["2020-01-01"])})),
        TypeError,
        "column 'when' of x",
    ),
    "dict of one input": (
        lambda m: m.predict({"y": X}),
        ValueError,
        "keys of x must be one of input; got 'y'",
    ),
    "out of another shape": (lambda m: m.predict(X, out=np.empty((3, 2), "f")), ValueError, "out"),
    "out of another dtype": (lambda m: m.predict(X, out=np.empty((4, 2))), TypeError, "out"),
    "backward without forward": (lambda m: m.backward(Y), RuntimeError, "call forward first"),
    "gradient of another shape": (
        lambda m: (m.forward(X), m.backward(np.ones((4, 3)))),
        ValueError,
        "grad_output",
    ),
    "unknown layer": (lambda m: m["dense"], ValueError, "layer must be one of 0, 1, 2; got 'dense'"),
    "fraction": (lambda m: m.soft_update(m, 1.5), ValueError, r"fraction must be in \[0, 1\]; got 1.5"),
    "unknown loss": (
        lambda m: m.loss_and_gradients(X, Y, "hinge"),
        ValueError,
        "loss must be one of .*; got 'hinge'",
    ),
    "nearly a loss": (
        lambda m: m.loss_and_gradients(X, Y, "crossentropy"),
        ValueError,
        "did you mean 'cross_entropy'",
    ),
    "loss of a number": (lambda m: m.loss_and_gradients(X, Y, 3), TypeError, "loss must be a name"),
    "probabilities of logits": (
        lambda m: m.loss_and_gradients(X, LABELS, "cross_entropy"),
        ValueError,
        "got 'cross_entropy', which takes the probabilities .*'softmax_cross_entropy' on logits",
    ),
    "parameters of another size": (
        lambda m: setattr(m, "parameters", np.ones(3)),
        ValueError,
        r"parameters must have shape \(26,\); got \(3,\)",
    ),
}


@pytest.mark.parametrize("case", USING)
def test_using(case):
    call, error, message = USING[case]
    model = mlp()
    before = model.parameters.copy()
    with pytest.raises(error, match=message):
        call(model)
    assert np.array_equal(model.parameters, before)
