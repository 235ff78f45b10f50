"""scikit-learn: MLPRegressor and MLPClassifier, step by step through partial_fit."""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from nncore import workloads
from nncore.workloads import Workload

from ..job import Job, Peer, Unsupported, batches, check_training, repeated, sample, versions

ACTIVATIONS = {"relu": "relu", "tanh": "tanh", "sigmoid": "logistic"}


class Training:
    """One estimator with the workload's parameters."""

    def __init__(self, workload: Workload, x: Any, y: Any) -> None:
        if workload.loss == "half_squared_error":
            raise Unsupported("its regressor's last layer has no activation")
        self.workload = workload
        is_regression = workload.loss == "mean_squared_error"
        self.model = (MLPRegressor if is_regression else MLPClassifier)(
            hidden_layer_sizes=workload.sizes[1:-1],
            activation=ACTIVATIONS[workload.activation],
            learning_rate_init=workload.learning_rate,
            alpha=0.0,
            batch_size=workload.batch,
            random_state=0,
        )
        classes = None if is_regression else np.arange(max(2, workload.sizes[-1]))
        self.keywords = {} if is_regression else {"classes": classes}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of rows fewer than the batch
            self.model.partial_fit(x, y, **self.keywords)  # makes the arrays
        self.reset()

    def reset(self) -> None:
        """The parameters of the workload, and an optimizer that has made no step."""
        model, optimizer = self.model, self.model._optimizer
        for arrays, given in zip(
            (model.coefs_, model.intercepts_), workloads.initial_parameters(self.workload), strict=True
        ):
            for array, values in zip(arrays, given, strict=True):
                array[...] = values
        optimizer.t = 0
        for moment in (*optimizer.ms, *optimizer.vs):
            moment[...] = 0
        model.t_ = 0

    def step(self, x: Any, y: Any) -> None:
        """One step; the loss is in model.loss_."""
        self.model.partial_fit(x, y)

    def losses(self, steps: Any) -> Any:
        """As the workload defines them: scikit-learn halves the squares."""
        for x, y in steps:
            self.step(x, y)
            yield self.model.loss_ * (2 if self.workload.loss == "mean_squared_error" else 1)

    def epoch(self, x: Any, y: Any) -> None:
        """One epoch over shuffled rows."""
        order = np.random.default_rng(0).permutation(len(x))
        for start in range(0, len(x), self.workload.batch):
            rows = order[start : start + self.workload.batch]
            self.step(x[rows], y[rows])


def arrays(workload: Workload, rows: int) -> tuple[Any, Any]:
    """The data; classes and single outputs as vectors."""
    x, y = workloads.data(workload, rows)
    if workload.loss == "sigmoid_cross_entropy":
        y = y.astype(np.int64)
    return x, y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y


def epoch(workload: Workload) -> Job:
    """A loop in Python."""
    x, y = arrays(workload, workload.batch * workload.batches)
    steps = batches(workload, x, y)
    training = Training(workload, *steps[0])
    found = check_training(training.losses(steps), lambda: training.model.coefs_)
    return Job(partial(training.epoch, x, y), workload.batches, check=found)


def step(workload: Workload) -> Job:
    """One step on one batch."""
    x, y = arrays(workload, workload.batch)
    training = Training(workload, x, y)
    found = check_training(training.losses([(x, y)] * 3), lambda: training.model.coefs_)
    return Job(partial(training.step, x, y), check=found)


def predict(workload: Workload, rows: int) -> Job:
    """predict, or predict_proba of a classifier."""
    x, y = arrays(workload, max(rows, workload.batch))
    training = Training(workload, x, y)
    model, x = training.model, x[:rows]
    if workload.loss == "mean_squared_error":
        return Job(partial(model.predict, x), check={"outputs": sample(model.predict(x))})
    outputs = model.predict_proba(x)
    found = outputs if workload.loss == "softmax_cross_entropy" else outputs[:, 1]
    return Job(partial(model.predict_proba, x), check={"probabilities": sample(found)})


def peer(variant: str, threads: int) -> Peer:
    """The library."""
    return Peer(
        versions("scikit-learn"),
        {"epoch": epoch, "fit": partial(repeated, epoch), "step": step, "predict": predict},
    )
