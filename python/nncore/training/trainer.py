"""Trainer: a model, what it should make small, and how."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Condition, get_ident
from typing import Any

import numpy as np

from .. import _core
from .._arrays import FeatureNames, check_same_order
from .._errors import as_seed, check_flag, check_is, check_list, check_path, check_size, described
from ..model import Model
from ..model.objective import Losses, LossWeights, Order, make_objective
from ..model.reading import Samples
from ..optimizers import Optimizer, as_optimizer
from .callback_state import SavedCallbacks
from .callbacks import Callback
from .checkpoint import restore_checkpoint, save_checkpoint
from .history import History
from .measuring import Metrics, check_metrics, measure, metric_columns
from .progress import Progress, ProgressOption, make_progress
from .running import RunningFit, Seen

#: What a trainer's copy makes anew: what the core planned, and what is under way.
_NOT_COPIED = (
    "objective",
    "_stopping",
    "_running",
    "_seen",
    "_shown",
    "_boundary",
    "_epoch_thread",
    "_makes_steps",
    "_waiting_saves",
)


class Trainer:
    """Trains a model: `fit` for epochs over data, `step` for one batch, `evaluate` without training.

    `loss` is a name ("cross_entropy"), a Loss, a function loss(output, y) -> (value, gradient), or for a
    model of several outputs a list (None: no loss) or dict by output name, summed with `loss_weights`.
    `optimizer` is a name or an Optimizer; `metrics` are names ("accuracy") or functions
    metric(y_true, y_pred) -> float, for every output or by output name. Functions see y in the shape of the
    output: (B, 1) where a y of shape (B,) meets an output of shape (B, 1). `seed` decides the order of
    samples; None takes the model's. `history` collects all epochs of the trainer's life.

    Raises ValueError for unknown names and a loss that does not fit the model's output, saying what does.

    >>> import nncore as nc
    >>> model = nc.Sequential(nc.Dense(2, 8), nc.Tanh(), nc.Dense(8, 2), nc.Softmax(), seed=0)
    >>> trainer = nc.Trainer(model, "cross_entropy", nc.Adam(0.05), metrics=["accuracy"])
    >>> x, y = [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 1, 1, 0]
    >>> history = trainer.fit(x, y, epochs=100, progress=False)
    >>> history["accuracy"][-1]
    1.0
    """

    def __init__(
        self,
        model: Model,
        loss: Losses,
        optimizer: str | Optimizer = "adam",
        *,
        metrics: Metrics = (),
        loss_weights: LossWeights = None,
        seed: int | None = None,
    ) -> None:
        check_is(model, Model, "model")
        self.model = model
        self._losses = loss, loss_weights
        self.objective = make_objective(model, loss, loss_weights)
        self.optimizer = as_optimizer(optimizer)
        self.seed = model.seed if seed is None else as_seed(seed)
        self.history = History(self.seed)
        self._columns = metric_columns(metrics, self.objective.terms, len(model.outputs))
        names = self._column_names(has_validation=True)
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(
                f"metrics must make columns of different names; got several of {', '.join(twice)}"
            )
        self.resumed: SavedCallbacks | None = None  # what the next fit goes on with
        self._make_idle()

    def _make_idle(self) -> None:
        """No fit is under way."""
        self._stopping = False
        self._running: RunningFit | None = None
        self._seen: Seen = ()  # callbacks of the last fit
        self._shown = Progress()
        self._boundary = Condition()
        self._epoch_thread: tuple[int, int] | None = None  # process and thread of who makes an epoch
        self._makes_steps = False  # or else is with its callbacks
        self._waiting_saves = 0

    def fit(
        self,
        x: Any,
        y: Any,
        epochs: int = 1,
        batch_size: int = 32,
        *,
        sample_weight: Any = None,
        validation_data: Sequence[Any] | None = None,
        shuffle: bool = True,
        progress: ProgressOption = "auto",
        callbacks: Iterable[Callback] = (),
    ) -> History:
        """Trains for some epochs and returns the history of the trainer's life.

        x (B, I) is a list, array or table of bool, integer or float numbers of any layout; y (B, O)
        likewise, or class indices (B,) of any integer dtype, or (B,) where O is 1; sample_weight (B,), finite
        and not negative. Lists, tuples or dicts of them where the model has several inputs or losses; then
        sample_weight may be one array for all losses too, or an array (B, losses). A sample of weight 0 takes
        no part, whatever it holds: as if it were not there where that is its weight in all losses, else in
        the loss and the metrics of that output.

        Any NumPy array is taken, and what makes one: tables and columns of pandas, polars and pyarrow,
        tensors, and what speaks the protocols `__array__` or DLPack. Integers stay integers. Arrays of the
        other byte order and of bfloat16 and float8 (ml_dtypes, JAX, torch) are converted as a whole, exactly.
        `validation_data` is (x, y) or (x, y, sample_weight). The order of an epoch depends on the trainer's
        seed and the number of epochs before it.

        `epochs` may be 0 where the fit goes on with one that a checkpoint was written in: what that had left
        to do after its last epoch is done then.

        `progress` says what is written to stderr: "auto" (a bar on a terminal, lines elsewhere), True (a bar)
        or False (nothing). At most one epoch a second leaves its line or finished bar, and the last epoch
        does. Where stderr cannot be written, the fit goes on without.

        The model remembers the column names of a table x (`Model.feature_names`). A table with the same
        names in another order is put right from then on. The columns of `validation_data` must stand in the
        order of x, where both have names.

        Raises TypeError for other dtypes and ValueError for shapes, values, column names and masked entries,
        before anything is trained, and FloatingPointError, naming the row or the layer, where a step is not
        finite. That and Ctrl-C leave all as after the last whole step, unless an on_fit_end changes it.
        """
        names = self.model.feature_names_with(x)
        samples = self.objective.read(x, y, sample_weight, feature_names=names)
        epochs = check_size(epochs, "epochs", least=1 if self.resumed is None else 0)
        batch_size = check_size(batch_size, "batch_size")
        shuffle, callbacks = check_flag(shuffle, "shuffle"), _as_callbacks(callbacks)
        _check_rows(samples, "x")
        validation = self._validation(validation_data, x, names)
        for given in (samples, validation):
            if given is not None:
                check_metrics(self._columns, self.model, given)
        columns = self._column_names(validation is not None)
        with (
            self._fitting(callbacks, columns) as running,
            make_progress(progress, epochs, -(-samples.counted_rows // batch_size)) as show,
        ):
            self._shown = show
            running.begin(self, self.resumed or {})
            is_resumed, self.resumed = self.resumed is not None, None
            if is_resumed:
                with self._epoch():
                    running.notify_pending(self)
            steps = self.steps
            for epoch in range(1, epochs + 1):
                if self._stopping:
                    break
                show.begin_epoch(epoch)
                with self._epoch():
                    with self._steps(names, steps):
                        running.logs = self._train(samples, validation, batch_size, shuffle, show)
                        self.history.append(running.logs)
                    show.end_epoch(epoch, running.logs)
                    running.end_epoch(self)
        return self.history

    def step(self, x: Any, y: Any, sample_weight: Any = None) -> float:
        """One step on one batch of any size; returns its loss, of before the step. Arguments as for fit.

        `model.gradients` need not hold the batch's gradient afterwards: plain SGD does not store that of
        large weights. To look at it, or change it, call `model.loss_and_gradients` and `optimizer.step`.

        Raises FloatingPointError, and makes no step, where an input, the loss, a gradient or the update is
        not finite.
        """
        steps = None if isinstance(x, np.ndarray) else self.steps  # arrays have no names to remember
        loss = self.objective.train_step(x, y, sample_weight, self.optimizer)
        if steps is not None:
            self._remember(self.model.feature_names_with(x), steps)
        return loss

    def evaluate(self, x: Any, y: Any, sample_weight: Any = None) -> dict[str, float]:
        """The loss (weighted) and the metrics (unweighted, over the samples whose weight is not 0) on some
        data, without training.

        >>> import nncore as nc
        >>> trainer = nc.Trainer(nc.mlp([2, 1], seed=0), "half_squared_error")
        >>> sorted(trainer.evaluate([[0, 0]], [2.0]).items())
        [('loss', 2.0)]
        """
        samples = self.objective.read(x, y, sample_weight)
        _check_rows(samples, "x")
        return {"loss": self.objective.loss(samples), **self._measure(samples)}

    @property
    def steps(self) -> int:
        """The number of steps made with the optimizer."""
        return self.optimizer.state(self.model.store).steps

    def stop(self) -> None:
        """Ends the running fit after this epoch: for callbacks."""
        self._stopping = True
        if self._running is not None:
            self._running.note_stop()

    def say(self, text: str) -> None:
        """Writes a line to stderr where the running fit shows its progress there: for callbacks."""
        self._shown.say(text)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a checkpoint: the model, the optimizer's state and the history, as `Model.save` writes, with
        the same errors.

        During a fit it holds what the callbacks know too, so that another fit can go on from it. Callbacks
        may save; another thread waits for the end of the epoch and its callbacks (which must not wait for
        that thread). Raises RuntimeError within an epoch, and while another thread makes a `step`, and
        TypeError for a state of a callback that no file can hold.
        """
        check_path(path)
        save_checkpoint(self, path)

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Goes back to a checkpoint: what follows gives the bits that an uninterrupted run gives.

        The trainer must have been made like the one that was saved: the same layers, dtype and optimizer.
        Parameters, moments, steps, learning rate, seeds, metadata, feature names and history are the file's.
        If it was written during a fit, the next fit goes on with that one: callbacks of the same classes, in
        the same order, know what those knew, and are told of the last epoch where those had not been. That
        fit is a ValueError where a callback of one's own changed and has no `state` and `load_state`.

        Raises ValueError, naming what differs, and RuntimeError while another thread trains, before anything
        is changed, and OSError as `nncore.load` does.
        """
        check_path(path)
        restore_checkpoint(self, path)

    def __getstate__(self) -> dict[str, Any]:
        """For pickles and deep copies: what a checkpoint holds too. The copy of a trainer that is within a
        fit is of the last epoch; RuntimeError within an epoch, and while another thread trains.
        """
        with self.between_epochs(wait=False):
            if self._running is not None and self._running.thread != get_ident():
                raise RuntimeError("another thread trains; copy the trainer in a callback, or after the fit")
            state = {**vars(self), "resumed": self.saved_callbacks()}
        return {name: value for name, value in state.items() if name not in _NOT_COPIED}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.objective = make_objective(self.model, *self._losses)
        self._make_idle()

    def __repr__(self) -> str:
        losses = ", ".join(str(getattr(term.loss, "kind", term.loss)) for term in self.objective.terms)
        return f"<Trainer: {losses}, {self.optimizer!r}, {self.history.epochs} epochs>"

    # Helpers ------------------------------------------------------------------------------------------

    @contextmanager
    def _fitting(self, callbacks: list[Callback], columns: Sequence[str]) -> Iterator[RunningFit]:
        """A fit, which begins here or goes on. However it ends, its callbacks are told."""
        running = RunningFit(callbacks, columns, self._seen)
        self._running, self._stopping = running, False
        try:
            yield running
        finally:
            self._seen = running.seen
            try:
                running.end(self)
            finally:
                self._running, self._shown = None, Progress()

    @contextmanager
    def _epoch(self) -> Iterator[None]:
        """An epoch and its callbacks. Saves of other threads have had their turn, and wait from now on."""
        with self._boundary:
            self._boundary.wait_for(lambda: self._waiting_saves == 0)
            self._epoch_thread = os.getpid(), get_ident()
        try:
            yield
        finally:
            with self._boundary:
                self._epoch_thread = None
                self._boundary.notify_all()

    @contextmanager
    def _steps(self, names: FeatureNames, steps: int) -> Iterator[None]:
        """The part of an epoch in which the model changes. Remembers the names of columns once a step more
        than `steps` was made.
        """
        self._makes_steps = True
        try:
            yield
        finally:
            self._makes_steps = False
            self._remember(names, steps)

    @property
    def is_fitting(self) -> bool:
        """Whether a fit is under way, and its end has not begun."""
        return self._running is not None and not self._running.is_ending

    def saved_callbacks(self) -> SavedCallbacks | None:
        """What the callbacks of the fit under way know, or what those of the next one will be told."""
        running = self._running
        if running is None or not running.has_begun:
            return self.resumed
        # To callbacks, the fit is over in on_fit_end; a thread that one of them ends there may be in a save.
        is_over = running.is_ending and running.thread == get_ident()
        return None if is_over else running.saved(self)

    @contextmanager
    def between_epochs(self, *, wait: bool) -> Iterator[None]:
        """No epoch begins meanwhile; one of another thread is waited for, or is a RuntimeError."""
        me = os.getpid(), get_ident()

        def is_between() -> bool:  # a forked child has none of its parent's other threads
            holder = self._epoch_thread
            is_callback = holder == me and not self._makes_steps
            return holder is None or holder[0] != me[0] or is_callback

        with self._boundary:
            if not is_between() and (not wait or self._epoch_thread == me):
                raise RuntimeError(
                    "the trainer is within an epoch; it can be saved and restored between epochs, as in a "
                    "callback's on_epoch_end"
                )
            self._waiting_saves += 1
            try:
                self._boundary.wait_for(is_between)
                yield
            finally:
                self._waiting_saves -= 1
                self._boundary.notify_all()

    def _train(
        self, samples: Samples, validation: Samples | None, batch_size: int, shuffle: bool, show: Progress
    ) -> dict[str, float]:
        """One epoch of steps, and what it reports."""
        begin = time.perf_counter()
        order = self._order(samples, shuffle)
        loss = self.objective.train_epoch(samples, self.optimizer, batch_size, order, show.tick)
        logs = {"loss": loss, **self._measure(samples)}
        if validation is not None:
            logs["val_loss"] = self.objective.loss(validation)
            logs.update((f"val_{name}", value) for name, value in self._measure(validation).items())
        if factors := self.optimizer.factors(max(0, self.steps - 1)):  # of the epoch's last step
            logs["learning_rate"] = self.optimizer.learning_rate * factors[0]
        logs["seconds"] = time.perf_counter() - begin
        return logs

    def _order(self, samples: Samples, shuffle: bool) -> Order:
        """The rows of an epoch. Those of weight 0 are left out as if they were not in the tables."""
        counted = samples.counted()
        rows = None if counted is None else np.flatnonzero(counted)
        if not shuffle:
            return rows
        count = samples.rows if rows is None else len(rows)
        order = _core.shuffled_rows(count, self.seed, self.history.epochs)
        return order if rows is None else rows[order]

    def _remember(self, names: FeatureNames, steps: int) -> None:
        """Gives the model the names of its columns once a step more than `steps` was made."""
        if names != self.model.feature_names and self.steps > steps:
            self.model.feature_names = dict(names)

    def _validation(self, data: Sequence[Any] | None, x: Any, names: FeatureNames) -> Samples | None:
        """The validation data, tried once so that a mistake in them shows before training."""
        if data is None:
            return None
        if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
            raise ValueError(
                f"validation_data must be (x, y) or (x, y, sample_weight); got {_described(data)}"
            )
        weight = data[2] if len(data) == 3 else None
        samples = self.objective.read(data[0], data[1], weight, "validation ", names)
        # Two tables for one call come from one place: where their orders differ, something went wrong there.
        check_same_order(data[0], x, self.model.input_names, "validation x")
        _check_rows(samples, "validation x")
        try:
            self.objective.loss(samples)
        except (ValueError, FloatingPointError) as error:
            raise type(error)(f"validation {error}") from None
        self._measure(samples)
        return samples

    def _measure(self, samples: Samples) -> dict[str, float]:
        """The metrics with the parameters as they are."""
        return measure(self._columns, self.model, samples)

    def _column_names(self, has_validation: bool) -> list[str]:
        measured = ["loss", *(column.name for column in self._columns)]
        validated = [f"val_{name}" for name in measured] if has_validation else []
        rate = [] if self.optimizer.schedule is None else ["learning_rate"]
        return [*measured, *validated, *rate, "seconds"]


def _as_callbacks(given: Iterable[Callback]) -> list[Callback]:
    callbacks = check_list(given, "callbacks", "nncore.Callback objects")
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks must be nncore.Callback objects; got {described(callback)}")
    return callbacks


def _check_rows(samples: Samples, argument: str) -> None:
    if samples.rows == 0:
        raise ValueError(f"{argument} must have a sample at least; got none")


def _described(given: object) -> str:
    """What a message says of something that is no tuple of the right length."""
    kind = type(given).__name__
    return f"{kind} of {len(given)}" if isinstance(given, (tuple, list)) else kind
