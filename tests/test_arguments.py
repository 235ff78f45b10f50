"""Every argument of every public call, given things of every other kind: an error in our own words that names
the argument, or what the call is for; and nothing has changed.
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


#: Made for each call: a generator can be used once.
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


#: What makes a call with some arguments of its own, and where the others are described.
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
#: Words of Python, NumPy and pybind11 about what goes wrong inside.
FOREIGN = re.compile(
    "incompatible|argument of type|object is not|has no attribute|unsupported operand|not supported between|"
    "can't|could not|unhashable|too large to convert|Python int|ambiguous|subscriptable|iterable|unpack"
)
#: Numbers that are too large, or none, among data that are of the right kind.
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
            assert " must " in text or "is " in text, f"{kind}: {text}"
            assert argument.rstrip("s") in text or argument in ("loss", "pooled"), f"{kind}: {text}"
            assert not FOREIGN.search(text.split(" must ")[0]), f"{kind}: {text}"
    assert refused > 8
