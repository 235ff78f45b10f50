"""Passes objects of every wrong kind as every argument of every public call. Each must raise an error in our
own words that names the argument or the purpose of the call, and must change nothing.
"""

import inspect
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nncore as nc

X, Y, LABELS = np.ones((4, 3)), np.ones((4, 2)), np.array([0, 1, 1, 0])


class Own:
    pass


#: Factories, because a generator can be used only once.
WRONG: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "text": lambda: "abc",
    "digits": lambda: "3",
    "no text": lambda: "",
    "NumPy's text": lambda: np.str_("x"),
    "text of no dimensions": lambda: np.array("x"),
    "bytes": lambda: b"3",
    "a null character": lambda: "a\0b",
    "a surrogate": lambda: "\ud800",
    "a class": lambda: int,
    "a class of this library": lambda: nc.Dense,
    "a class of losses": lambda: nc.CrossEntropy,
    "a class of its own": lambda: Own,
    "an object": Own,
    "a layer": lambda: nc.Dense(2, 2),
    "a module": lambda: np,
    "a function": lambda: lambda *arguments: 0,
    "an ellipsis": lambda: ...,
    "-1": lambda: -1,
    "0.5": lambda: 0.5,
    "2^63": lambda: 2**63,
    "2^70": lambda: 2**70,
    "-2^70": lambda: -(2**70),
    "10^400": lambda: 10**400,
    "NaN": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "a complex number": lambda: 1j,
    "a list": lambda: [1, 2],
    "an empty list": list,
    "a list of lists": lambda: [[1]],
    "a dict": lambda: {"a": 1},
    "an empty dict": dict,
    "a set": lambda: {1},
    "an array": lambda: np.ones(3),
    "a table": lambda: np.ones((2, 2)),
    "a generator": lambda: (i for i in range(2)),
}


def mlp(**options: Any) -> nc.Model:
    return nc.mlp([3, 4, 2], "tanh", seed=0, **options)


def trainer(**options: Any) -> nc.Trainer:
    return nc.Trainer(**{"model": mlp(), "loss": "mean_squared_error", **options})


def model(**options: Any) -> nc.Model:
    x = nc.Input(2)
    return nc.Model(**{"inputs": x, "outputs": nc.Dense(2, 2)(x), **options})


def backward(**options: Any) -> object:
    forward = mlp()
    forward.forward(X)
    return forward.backward(**{"grad_output": Y, **options})


def tangent(**options: Any) -> object:
    x = nc.Input(2)
    return nc.jvp(**{"output": nc.Tanh()(x), "inputs": x, "tangents": nc.Input(2), **options})


def stopped(**options: Any) -> object:
    stopping = nc.EarlyStopping(**{"patience": 1, "monitor": "loss", **options})
    return trainer().fit(X, Y, progress=False, callbacks=[stopping])


#: For each call a function that supplies default arguments, and the callable whose signature lists the rest.
CALLS: dict[str, tuple[Callable[..., object], Callable[..., object]]] = {
    "mlp": (lambda **k: nc.mlp(**{"sizes": [3, 2], **k}), nc.mlp),
    "Input": (lambda **k: nc.Input(**{"features": 2, **k}), nc.Input),
    "Dense": (lambda **k: nc.Dense(**{"in_features": 2, "out_features": 2, **k}), nc.Dense),
    "TransposedDense": (
        lambda **k: nc.TransposedDense(**{"source": nc.Dense(2, 2), **k}),
        nc.TransposedDense,
    ),
    "Dropout": (nc.Dropout, nc.Dropout),
    "Embedding": (
        lambda **k: nc.Embedding(**{"num_embeddings": 3, "embedding_dim": 2, **k}),
        nc.Embedding,
    ),
    "LayerNorm": (lambda **k: nc.LayerNorm(**{"normalized_shape": 3, **k}), nc.LayerNorm),
    "BatchNorm": (lambda **k: nc.BatchNorm(**{"num_features": 3, **k}), nc.BatchNorm),
    "PReLU": (nc.PReLU, nc.PReLU),
    "LeakyReLU": (nc.LeakyReLU, nc.LeakyReLU),
    "GELU": (nc.GELU, nc.GELU),
    "Concatenate": (nc.Concatenate, nc.Concatenate),
    "Model": (model, nc.Model),
    "Trainer": (trainer, nc.Trainer),
    "fit": (lambda **k: trainer().fit(**{"x": X, "y": Y, "progress": False, **k}), nc.Trainer.fit),
    "step": (lambda **k: trainer().step(**{"x": X, "y": Y, **k}), nc.Trainer.step),
    "evaluate": (lambda **k: trainer().evaluate(**{"x": X, "y": Y, **k}), nc.Trainer.evaluate),
    "Trainer.save": (lambda **k: trainer().save(**k), nc.Trainer.save),
    "restore": (lambda **k: trainer().restore(**k), nc.Trainer.restore),
    "predict": (lambda **k: mlp().predict(**{"x": X, **k}), nc.Model.predict),
    "forward": (lambda **k: mlp().forward(**{"x": X, **k}), nc.Model.forward),
    "backward": (backward, nc.Model.backward),
    "loss_and_gradients": (
        lambda **k: mlp().loss_and_gradients(**{"x": X, "y": Y, "loss": "mse", **k}),
        nc.Model.loss_and_gradients,
    ),
    "copy": (lambda **k: mlp().copy(**k), nc.Model.copy),
    "copy_from": (lambda **k: mlp().copy_from(**k), nc.Model.copy_from),
    "soft_update": (
        lambda **k: mlp().soft_update(**{"other": mlp(), "fraction": 0.5, **k}),
        nc.Model.soft_update,
    ),
    "Model.save": (lambda **k: mlp().save(**{"path": "model", **k}), nc.Model.save),
    "save": (lambda **k: nc.save(**{"model": mlp(), "path": "model", **k}), nc.save),
    "load": (nc.load, nc.load),
    "check_gradients": (
        lambda **k: nc.check_gradients(**{"model": mlp(dtype="f8"), "x": X, "y": Y, "loss": "mse", **k}),
        nc.check_gradients,
    ),
    "jvp": (tangent, nc.jvp),
    "accuracy": (lambda **k: nc.accuracy(**{"y_true": LABELS, "y_pred": Y, **k}), nc.accuracy),
    "binary_accuracy": (
        lambda **k: nc.binary_accuracy(**{"y_true": Y, "y_pred": Y, **k}),
        nc.binary_accuracy,
    ),
    "cosine_decay": (lambda **k: nc.cosine_decay(**{"total_steps": 9, **k}), nc.cosine_decay),
    "EarlyStopping": (stopped, nc.EarlyStopping),
    "Checkpoint": (lambda **k: nc.Checkpoint(**{"path": "model", **k}), nc.Checkpoint),
    "Huber": (nc.Huber, nc.Huber),
    "Sequential": (
        lambda layers=None, **k: nc.Sequential([nc.Dense(2, 2)] if layers is None else layers, **k),
        nc.Sequential,
    ),
    "set_num_threads": (nc.set_num_threads, nc.set_num_threads),
    "clip_by_global_norm": (nc.clip_by_global_norm, nc.clip_by_global_norm),
    "clip_by_value": (nc.clip_by_value, nc.clip_by_value),
    "moving_average": (nc.moving_average, nc.moving_average),
    "Constant": (lambda **k: nc.Constant(**{"value": 1.0, **k}), nc.Constant),
    "Normal": (nc.Normal, nc.Normal),
    **{
        kind: (getattr(nc, kind), getattr(nc, kind))
        for kind in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adamax")
    },
}
ARGUMENTS = [
    (call, name)
    for call, (_, described) in CALLS.items()
    for name, parameter in inspect.signature(described).parameters.items()
    if name not in ("self", "_names") and parameter.kind is not parameter.VAR_POSITIONAL
]
#: Words that indicate internal errors of Python, NumPy or pybind11.
FOREIGN = re.compile(
    "incompatible|argument of type|object is not|has no attribute|unsupported operand|not supported between|"
    "can't|could not|unhashable|too large to convert|Python int|ambiguous|subscriptable|iterable|unpack"
)
#: How messages call an argument, if not by its name.
NAMES_IN_MESSAGES = {"validation_data": "validation", "outputs": "output"}
#: Errors about values, such as overflow or NaN, in data of the right kind.
ABOUT_VALUES = FloatingPointError, OSError


@pytest.mark.parametrize(("call", "argument"), ARGUMENTS)
def test_arguments_of_other_kinds(call: str, argument: str, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    refused = 0
    for kind, make in WRONG.items():
        try:
            CALLS[call][0](**{argument: make()})
        except ABOUT_VALUES:
            continue
        except (TypeError, ValueError) as error:
            refused += 1
            text = str(error)
            wanted = re.search(" must ", text)
            assert wanted, f"{kind}: {text}"
            assert NAMES_IN_MESSAGES.get(argument, argument.rstrip("s")) in text, f"{kind}: {text}"
            assert not FOREIGN.search(text[: wanted.start()]), f"{kind}: {text}"
    assert refused > 8


def test_every_public_call_has_its_row() -> None:
    described = {getattr(described, "__name__", "") for _, described in CALLS.values()}
    families = nc.Layer, nc.Loss, nc.Initializer, nc.Optimizer  # generated from the core's entries
    others = {"num_threads", "show_config", "Value", "Callback", "GradientCheck", "History"}
    for name in nc.__all__:
        public = getattr(nc, name)
        is_of_a_family = isinstance(public, type) and issubclass(public, families)
        assert not callable(public) or is_of_a_family or name in described | others, name


#: Calls for which pybind11 alone would list its signatures.
COUNTS = {
    "num_threads": lambda: nc.num_threads(2),
    "show_config": lambda: nc.show_config("all"),
    "set_num_threads": lambda: nc.set_num_threads(),
    "set_num_threads by another name": lambda: nc.set_num_threads(threads=1),
    "clip_by_value": lambda: nc.clip_by_value(-1.0, 1.0),
    "moving_average": lambda: nc.moving_average(),
    "a function": lambda: nc.functional.tanh(X, X),
}


@pytest.mark.parametrize("case", COUNTS)
def test_arguments_that_are_missing_or_too_many(case: str) -> None:
    with pytest.raises(
        TypeError, match=r"^(positional arguments must be at most|argument '\w+' is (missing|unknown))"
    ):
        COUNTS[case]()


ITEMS: dict[str, tuple[Callable[[Any], object], str]] = {
    "size": (lambda item: nc.mlp([3, item]), "sizes"),
    "layer": (lambda item: nc.Sequential(nc.Dense(2, 2), item), "layers"),
    "input": (lambda item: nc.Model([item], nc.Input(2)), "inputs"),
    "callback": (lambda item: trainer().fit(X, Y, progress=False, callbacks=[item]), "callbacks"),
    "transform": (lambda item: setattr(nc.Adam(), "transforms", [item]), "transforms"),
    "schedule": (lambda item: setattr(nc.Adam(), "schedule", item), "schedule"),
    "learning rate": (lambda item: setattr(nc.Adam(), "learning_rate", item), "learning_rate"),
    "hyperparameter": (lambda item: nc.Adam().changes_to({"beta1": item}), "beta1"),
    "store": (lambda item: nc.Adam().state(item), "store"),
    "trained model": (lambda item: nc.Adam().step(item), "model"),
    "weight": (lambda item: setattr(mlp()[0], "weight", item), "weight"),
    "parameters": (lambda item: setattr(mlp(), "parameters", item), "parameters"),
    "trainable": (lambda item: setattr(mlp()[0], "trainable", item), "trainable"),
    "feature names": (lambda item: setattr(mlp(), "feature_names", item), "feature_names"),
    "place of a layer": (lambda item: mlp()[item], "layer"),
    "metric": (lambda item: trainer(metrics=[item]), "metric"),
    "metrics by name": (lambda item: trainer(metrics={"2": item}), "metric"),
    "weight of a loss": (lambda item: trainer(loss_weights=[item]), "loss_weight"),
    "loss by place": (lambda item: trainer(loss=[item]), "loss"),
    "delta by output": (lambda item: nc.Huber([item]), "delta"),
    "answer of a loss": (lambda item: trainer(loss=lambda output, y: item).step(X, Y), "loss"),
    "value of a loss": (lambda item: trainer(loss=lambda output, y: (item, output)).step(X, Y), "loss"),
    "gradient of a loss": (lambda item: trainer(loss=lambda output, y: (0.0, item)).step(X, Y), "loss"),
    "answer of a metric": (lambda item: trainer(metrics=[lambda y, z: item]).evaluate(X, Y), "metric"),
    "answer of a schedule": (
        lambda item: trainer(optimizer=nc.SGD(0.1, schedule=lambda step: item)).step(X, Y),
        "schedule|factor",
    ),
    "answer of a transform": (
        lambda item: trainer(optimizer=nc.SGD(0.1, transforms=[lambda gradients: item])).step(X, Y),
        "transform",
    ),
    "row of a history": (lambda item: trainer().history.append(item), "row"),
    "accumulate of a function": (
        lambda item: nc.functional.tanh_backward(X, X, out=X.copy(), accumulate=item),
        "accumulate",
    ),
    "slope of a function": (lambda item: nc.functional.leaky_relu(X, negative_slope=item), "negative_slope"),
    "approximation of a function": (lambda item: nc.functional.gelu(X, approximate=item), "approximate"),
    "activation of a function": (
        lambda item: nc.functional.dense_forward(X, X, activation=item),
        "activation",
    ),
    "reduction of a function": (
        lambda item: nc.functional.mean_squared_error(X, X, reduction=item),
        "reduction",
    ),
}


@pytest.mark.parametrize("case", ITEMS)
def test_items_attributes_and_answers_of_other_kinds(case: str) -> None:
    call, name = ITEMS[case]
    refused = 0
    for kind, make in WRONG.items():
        try:
            call(make())
        except FloatingPointError:
            continue
        except (TypeError, ValueError, IndexError) as error:
            refused += 1
            text = str(error)
            assert " must " in text, f"{kind}: {text}"
            assert re.search(name, text), f"{kind}: {text}"
    assert refused > 8
