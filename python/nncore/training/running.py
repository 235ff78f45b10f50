"""A fit in progress: its callbacks, which events they have seen, and how a fit resumes another."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from threading import get_ident
from weakref import ref

from .callback_state import (
    Fingerprints,
    SavedCallback,
    SavedCallbacks,
    check_pairs,
    fingerprints,
    has_state,
    keyed,
)
from .callbacks import Callback, Fitting, Logs

#: Callbacks of earlier fits, with fingerprints of their attributes before the first of these fits.
Seen = Sequence[tuple["ref[Callback]", Fingerprints]]


class RunningFit:
    """A fit in progress, with its callbacks."""

    def __init__(self, callbacks: Sequence[Callback], columns: Iterable[str], seen: Seen) -> None:
        check_pairs(callbacks)
        self.callbacks = callbacks
        self.logs: Logs = dict.fromkeys(columns, math.nan)  # of the last epoch
        self.thread = get_ident()
        self.has_begun = False  # whether all callbacks have begun and loaded their state
        self.is_ending = False
        self._begun: list[Callback] = []  # those whose on_fit_begin was called
        self._fingerprints: list[Fingerprints] = []  # of each callback, before the first fit with it
        self._seen = seen
        self._pending: set[int] = set()  # indices of callbacks not yet told of the last epoch
        self._called: int | None = None  # the index of the callback whose on_epoch_end is running
        self._stopped: set[int] = set()  # indices of callbacks that stopped the fit

    @property
    def seen(self) -> Seen:
        """The callbacks and their fingerprints, for the next fit of the trainer."""
        return [
            (ref(callback), before) for callback, before in zip(self._begun, self._fingerprints, strict=False)
        ]

    def begin(self, trainer: Fitting, resumed: SavedCallbacks) -> None:
        """Calls `on_fit_begin` of all callbacks, and loads the saved state of a resumed fit.

        Callbacks that the resumed fit had not yet told of its last epoch become pending, so that all goes on
        as if there had been no interruption.
        """
        earlier = {id(callback): before for one, before in self._seen if (callback := one()) is not None}
        for callback in self.callbacks:
            known = earlier.get(id(callback))
            before = known and fingerprints(callback, trainer)
            self._begun.append(callback)
            callback.on_fit_begin(trainer, self.logs)
            now = fingerprints(callback, trainer)
            if known and before:  # attributes that on_fit_begin resets no longer hold changes of earlier fits
                now = {
                    name: known.get(name, one) if one == before.get(name) else one
                    for name, one in now.items()
                }
            self._fingerprints.append(now)
        places = [(place, resumed[key]) for place, key in enumerate(keyed(self.callbacks)) if key in resumed]
        for place, was in places:
            _load(self.callbacks[place], was)
        if resumed:
            self.logs = trainer.history.last or self.logs
        self._stopped = {place for place, was in places if was.stopped}
        self._pending = {place for place, was in places if not was.called}
        self.has_begun = True
        if self._stopped:
            trainer.stop()

    def end_epoch(self, trainer: Fitting) -> None:
        """Calls `on_epoch_end` of all callbacks."""
        self._pending = set(range(len(self.callbacks)))
        self.notify_pending(trainer)

    def notify_pending(self, trainer: Fitting) -> None:
        """Calls `on_epoch_end` of the callbacks that have not been told of the last epoch."""
        try:
            for place in sorted(self._pending):
                self._pending.discard(place)
                self._called = place
                self.callbacks[place].on_epoch_end(trainer, self.logs)
        finally:
            self._called = None

    def note_stop(self) -> None:
        """Records that the running callback stopped the fit."""
        if self._called is not None:
            self._stopped.add(self._called)

    def end(self, trainer: Fitting) -> None:
        """Calls `on_fit_end` of all callbacks that have begun, even if one of them raises."""
        self.is_ending = True
        with ExitStack() as stack:
            for callback in reversed(self._begun):
                stack.callback(callback.on_fit_end, trainer, self.logs)

    def saved(self, trainer: object) -> SavedCallbacks:
        """The current state of the callbacks, for a checkpoint."""
        return {
            key: SavedCallback(
                place not in self._pending,
                place in self._stopped,
                type(callback).state(callback) if has_state(callback) else None,
                _changed(self._fingerprints[place], fingerprints(callback, trainer)),
            )
            for place, (key, callback) in enumerate(keyed(self.callbacks).items())
        }


def _changed(before: Fingerprints, now: Fingerprints) -> list[str]:
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def _load(callback: Callback, was: SavedCallback) -> None:
    """Restores a callback's state from an earlier fit. Raises ValueError if the state was not saved."""
    kind = type(callback)
    lost = "its saved state" if was.state and not has_state(callback) else ", ".join(was.changed)
    if lost:
        raise ValueError(
            "callbacks must have state() and load_state() to resume a fit; got "
            f"{kind.__name__}, which changes ({lost}) without them"
        )
    if was.state is not None:
        kind.load_state(callback, was.state)
