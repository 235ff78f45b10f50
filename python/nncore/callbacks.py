"""Callbacks: what happens between the epochs of a fit."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from .registry import unknown_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .trainer import Trainer

Logs: TypeAlias = Mapping[str, float]


class Callback:
    """Override what is needed. `logs` are the columns of the epoch, as the history has them; at the beginning
    they are those that every epoch will report, still NaN. `trainer.stop()` ends the fit.

    >>> import nncore as nc
    >>> class Halve(nc.Callback):
    ...     def on_epoch_end(self, trainer, logs):
    ...         trainer.optimizer.learning_rate /= 2
    >>> trainer = nc.Trainer(nc.mlp([1, 1], seed=0), "half_squared_error", nc.SGD(0.1))
    >>> history = trainer.fit([[0.0], [1.0]], [1.0, 3.0], epochs=2, progress=False, callbacks=[Halve()])
    >>> trainer.optimizer.learning_rate
    0.025
    """

    def on_fit_begin(self, trainer: Trainer, logs: Logs) -> None:
        """Before the first epoch."""

    def on_epoch_end(self, trainer: Trainer, logs: Logs) -> None:
        """After an epoch, when the history has it."""

    def on_fit_end(self, trainer: Trainer, logs: Logs) -> None:
        """After the last epoch; not after an error or Ctrl-C."""


class Best:
    """The best value of one column so far, and whether a new one beats it."""

    def __init__(self, monitor: str, mode: Literal["auto", "min", "max"]) -> None:
        if mode not in ("auto", "min", "max"):
            raise unknown_name("mode", mode, ("auto", "min", "max"))
        if mode == "auto":
            mode = "min" if monitor.endswith("loss") else "max" if monitor.endswith("accuracy") else "auto"
        if mode == "auto":
            raise ValueError(f"mode must say whether {monitor!r} is better low ('min') or high ('max')")
        self.monitor = monitor
        self._sign = 1.0 if mode == "min" else -1.0
        self.value = math.nan

    def begin(self, logs: Logs) -> None:
        """Forgets the past; ValueError where no such column will be reported."""
        if self.monitor not in logs:
            raise unknown_name("column to monitor", self.monitor, logs)
        self.value = math.nan

    def improves(self, logs: Logs) -> bool:
        """Whether this epoch is the best so far; NaN never is."""
        value = logs[self.monitor]
        better = not math.isnan(value) and not self._sign * value >= self._sign * self.value
        if better:
            self.value = value
        return better


class EarlyStopping(Callback):
    """Ends a fit after `patience` epochs without a better value of `monitor`, a column of the history, and
    by default goes back to the best parameters when the fit ends (the optimizer's moments stay).

    `mode`: "min" or "max" say which values are better; "auto" knows it for losses and accuracies.
    """

    def __init__(
        self,
        patience: int,
        monitor: str = "val_loss",
        restore_best: bool = True,
        *,
        mode: Literal["auto", "min", "max"] = "auto",
    ) -> None:
        if patience < 1:
            raise ValueError(f"patience must be at least 1; given {patience}")
        self.patience = patience
        self.restore_best = restore_best
        self.best = Best(monitor, mode)
        self._waited = 0
        self._kept: list[NDArray[Any]] = []

    def on_fit_begin(self, trainer: Trainer, logs: Logs) -> None:
        """Forgets the past."""
        self.best.begin(logs)
        self._waited, self._kept = 0, []

    def on_epoch_end(self, trainer: Trainer, logs: Logs) -> None:
        """Keeps the best parameters, or counts the epoch and stops."""
        if self.best.improves(logs):
            self._waited = 0
            if self.restore_best:
                self._kept = [view.copy() for view in trainer.model.named_parameters().values()]
            return
        self._waited += 1
        if self._waited >= self.patience:
            trainer.stop()

    def on_fit_end(self, trainer: Trainer, logs: Logs) -> None:
        """Goes back to the best parameters."""
        if self._kept and self._waited:
            for view, best in zip(trainer.model.named_parameters().values(), self._kept, strict=True):
                view[...] = best
        self._kept = []


class Checkpoint(Callback):
    """Saves the trainer after every epoch whose `monitor` is the best of the fit; None: after every epoch.

    The file holds the model, which `nncore.load` reads, and what `Trainer.restore` needs to go on.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str | None = "val_loss",
        *,
        mode: Literal["auto", "min", "max"] = "auto",
    ) -> None:
        self.path = path
        self.best = None if monitor is None else Best(monitor, mode)

    def on_fit_begin(self, trainer: Trainer, logs: Logs) -> None:
        """Forgets the past."""
        if self.best is not None:
            self.best.begin(logs)

    def on_epoch_end(self, trainer: Trainer, logs: Logs) -> None:
        """Saves."""
        if self.best is None or self.best.improves(logs):
            trainer.save(self.path)
