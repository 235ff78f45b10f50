"""Callbacks: what happens between the epochs of a fit."""

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
    """What the callbacks here ask of a trainer."""

    model: Model
    history: History

    @property
    def steps(self) -> int:
        """How many were made with the optimizer."""

    def say(self, text: str) -> None:
        """Shows a line with the fit's progress."""

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

    own_attributes: ClassVar[frozenset[str]] = frozenset()  # that a class of the library keeps in `state`

    def on_fit_begin(self, trainer: Any, logs: Logs) -> None:
        """Before the first epoch."""

    def on_epoch_end(self, trainer: Any, logs: Logs) -> None:
        """After an epoch, when the history has it."""

    def on_fit_end(self, trainer: Any, logs: Logs) -> None:
        """After the fit, however it ends: by its last epoch, `trainer.stop()`, an error or Ctrl-C."""

    def state(self) -> Mapping[str, Any]:
        """What a checkpoint keeps for a fit that goes on from it: a dict of numbers, strings, None, lists,
        tuples, dicts and NumPy arrays of numbers.

        A callback that changes during a fit needs this and `load_state`. Without them, a fit that goes on
        with it is a ValueError that names it. A callback that calls `trainer.save` changes before.
        """
        return {}

    def load_state(self, state: Any) -> None:
        """Takes over what `state` gave: after on_fit_begin, where the fit goes on from a checkpoint that was
        written during a fit. Callbacks of one class are paired in their order.
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
        self._life: object | None = None  # of the history that the value is from

    def begin(self, trainer: Fitting, logs: Logs) -> bool:
        """Whether this fit adds to a history that was seen before. ValueError where no such column will be
        reported, or its name does not tell which of its values are better.
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
        goes_on = self._life is trainer.history.life
        if not goes_on:
            self.value, self._life = math.nan, trainer.history.life
        return goes_on

    def improves(self, logs: Logs) -> bool:
        """Whether this epoch is the best so far; NaN never is."""
        value = logs.get(self.monitor, math.nan)
        better = not math.isnan(value) and not self._sign * value >= self._sign * self.value
        if better:
            self.value = value
        return better

    def state(self) -> dict[str, Any]:
        """The value, and what it is the best of."""
        return {"monitor": self.monitor, "sign": self._sign, "value": self.value}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes over a value; ValueError for that of another column."""
        if (state["monitor"], state["sign"]) != (self.monitor, self._sign):
            raise ValueError(
                f"monitor and mode must be {state['monitor']!r} and {_mode(state['sign'])!r}, as in the fit "
                f"that goes on; got {self.monitor!r} and {_mode(self._sign)!r}. Callbacks of one class must "
                "stand in the order that they had"
            )
        self.value = float(state["value"])


class EarlyStopping(Callback):
    """Ends a fit after `patience` epochs without a better value of `monitor`, a column of the history, and
    by default goes back to the best parameters when the fit ends, by an error or Ctrl-C too (the optimizer's
    moments stay). It says so where the fit shows its progress; `best_epoch` is that epoch's number, counted
    from 1 over the trainer's life.

    Epochs whose value is NaN are not counted. The best value, the epochs without a better one and the best
    parameters stay for the next fit of the same trainer, and for one that goes on from a checkpoint. A fit
    after one that it ended makes an epoch at least, and goes on where that is better.

    `mode`: "min" or "max" say which values are better; "auto" knows it for losses and accuracies.
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
        self._kept: dict[str, NDArray[Any]] = {}  # the best parameters
        self._steps: int | None = None  # how many were made before the fit
        self._arrays: dict[str, tuple[Any, ...]] = {}  # shapes and dtypes of the model's

    def on_fit_begin(self, trainer: Fitting, logs: Logs) -> None:
        """Forgets what it knows of other trainers."""
        if not self.best.begin(trainer, logs):
            self._forget()
        self._steps = trainer.steps
        arrays = trainer.model.named_arrays()
        self._arrays = {name: (view.shape, view.dtype) for name, view in arrays.items()}

    def on_epoch_end(self, trainer: Fitting, logs: Logs) -> None:
        """Keeps the best parameters, or counts the epoch and stops."""
        if self.best.improves(logs):
            self._waited, self.best_epoch = 0, trainer.history.epochs
            self._kept = _copies(trainer) if self.restore_best else {}
        elif not math.isnan(logs.get(self.best.monitor, math.nan)):
            self._waited += 1
            if self._waited >= self.patience:
                trainer.stop()

    def on_fit_end(self, trainer: Fitting, logs: Logs) -> None:
        """Goes back to the best parameters, unless nothing was trained."""
        if not self._kept or not self.restore_best or self._steps == trainer.steps:
            return
        trainer.model.store.replace(self._kept, trainer.model.segments, trainer.model.names)
        trainer.say(
            f"EarlyStopping went back to epoch {self.best_epoch}, {self.best.monitor} {self.best.value:.4g}"
        )

    def state(self) -> Mapping[str, Any]:
        """The best value, its epoch and parameters, and the epochs waited."""
        best = self.best.state()
        return {"best": best, "best_epoch": self.best_epoch, "waited": self._waited, "kept": self._kept}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from there. Where the best parameters were not kept, a new best is looked for."""
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
    """Saves the trainer after every epoch whose `monitor` is the best so far; None: after every epoch. The
    best value stays for the next fit of the same trainer, and for one that goes on from a checkpoint: a
    worse epoch does not replace the file of a better one.

    The file holds the model, which `nncore.load` reads, and what `Trainer.restore` needs to go on.
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
        """Forgets what it knows of other trainers."""
        if self.best is not None:
            self.best.begin(trainer, logs)

    def on_epoch_end(self, trainer: Fitting, logs: Logs) -> None:
        """Saves."""
        if self.best is None or self.best.improves(logs):
            trainer.save(self.path)

    def state(self) -> Mapping[str, Any]:
        """The best value."""
        return {"best": None if self.best is None else self.best.state()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes it over; ValueError for that of another column."""
        if (self.best is None) != (state["best"] is None):
            raise ValueError(
                f"monitor must be {state['best'] and state['best']['monitor']!r}, as in the fit that goes "
                f"on; got {self.best and self.best.monitor!r}. Callbacks of one class must stand in the "
                "order that they had"
            )
        if self.best is not None:
            self.best.load_state(state["best"])


def _mode(sign: float) -> str:
    return "min" if sign > 0 else "max"


def _copies(trainer: Fitting) -> dict[str, NDArray[Any]]:
    return {name: view.copy() for name, view in trainer.model.named_arrays().items()}
