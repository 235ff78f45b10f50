"""A small trainer with noisy training and validation data, for tests of callbacks."""

from typing import Any

import numpy as np

import nncore as nc

RANDOM = np.random.default_rng(0)
X, XV = RANDOM.standard_normal((40, 4)), RANDOM.standard_normal((40, 4))
Y, YV = X[:, 0] + RANDOM.standard_normal(40), XV[:, 0] + RANDOM.standard_normal(40)


def make(seed: int = 0) -> nc.Trainer:
    return nc.Trainer(nc.mlp([4, 16, 1], seed=seed), "mean_squared_error", nc.Adam(1e-2))


def fit(trainer: nc.Trainer, epochs: int, *callbacks: nc.Callback, progress: Any = False) -> nc.History:
    return trainer.fit(X, Y, epochs=epochs, validation_data=(XV, YV), progress=progress, callbacks=callbacks)
