"""Bad input to training raises a clear error and changes nothing."""

import numpy as np
import pandas as pd
import pytest

import nncore as nc

X, Y, LABELS = np.ones((4, 3)), np.ones((4, 2)), np.array([0, 1, 1, 0])


def mlp(**options):
    return nc.mlp([3, 4, 2], **{"activation": "tanh", "seed": 0, **options})


def two_in():
    a, b = nc.Input(3, name="a"), nc.Input(2, name="b")
    return nc.Model([a, b], nc.Dense(5, 1)(nc.Concatenate()(a, b)), seed=0)


def fit(**changes):
    arguments = {"x": X, "y": LABELS, "progress": False, **changes}
    return lambda trainer: trainer.fit(**arguments)


FITTING = {
    "rows of y": (fit(y=[0, 1]), ValueError, "y must have 4 samples, like x; got 2"),
    "label too large": (
        fit(y=[0, 1, 2, 0]),
        ValueError,
        "y must hold labels from 0 to 1; got label 2 in row 2",
    ),
    "label below 0": (fit(y=[0, 1, -1, 0]), ValueError, "label -1 in row 2"),
    "NaN among targets": (
        fit(y=np.full((4, 2), np.nan)),
        ValueError,
        r"y must be a number; got nan in row \d",
    ),
    "labels of floats": (
        fit(y=[0.0, 1.0, 1.0, 0.0]),
        ValueError,
        r"or probabilities of shape \(4, 2\); got one column of floats$",
    ),
    "labels of bools": (
        fit(y=[False, True, True, False]),
        ValueError,
        "y must be class indices of an integer dtype, .*; got one column of bools",
    ),
    "y of a number": (fit(y=1), ValueError, "one row per sample"),
    "strings as labels": (
        fit(y=["cat", "dog", "dog", "cat"]),
        TypeError,
        "y must hold bool, integer or float",
    ),
    "category labels": (fit(y=pd.Series(["a", "b", "b", "a"], dtype="category")), TypeError, "y must hold"),
    "no samples": (
        fit(x=np.empty((0, 3)), y=np.empty(0, int)),
        ValueError,
        "x must have at least one sample; got none",
    ),
    "batch size of 0": (fit(batch_size=0), ValueError, "batch_size must be at least 1; got 0"),
    "negative batch size": (fit(batch_size=-8), ValueError, "batch_size must be at least 1; got -8"),
    "batch size of a float": (fit(batch_size=8.0), TypeError, "batch_size must be an integer; got float"),
    "no epochs": (fit(epochs=0), ValueError, "epochs must be at least 1; got 0"),
    "weights of another length": (
        fit(sample_weight=[1, 2]),
        ValueError,
        r"must have shape \(4,\); got \(2,\)",
    ),
    "negative weight": (fit(sample_weight=[1, -1, 1, 1]), ValueError, "sample_weight"),
    "weight of NaN": (fit(sample_weight=[1, np.nan, 1, 1]), ValueError, "sample_weight"),
    "validation of one": (
        fit(validation_data=(X,)),
        ValueError,
        r"must be \(x, y\) or \(x, y, sample_weight\)",
    ),
    "validation features": (
        fit(validation_data=(Y, LABELS)),
        ValueError,
        r"validation x must have shape \(B, 3\)",
    ),
    "validation rows": (
        fit(validation_data=(X, LABELS[:2])),
        ValueError,
        "validation y must have 4 samples, like validation x; got 2",
    ),
    "validation labels": (fit(validation_data=(X, LABELS + 1)), ValueError, "label 2 in row 1"),
    "progress": (fit(progress="yes"), ValueError, "progress must be True, False or 'auto'; got 'yes'"),
}


@pytest.mark.parametrize("case", FITTING)
def test_fitting(case):
    call, error, message = FITTING[case]
    trainer = nc.Trainer(mlp(output="softmax"), "cross_entropy")
    before = trainer.model.parameters.copy()
    with pytest.raises(error, match=message):
        call(trainer)
    assert np.array_equal(trainer.model.parameters, before)
    assert trainer.history.epochs == 0
    assert trainer.optimizer.state(trainer.model.store).steps == 0


def test_a_vector_of_targets_is_never_broadcast():
    trainer = nc.Trainer(mlp(), "half_squared_error")
    with pytest.raises(ValueError, match="y"):
        trainer.step(X[:2], [1.0, 2.0])
    with pytest.raises(ValueError, match="y"):
        trainer.step(X, np.ones((4, 1)))


@pytest.mark.parametrize("dtype", [np.float32, np.int8])
@pytest.mark.parametrize("loss", ["binary_cross_entropy", "sigmoid_cross_entropy"])
def test_binary_cross_entropy_takes_numbers_from_0_to_1(loss, dtype):
    output = "sigmoid" if loss == "binary_cross_entropy" else "identity"
    trainer = nc.Trainer(mlp(output=output), loss)
    trainer.step(X, Y > 2)
    before = trainer.model.parameters.copy()
    for wrong in (-1, 2):
        y = np.ones((4, 2), dtype)
        y[3, 1] = wrong
        with pytest.raises(
            ValueError, match=rf"y must be a number in \[0, 1\]; got {wrong} in row 3, column 1"
        ):
            trainer.step(X, y)
    assert np.array_equal(trainer.model.parameters, before)


def loss(y_true, y_pred):
    return 0.0


def broken(answer):
    return nc.Trainer(mlp(), lambda output, y: answer)


TRAINERS = {
    "unknown loss": (lambda: nc.Trainer(mlp(), "hinge"), ValueError, "loss must be one of .*; got 'hinge'"),
    "logits loss after softmax": (
        lambda: nc.Trainer(mlp(output="softmax"), "softmax_cross_entropy"),
        ValueError,
        "loss must be 'cross_entropy' for output '3', .*; got 'softmax_cross_entropy'",
    ),
    "unknown optimizer": (
        lambda: nc.Trainer(mlp(), "mean_squared_error", "adamm"),
        ValueError,
        "did you mean 'adam'",
    ),
    "optimizer of a number": (lambda: nc.Trainer(mlp(), "mean_squared_error", 0.1), TypeError, "got float"),
    "unknown metric": (
        lambda: nc.Trainer(mlp(), "mean_squared_error", metrics=["acuracy"]),
        ValueError,
        "did you mean 'accuracy'",
    ),
    "metrics of a string": (
        lambda: nc.Trainer(mlp(), "mean_squared_error", metrics="accuracy"),
        TypeError,
        "list",
    ),
    "metric of a number": (
        lambda: nc.Trainer(mlp(), "mean_squared_error", metrics=[1]),
        TypeError,
        "got int",
    ),
    "metric twice": (
        lambda: nc.Trainer(mlp(), "mean_squared_error", metrics=["accuracy", "accuracy"]),
        ValueError,
        "unique names; got accuracy, val_accuracy more than once",
    ),
    "metric called loss": (
        lambda: nc.Trainer(mlp(), "mean_squared_error", metrics=[loss]),
        ValueError,
        "unique names; got loss, val_loss more than once",
    ),
    "no model": (
        lambda: nc.Trainer(nc.Dense(2, 2), "mean_squared_error"),
        TypeError,
        "model must be a Model",
    ),
    "losses for outputs": (
        lambda: nc.Trainer(mlp(), ["mean_squared_error", "mean_squared_error"]),
        (TypeError, ValueError),
        "loss",
    ),
    "loss of another output": (
        lambda: nc.Trainer(mlp(), {"y": "mean_squared_error"}),
        ValueError,
        "keys of loss must be one of 2; got 'y'",
    ),
    "no loss": (
        lambda: nc.Trainer(mlp(), [None]),
        ValueError,
        "loss must be given for at least one output; got none",
    ),
    "loss weight of infinity": (
        lambda: nc.Trainer(mlp(), "mean_squared_error", loss_weights=[np.inf]),
        ValueError,
        "must be finite",
    ),
    "loss without gradient": (lambda: broken(1.0).step(X, Y), TypeError, r"must return \(value, gradient\)"),
    "gradient of a loss": (
        lambda: broken((1.0, X)).step(X, Y),
        ValueError,
        "must have the shape of the output",
    ),
    "weights with a Python loss": (
        lambda: broken((1.0, Y)).step(X, Y, sample_weight=[1, 1, 1, 1]),
        ValueError,
        "a Python loss, which weights its samples itself; got weights",
    ),
    "negative learning rate": (lambda: nc.Adam(-1e-3), ValueError, "learning_rate"),
    "beta of 1": (lambda: nc.Adam(beta1=1.0), ValueError, "beta1"),
    "nesterov without momentum": (
        lambda: nc.SGD(0.1, nesterov=True),
        ValueError,
        "nesterov must be False if momentum is 0",
    ),
    "learning rate set to NaN": (
        lambda: setattr(nc.SGD(), "learning_rate", np.nan),
        ValueError,
        "learning_rate",
    ),
    "patience": (lambda: nc.EarlyStopping(0), ValueError, "patience must be at least 1; got 0"),
    "accuracy of no samples": (
        lambda: nc.accuracy([], np.empty((0, 2))),
        ValueError,
        "with at least one row; got",
    ),
    "accuracy of other shapes": (
        lambda: nc.accuracy(np.ones((2, 3)), np.ones((2, 2))),
        ValueError,
        r"got \(2, 3\)",
    ),
    "accuracy of a number": (lambda: nc.accuracy(1, [[1.0]]), ValueError, r"got \(\) and \(1, 1\)"),
    "binary accuracy of no samples": (
        lambda: nc.binary_accuracy([], np.empty((0, 1))),
        ValueError,
        "with at least one row; got",
    ),
    "binary accuracy of other shapes": (
        lambda: nc.binary_accuracy([1, 0, 1], np.ones((3, 2))),
        ValueError,
        "y_true",
    ),
}


@pytest.mark.parametrize("metric", [nc.accuracy, nc.binary_accuracy])
def test_a_prediction_of_nan_is_wrong(metric):
    for row in ([np.nan, 1.0], [0.0, np.nan], [np.nan, np.nan]):
        for truth in np.eye(2):
            assert metric([truth], [row]) < 1
    assert metric([[0, 1]], [[0.0, 1.0]]) == 1


@pytest.mark.parametrize("case", TRAINERS)
def test_trainers(case):
    call, error, message = TRAINERS[case]
    with pytest.raises(error, match=message):
        call()


SEVERAL = {
    "one array": (
        lambda m: m.predict(X),
        TypeError,
        r"x must be a list, tuple or dict of 2 items \(a, b\); got ndarray",
    ),
    "one of two": (lambda m: m.predict([X]), ValueError, r"x must hold 2 items \(a, b\); got 1"),
    "missing name": (
        lambda m: m.predict({"a": X}),
        ValueError,
        "x must have the keys 'a', 'b'; got none for 'b'",
    ),
    "unknown name": (
        lambda m: m.predict({"a": X, "bb": Y}),
        ValueError,
        r"keys of x must be one of a, b; got 'bb' \(did you mean 'b'",
    ),
    "which is wrong": (lambda m: m.predict([X, X]), ValueError, r"x\[1\] must have shape \(B, 2\)"),
    "which is wrong by name": (
        lambda m: m.predict({"a": X, "b": X}),
        ValueError,
        r"x\['b'\] must have shape",
    ),
    "rows that differ": (
        lambda m: m.predict([X, Y[:2]]),
        ValueError,
        "x must have the same number of samples in every input; got a: 4, b: 2",
    ),
}


@pytest.mark.parametrize("case", SEVERAL)
def test_several_inputs(case):
    call, error, message = SEVERAL[case]
    with pytest.raises(error, match=message):
        call(two_in())


@pytest.mark.parametrize("array", ["parameters", "gradients"])
def test_training_on_the_store_itself_is_refused(array):
    model = nc.mlp([3, 3], seed=0)
    trainer, x = nc.Trainer(model, "half_squared_error", "sgd"), getattr(model, array)[:9].reshape(3, 3)
    before = model.parameters.copy()
    calls = (
        lambda: trainer.step(x, X[:3]),
        lambda: trainer.fit(x, X[:3], progress=False),
        lambda: model.loss_and_gradients(x, X[:3], "half_squared_error"),
    )
    for call in calls:
        with pytest.raises(ValueError, match="x must not share memory with the model's parameters"):
            call()
    assert np.array_equal(model.parameters, before)
    trainer.step(x.copy(), X[:3])
    assert trainer.evaluate(x, X[:3])["loss"] >= 0


@pytest.mark.parametrize("use", ["predict", "step", "copy_from", "optimizer"])
def test_a_python_loss_cannot_use_the_model_inside_a_step(use):
    model, other = mlp(), mlp(seed=1)
    uses = {
        "predict": lambda: model.predict(X),
        "step": lambda: trainer.step(X, Y),
        "copy_from": lambda: model.copy_from(other),
        "optimizer": lambda: nc.SGD().step(model),
    }

    def loss(output, y):
        uses[use]()
        return 0.0, output

    trainer = nc.Trainer(model, loss)
    before = model.parameters.copy()
    with pytest.raises(RuntimeError, match="model"):
        trainer.step(X, Y)
    assert np.array_equal(model.parameters, before)
    assert model.predict(X).shape == (4, 2)  # the model is free again
