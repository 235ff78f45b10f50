"""Callbacks, which act between the epochs of a fit."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

from .._errors import check_flag, check_path, check_size, described, entry, unknown_name
from ..model import Model
from .history import History

if TYPE_CHECKING:
    from numpy.typing import NDArray

Logs: TypeAlias = Mapping[str, float]


class Fitting(Protocol):
    """The interface that the callbacks here need of a trainer."""

    model: Model
    history: History

    @property
    def steps(self) -> int:
        """The number of steps made with the optimizer."""

    def say(self, text: str) -> None:
        """Shows a line of text with the fit's progress."""

    def stop(self) -> None:
        """Ends the fit after this epoch."""

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a checkpoint."""


class Callback:
    """Base class of callbacks. Override the methods that you need.

    `trainer` is the nc.Trainer; a subclass may annotate it so. `trainer.stop()` ends the fit. `logs` is a
    dict of the epoch's columns, as in the history. Before the first epoch it has the columns that every epoch
    will report, with NaN as values.

    >>> import nncore as nc
    >>> class Halve(nc.Callback):
    ...     def on_epoch_end(self, trainer, logs):
    ...         trainer.optimizer.learning_rate /= 2
    >>> trainer = nc.Trainer(nc.mlp([1, 1], seed=0), "half_squared_error", nc.SGD(0.1))
    >>> history = trainer.fit([[0.0], [1.0]], [1.0, 3.0], epochs=2, progress=False, callbacks=[Halve()])
    >>> trainer.optimizer.learning_rate
    0.025
    """

    own_attributes: ClassVar[frozenset[str]] = frozenset()  # attributes covered by a library class's `state`

    def on_fit_begin(self, trainer: Any, logs: Logs) -> None:
        """Called before the first epoch."""

    def on_epoch_end(self, trainer: Any, logs: Logs) -> None:
        """Called after each epoch, once the history includes it."""

    def on_fit_end(self, trainer: Any, logs: Logs) -> None:
        """Called after the fit, whether it ends with its last epoch, `trainer.stop()`, an error or Ctrl-C."""

    def state(self) -> Mapping[str, Any]:
        """Returns what a checkpoint keeps of the callback, so that a fit can resume from it.

        It is a dict of numbers, strings, None, lists, tuples, dicts and NumPy arrays of numbers. A callback
        that changes during a fit needs `state` and `load_state`; without them, resuming a fit with it raises
        ValueError. A callback that calls `trainer.save` must update itself before the call.
        """
        return {}

    def load_state(self, state: Any) -> None:
        """Restores what `state` returned.

        It is called after `on_fit_begin` in a fit that resumes another one from a checkpoint. Callbacks of
        the same class are matched in their order.
        """


class Best:
    """Tracks the best value of one column of the history."""

    def __init__(self, monitor: str, mode: Literal["auto", "min", "max"]) -> None:
        entry("mode", mode, dict.fromkeys(("auto", "min", "max")))
        if not isinstance(monitor, str):
            raise TypeError(f"monitor must be the name of a column; got {described(monitor)}")
        if mode == "auto":
            mode = "min" if monitor.endswith("loss") else "max" if monitor.endswith("accuracy") else "auto"
        self.monitor, self._mode = monitor, mode
        self._sign = 1.0 if mode == "min" else -1.0
        self.value = math.nan
        self._life: object | None = None  # identifies the history that the value is from

    def begin(self, trainer: Fitting, logs: Logs) -> bool:
        """Prepares for a fit. Returns whether it continues the history of the previous fit.

        Raises ValueError if the fit will not report the column, or if `mode` is "auto" and the column's name
        does not say which values are better.
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
                f"mode must be 'min' or 'max' for {self.monitor!r}, as its name does not say which values "
                "are better; got 'auto'"
            )
        continues = self._life is trainer.history.life
        if not continues:
            self.value, self._life = math.nan, trainer.history.life
        return continues

    def improves(self, logs: Logs) -> bool:
        """Whether this epoch is the best so far. If so, keeps its value. NaN is never the best."""
        value = logs.get(self.monitor, math.nan)
        better = not math.isnan(value) and not self._sign * value >= self._sign * self.value
        if better:
            self.value = value
        return better

    def state(self) -> dict[str, Any]:
        """The value, and the column and mode that it belongs to."""
        return {"monitor": self.monitor, "sign": self._sign, "value": self.value}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restores the value. Raises ValueError if it belongs to another column or mode."""
        if (state["monitor"], state["sign"]) != (self.monitor, self._sign):
            raise ValueError(
                f"monitor and mode must be {state['monitor']!r} and {_mode(state['sign'])!r}, as in the "
                f"resumed fit; got {self.monitor!r} and {_mode(self._sign)!r}. Callbacks of the same class "
                "must keep their order"
            )
        self.value = float(state["value"])


class EarlyStopping(Callback):
    """Ends a fit after `patience` epochs without a better value of `monitor`, a column of the history.

    By default it then restores the best parameters and state, even if the fit ends with an error or Ctrl-C.
    The optimizer's moments are not restored. The progress display reports the restored epoch. `best_epoch` is
    its number, counted from 1 over all fits of the trainer.

    Epochs with a value of NaN are not counted. The best value, the number of epochs without a better one and
    the best parameters carry over to the next fit of the same trainer, and to one resumed from a checkpoint.
    A fit that follows a stopped one makes at least one epoch, and continues if that epoch is better.

    `mode` is "min", "max" or "auto": whether lower or higher values are better. "auto" recognizes losses and
    accuracies.
    """

    own_attributes = frozenset(
        ("patience", "restore_best", "best", "best_epoch", "_waited", "_kept", "_steps", "_arrays")
    )

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
        self.best_epoch: int | None = None
        self._waited = 0
        self._kept: dict[str, NDArray[Any]] = {}  # the best parameters and state
        self._steps: int | None = None  # the number of steps before the fit
        self._arrays: dict[str, tuple[Any, ...]] = {}  # shapes and dtypes of the model's arrays

    def on_fit_begin(self, trainer: Fitting, logs: Logs) -> None:
        """Starts anew unless the fit continues the history of the previous one."""
        if not self.best.begin(trainer, logs):
            self._forget()
        self._steps = trainer.steps
        arrays = trainer.model.named_arrays()
        self._arrays = {name: (view.shape, view.dtype) for name, view in arrays.items()}

    def on_epoch_end(self, trainer: Fitting, logs: Logs) -> None:
        """Keeps the parameters of the best epoch, or counts the epoch and stops if there were too many."""
        if self.best.improves(logs):
            self._waited, self.best_epoch = 0, trainer.history.epochs
            self._kept = _copies(trainer) if self.restore_best else {}
        elif not math.isnan(logs.get(self.best.monitor, math.nan)):
            self._waited += 1
            if self._waited >= self.patience:
                trainer.stop()

    def on_fit_end(self, trainer: Fitting, logs: Logs) -> None:
        """Restores the best parameters, unless no step was made."""
        if not self._kept or not self.restore_best or self._steps == trainer.steps:
            return
        trainer.model.store.replace(self._kept, trainer.model.segments, trainer.model.names)
        trainer.say(
            f"EarlyStopping restored epoch {self.best_epoch}, {self.best.monitor} {self.best.value:.4g}"
        )

    def state(self) -> Mapping[str, Any]:
        """The best value, its epoch and parameters, and the number of epochs since."""
        best = self.best.state()
        return {"best": best, "best_epoch": self.best_epoch, "waited": self._waited, "kept": self._kept}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restores them. If the best parameters are needed but were not kept, the search starts anew."""
        kept = dict(state["kept"])
        arrays = {name: (array.shape, array.dtype) for name, array in kept.items()}
        if arrays and arrays != self._arrays:
            raise ValueError(f"kept must be arrays of the model; got {', '.join(arrays)}")
        self.best.load_state(state["best"])
        self.best_epoch, self._waited, self._kept = state["best_epoch"], int(state["waited"]), kept
        self._steps = None
        if self.restore_best and not kept:
            self._forget()

    def _forget(self) -> None:
        self.best.value = math.nan
        self.best_epoch, self._waited, self._kept = None, 0, {}


class Checkpoint(Callback):
    """Saves the trainer after every epoch with the best value of `monitor` so far, a column of the history.

    If `monitor` is None, it saves after every epoch. The best value carries over to the next fit of the same
    trainer, and to one resumed from a checkpoint, so a worse epoch never replaces the file of a better one.
    `mode` is as for EarlyStopping.

    The file holds the model, for `nncore.load`, and the rest of the trainer, for `Trainer.restore`.
    """

    own_attributes = frozenset(("path", "best"))

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
        """Starts anew unless the fit continues the history of the previous one."""
        if self.best is not None:
            self.best.begin(trainer, logs)

    def on_epoch_end(self, trainer: Fitting, logs: Logs) -> None:
        """Saves the trainer if the epoch is the best so far."""
        if self.best is None or self.best.improves(logs):
            trainer.save(self.path)

    def state(self) -> Mapping[str, Any]:
        """The best value."""
        return {"best": None if self.best is None else self.best.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restores it. Raises ValueError if it belongs to another column or mode."""
        if (self.best is None) != (state["best"] is None):
            raise ValueError(
                f"monitor must be {state['best'] and state['best']['monitor']!r}, as in the resumed fit; "
                f"got {self.best and self.best.monitor!r}. Callbacks of the same class must keep their order"
            )
        if self.best is not None:
            self.best.load_state(state["best"])


def _mode(sign: float) -> str:
    return "min" if sign > 0 else "max"


def _copies(trainer: Fitting) -> dict[str, NDArray[Any]]:
    return {name: view.copy() for name, view in trainer.model.named_arrays().items()}
