"""scikit-learn: MLPRegressor and MLPClassifier, with fit, and step by step with partial_fit."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from nncore._cli import workloads
from nncore._cli.workloads import Workload

from ..job import CHECKED_STEPS, Job, Peer, Unsupported, batches, check_training, sample, versions

ACTIVATIONS = {"relu": "relu", "tanh": "tanh", "sigmoid": "logistic"}


@contextmanager
def silent() -> Iterator[None]:
    """Suppresses warnings about small batches and about fits that have not converged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Training:
    """An estimator with the workload's initial parameters."""

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
            random_state=np.random.RandomState(0),  # a new order in each epoch
        )
        classes = None if is_regression else np.arange(max(2, workload.sizes[-1]))
        self.keywords = {} if is_regression else {"classes": classes}
        with silent():
            self.model.partial_fit(x, y, **self.keywords)  # allocates the arrays
        self.reset()

    def reset(self) -> None:
        """Resets the parameters to the workload's and the optimizer to its initial state."""
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
        """Makes one step; model.loss_ holds the loss."""
        self.model.partial_fit(x, y)

    def losses(self, steps: Any) -> Any:
        """Makes the steps and yields the loss of each."""
        for x, y in steps:
            self.step(x, y)
            yield self.loss

    @property
    def loss(self) -> float:
        """The loss of the last step or epoch as the workload defines it; scikit-learn halves the squares."""
        return float(self.model.loss_) * (2 if self.workload.loss == "mean_squared_error" else 1)

    def fit(self, x: Any, y: Any, epochs: int, *, shuffle: bool = True) -> float:
        """Trains in one call of the library's fit and returns the last epoch's mean loss.

        Starts from the current parameters, but with new moments of Adam.
        """
        endless = {"n_iter_no_change": np.inf}  # prevents early stopping
        self.model.set_params(warm_start=True, max_iter=epochs, shuffle=shuffle, **endless)
        self.model.fit(x, y)
        return self.loss


def arrays(workload: Workload, rows: int) -> tuple[Any, Any]:
    """The data, with classes and single outputs as vectors."""
    x, y = workloads.data(workload, rows)
    if workload.loss == "sigmoid_cross_entropy":
        y = y.astype(np.int64)
    return x, y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y


def epoch(workload: Workload) -> Job:
    """The library's own loop: fit for one epoch, shuffled. Checks the first loss and an unshuffled fit."""
    x, y = arrays(workload, workload.batch * workload.batches)
    steps, checked = batches(workload, x, y), CHECKED_STEPS * workload.batch
    training = Training(workload, *steps[0])
    with silent():
        first_loss = next(training.losses(steps))
        training.reset()
        once = (training.fit(x[:checked], y[:checked], 1, shuffle=False) for _ in range(1))  # lazy
        found = check_training(once, lambda: training.model.coefs_)
        run = partial(training.fit, x, y, 1)
        found |= {"losses": [first_loss], "epoch loss": [run()]}
    return Job(run, workload.batches, around=silent, check=found)


def fit(workload: Workload, epochs: int) -> Job:
    """One call of fit for several epochs."""
    x, y = arrays(workload, workload.batch * workload.batches)
    training = Training(workload, x[: workload.batch], y[: workload.batch])
    return Job(partial(training.fit, x, y, epochs), workload.batches * epochs, around=silent)


def step(workload: Workload) -> Job:
    """One step on one batch."""
    x, y = arrays(workload, workload.batch)
    training = Training(workload, x, y)
    found = check_training(training.losses([(x, y)] * 3), lambda: training.model.coefs_)
    return Job(partial(training.step, x, y), check=found)


def predict(workload: Workload, rows: int) -> Job:
    """predict, or predict_proba for classifiers."""
    x, y = arrays(workload, max(rows, workload.batch))
    training = Training(workload, x, y)
    model, x = training.model, x[:rows]
    if workload.loss == "mean_squared_error":
        return Job(partial(model.predict, x), check={"outputs": sample(model.predict(x))})
    outputs = model.predict_proba(x)
    found = outputs if workload.loss == "softmax_cross_entropy" else outputs[:, 1]
    return Job(partial(model.predict_proba, x), check={"probabilities": sample(found)})


def peer(variant: str, threads: int) -> Peer:
    """scikit-learn."""
    return Peer(
        versions("scikit-learn"),
        {"epoch": epoch, "fit": fit, "step": step, "predict": predict},
    )
