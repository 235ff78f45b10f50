"""Callbacks: what happens between the epochs of a fit."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from .._errors import check_flag, check_path, check_size, described, entry, unknown_name
from ..model import Model

if TYPE_CHECKING:
    from numpy.typing import NDArray

Logs: TypeAlias = Mapping[str, float]


class Fitting(Protocol):
    """What the callbacks here ask of a trainer."""

    model: Model

    def stop(self) -> None:
        """Ends the fit after this epoch."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a checkpoint."""


class Callback:
    """Override what is needed. `logs` are the columns of the epoch, as the history has them; at the beginning
    they are those that every epoch will report, still NaN. `trainer` is the nc.Trainer, as which a subclass
    may declare it; `trainer.stop()` ends the fit.

    >>> import nncore as nc
    >>> class Halve(nc.Callback):
    ...     def on_epoch_end(self, trainer, logs):
    ...         trainer.optimizer.learning_rate /= 2
    >>> trainer = nc.Trainer(nc.mlp([1, 1], seed=0), "half_squared_error", nc.SGD(0.1))
    >>> history = trainer.fit([[0.0], [1.0]], [1.0, 3.0], epochs=2, progress=False, callbacks=[Halve()])
    >>> trainer.optimizer.learning_rate
    0.025
    """

    def on_fit_begin(self, trainer: Any, logs: Logs) -> None:
        """Before the first epoch."""

    def on_epoch_end(self, trainer: Any, logs: Logs) -> None:
        """After an epoch, when the history has it."""

    def on_fit_end(self, trainer: Any, logs: Logs) -> None:
        """After the fit, however it ends: by its last epoch, `trainer.stop()`, an error or Ctrl-C."""

    def checkpoint_state(self) -> Mapping[str, NDArray[Any]]:
        """Arrays that a checkpoint keeps, beside the history, for a fit that goes on from it."""
        return {}

    def on_fit_resume(self, trainer: Any, epochs: Sequence[Logs], state: Mapping[str, NDArray[Any]]) -> None:
        """After on_fit_begin, where the fit goes on from a checkpoint that was written during a fit: `epochs`
        are that fit's logs, and `state` is what `checkpoint_state` gave. Callbacks of one class are paired in
        their order.
        """


class Best:
    """The best value of one column so far, and whether a new one beats it."""

    def __init__(self, monitor: str, mode: Literal["auto", "min", "max"]) -> None:
        entry("mode", mode, dict.fromkeys(("auto", "min", "max")))
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be the name of a column; got {described(monitor)}")
        if mode == "auto":
            mode = "min" if monitor.endswith("loss") else "max" if monitor.endswith("accuracy") else "auto"
        self.monitor, self._mode = monitor, mode
        self._sign = 1.0 if mode == "min" else -1.0
        self.value = math.nan

    def begin(self, logs: Logs) -> None:
        """Forgets the past; ValueError where no such column will be reported, or its name does not tell which
        of its values are better.
        """
        if self.monitor not in logs:
            has_validation = any(column.startswith("val_") for column in logs)
            if self.monitor.startswith("val_") and not has_validation:
                raise ValueError(
                    f"monitor must be one of {', '.join(logs)}, as the fit has no validation_data; "
                    f"got {self.monitor!r}"
                )
            raise unknown_name("monitor", self.monitor, logs)
        if self._mode == "auto":
            raise ValueError(
                f"mode must be 'min' or 'max' for {self.monitor!r}, whose better values no name tells; "
                "got 'auto'"
            )
        self.value = math.nan

    def improves(self, logs: Logs) -> bool:
        """Whether this epoch is the best so far; NaN never is."""
        value = logs.get(self.monitor, math.nan)
        better = not math.isnan(value) and not self._sign * value >= self._sign * self.value
        if better:
            self.value = value
        return better


class EarlyStopping(Callback):
    """Ends a fit after `patience` epochs without a better value of `monitor`, a column of the history, and
    by default goes back to the best parameters when the fit ends, by an error or Ctrl-C too (the optimizer's
    moments stay). A fit that goes on from a checkpoint counts on from there.

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
        self.patience = check_size(patience, "patience")
        self.restore_best = check_flag(restore_best, "restore_best")
        self.best = Best(monitor, mode)
        self._waited = 0
        self._kept: dict[str, NDArray[Any]] = {}  # the best parameters

    def on_fit_begin(self, trainer: Fitting, logs: Logs) -> None:
        """Forgets the past."""
        self._waited, self._kept = 0, {}
        self.best.begin(logs)

    def on_epoch_end(self, trainer: Fitting, logs: Logs) -> None:
        """Keeps the best parameters, or counts the epoch and stops."""
        self._count(logs)
        if self._waited == 0 and self.restore_best:
            self._kept = _copies(trainer)
        if self._waited >= self.patience:
            trainer.stop()

    def on_fit_end(self, trainer: Fitting, logs: Logs) -> None:
        """Goes back to the best parameters."""
        if self._kept:
            trainer.model.store.replace(self._kept, trainer.model.segments, trainer.model.names)
        self._kept = {}

    def checkpoint_state(self) -> Mapping[str, NDArray[Any]]:
        """The best parameters."""
        return self._kept

    def on_fit_resume(
        self, trainer: Fitting, epochs: Sequence[Logs], state: Mapping[str, NDArray[Any]]
    ) -> None:
        """Counts the epochs again. Where the best parameters are lost, a new best is looked for."""
        for logs in epochs:
            self._count(logs)
        if self.restore_best and self._waited == 0:
            self._kept = _copies(trainer) if epochs else {}
        elif self.restore_best and state.keys() == trainer.model.named_arrays().keys():
            self._kept = dict(state)
        elif self.restore_best:
            self._waited, self.best.value = 0, math.nan
        if self._waited >= self.patience:
            trainer.stop()

    def _count(self, logs: Logs) -> None:
        self._waited = 0 if self.best.improves(logs) else self._waited + 1


class Checkpoint(Callback):
    """Saves the trainer after every epoch whose `monitor` is the best of the fit; None: after every epoch.
    A fit that goes on from a checkpoint does not replace the file of a better epoch before that.

    The file holds the model, which `nncore.load` reads, and what `Trainer.restore` needs to go on.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        monitor: str | None = "val_loss",
        *,
        mode: Literal["auto", "min", "max"] = "auto",
    ) -> None:
        check_path(path)
        self.path = path
        self.best = None if monitor is None else Best(monitor, mode)

    def on_fit_begin(self, trainer: Fitting, logs: Logs) -> None:
        """Forgets the past."""
        if self.best is not None:
            self.best.begin(logs)

    def on_epoch_end(self, trainer: Fitting, logs: Logs) -> None:
        """Saves."""
        if self.best is None or self.best.improves(logs):
            trainer.save(self.path)

    def on_fit_resume(
        self, trainer: Fitting, epochs: Sequence[Logs], state: Mapping[str, NDArray[Any]]
    ) -> None:
        """Looks for the best among the epochs before."""
        if self.best is not None:
            for logs in epochs:
                self.best.improves(logs)


def keyed(callbacks: Iterable[Callback]) -> dict[str, Callback]:
    """Callbacks by class and number among those of the class: "EarlyStopping.0"."""
    keys: dict[str, Callback] = {}
    counts: Counter[str] = Counter()
    for callback in callbacks:
        kind = type(callback).__name__
        keys[f"{kind}.{counts[kind]}"] = callback
        counts[kind] += 1
    return keys


def _copies(trainer: Fitting) -> dict[str, NDArray[Any]]:
    return {name: view.copy() for name, view in trainer.model.named_arrays().items()}
