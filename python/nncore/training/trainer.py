"""Trainer: a model, the loss to minimize, and the optimizer."""

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

#: Attributes that a copy creates anew: the core's plan, and the state of a running fit.
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

    `loss` is a name ("cross_entropy"), a Loss, or a function loss(output, y) -> (value, gradient). For a
    model with several outputs it is a list (None: no loss) or a dict by output name, summed with
    `loss_weights`. `optimizer` is a name or an Optimizer. `metrics` is a list of names ("accuracy") or
    functions metric(y_true, y_pred) -> float, for all outputs, or a dict of such lists by output name. If y
    is (B,) and the output (B, 1), functions receive y as (B, 1). `seed` determines the order of samples; None
    takes the model's. `history` holds all epochs of all fits.

    Raises ValueError for unknown names, and for a loss that does not suit the model's output, naming one that
    does.

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
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(
                f"metrics must give columns unique names; got {', '.join(repeated)} more than once"
            )
        self.resumed: SavedCallbacks | None = None  # the callbacks of a fit that the next one resumes
        self._make_idle()

    def _make_idle(self) -> None:
        """Sets the attributes for the time between fits."""
        self._stopping = False
        self._running: RunningFit | None = None
        self._seen: Seen = ()  # callbacks of the last fit
        self._shown = Progress()
        self._boundary = Condition()
        self._epoch_thread: tuple[int, int] | None = None  # process and thread that run an epoch
        self._makes_steps = False  # whether the epoch makes steps, rather than calling callbacks
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
        """Trains for some epochs and returns the history of all fits.

        x (B, I) is an array, list or table of bool, integer or float numbers. y is (B, O) likewise, class
        indices (B,) of any integer dtype, or (B,) if O is 1. sample_weight (B,) is finite and not negative.
        With several inputs or losses, each is a list, tuple or dict; sample_weight may also be one array for
        all losses, or an array (B, losses). A sample of weight 0 is skipped, whatever it holds: entirely if
        its weight is 0 in all losses, else in the loss and the metrics of that output.

        Arrays may have any layout. Anything convertible to a NumPy array is accepted too: tables and columns
        of pandas, polars and pyarrow, tensors, and objects with `__array__` or DLPack. Integers stay
        integers. Arrays in the other byte order, of bfloat16 or of float8 (ml_dtypes, JAX, torch) are
        converted whole and exactly.

        `validation_data` is (x, y) or (x, y, sample_weight). With `shuffle`, the order of an epoch's samples
        depends on the trainer's seed and the number of earlier epochs.

        `epochs` may be 0 if the fit resumes one from a checkpoint. It then only completes what that fit had
        left to do after its last epoch.

        `progress` is what appears on stderr: "auto" (a bar on a terminal, lines elsewhere), True (a bar) or
        False (nothing). At most one epoch a second leaves its line or finished bar, and the last epoch always
        does. If stderr cannot be written, the fit continues without it.

        The model remembers the column names of a table x (`Model.feature_names`), so that later tables may
        have these columns in any order. If x and `validation_data` both have column names, they must be in
        the same order.

        Raises TypeError for other dtypes, and ValueError for wrong shapes, values, column names and masked
        entries, before any training. Raises FloatingPointError, naming the row or the layer, if a step is not
        finite. After that or Ctrl-C, all is as after the last complete step, unless an on_fit_end changes it.
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
        """Makes one step on a batch of any size and returns its loss before the step. Arguments as for `fit`.

        Afterwards `model.gradients` is unspecified: plain SGD does not store the gradient of large weights.
        To read or change the gradient, call `model.loss_and_gradients` and `optimizer.step` instead.

        Raises FloatingPointError, without making the step, if an input, the loss, a gradient or the update is
        not finite.
        """
        steps = None if isinstance(x, np.ndarray) else self.steps  # arrays have no column names to remember
        loss = self.objective.train_step(x, y, sample_weight, self.optimizer)
        if steps is not None:
            self._remember(self.model.feature_names_with(x), steps)
        return loss

    def evaluate(self, x: Any, y: Any, sample_weight: Any = None) -> dict[str, float]:
        """Returns the loss and the metrics on some data, without training. Arguments as for `fit`.

        The loss is weighted. The metrics are unweighted, over the samples with nonzero weight.

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
        """Ends the running fit after this epoch. For use in callbacks."""
        self._stopping = True
        if self._running is not None:
            self._running.note_stop()

    def say(self, text: str) -> None:
        """Writes a line to stderr, if the running fit shows its progress there. For use in callbacks."""
        self._shown.say(text)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a checkpoint: the model, the optimizer's state and the history.

        During a fit it also holds the state of the callbacks, so that another fit can resume from it.
        Callbacks may call `save`. Another thread that calls it waits for the end of the epoch and its
        callbacks, which must not wait for that thread.

        Raises RuntimeError within an epoch and while another thread makes a `step`, TypeError if a callback's
        state cannot be saved, and the errors of `Model.save`.
        """
        check_path(path)
        save_checkpoint(self, path)

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Restores a checkpoint. Training then gives the same bits as a run without interruption.

        The trainer must have been built like the saved one: the same layers, dtype and optimizer. Parameters,
        moments, steps, learning rate, seeds, metadata, feature names and history come from the file.

        If the checkpoint was written during a fit, the next fit resumes it: callbacks of the same classes, in
        the same order, get the state of the old ones, and `on_epoch_end` is called for the last epoch where
        it was not before. That fit raises ValueError if one of your callbacks changed and has no `state` and
        `load_state`.

        Raises ValueError, naming what differs, and RuntimeError while another thread trains, before anything
        is changed. Raises OSError as `nncore.load` does.
        """
        check_path(path)
        restore_checkpoint(self, path)

    def __getstate__(self) -> dict[str, Any]:
        """For pickles and deep copies: the contents of a checkpoint. During a fit, they are those after the
        last epoch. Raises RuntimeError within an epoch and while another thread trains.
        """
        with self.between_epochs(wait=False):
            if self._running is not None and self._running.thread != get_ident():
                raise RuntimeError(
                    "another thread is training; copy the trainer in a callback or after the fit"
                )
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
        """Runs a fit. Its callbacks are told of its end, whatever the cause."""
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
        """Runs an epoch and its callbacks. Saves of other threads that wait go first; later ones wait."""
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
        """The part of an epoch in which the model changes. Keeps the column names if it makes a step beyond
        `steps`.
        """
        self._makes_steps = True
        try:
            yield
        finally:
            self._makes_steps = False
            self._remember(names, steps)

    @property
    def is_fitting(self) -> bool:
        """Whether a fit is in progress and has not begun to end."""
        return self._running is not None and not self._running.is_ending

    def saved_callbacks(self) -> SavedCallbacks | None:
        """The callbacks' state in the running fit; between fits, the state that the next fit resumes."""
        running = self._running
        if running is None or not running.has_begun:
            return self.resumed
        # In on_fit_end, the fit is over for its own thread. Another thread, which may be joined there, may
        # still be in a save.
        is_over = running.is_ending and running.thread == get_ident()
        return None if is_over else running.saved(self)

    @contextmanager
    def between_epochs(self, *, wait: bool) -> Iterator[None]:
        """A context in which no epoch begins. Waits for another thread's epoch, or raises RuntimeError."""
        me = os.getpid(), get_ident()

        def is_between() -> bool:  # a forked child has none of its parent's other threads
            holder = self._epoch_thread
            is_callback = holder == me and not self._makes_steps
            return holder is None or holder[0] != me[0] or is_callback

        with self._boundary:
            if not is_between() and (not wait or self._epoch_thread == me):
                raise RuntimeError(
                    "the trainer is within an epoch; save and restore it between epochs, such as in a "
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
        """Runs the steps of one epoch and returns what it reports."""
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
        """The rows of an epoch in order, without those of weight 0. None: all rows as they are."""
        counted = samples.counted()
        rows = None if counted is None else np.flatnonzero(counted)
        if not shuffle:
            return rows
        count = samples.rows if rows is None else len(rows)
        order = _core.shuffled_rows(count, self.seed, self.history.epochs)
        return order if rows is None else rows[order]

    def _remember(self, names: FeatureNames, steps: int) -> None:
        """Gives the model its column names if the trainer has made more than `steps` steps."""
        if names != self.model.feature_names and self.steps > steps:
            self.model.feature_names = dict(names)

    def _validation(self, data: Sequence[Any] | None, x: Any, names: FeatureNames) -> Samples | None:
        """The validation data, after one evaluation, so that errors in them show before training."""
        if data is None:
            return None
        if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
            raise ValueError(
                f"validation_data must be (x, y) or (x, y, sample_weight); got {_described(data)}"
            )
        weight = data[2] if len(data) == 3 else None
        samples = self.objective.read(data[0], data[1], weight, "validation ", names)
        # Both tables probably come from the same source: columns in another order indicate a mistake there.
        check_same_order(data[0], x, self.model.input_names, "validation x")
        _check_rows(samples, "validation x")
        try:
            self.objective.loss(samples)
        except (ValueError, FloatingPointError) as error:
            raise type(error)(f"validation {error}") from None
        self._measure(samples)
        return samples

    def _measure(self, samples: Samples) -> dict[str, float]:
        """The metrics with the current parameters."""
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
        raise ValueError(f"{argument} must have at least one sample; got none")


def _described(given: object) -> str:
    """A wrong validation_data as messages show it: its type, and its length if it is a list or tuple."""
    kind = type(given).__name__
    return f"{kind} of {len(given)}" if isinstance(given, (tuple, list)) else kind
