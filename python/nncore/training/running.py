"""A fit under way: its callbacks, what they were told, and how another fit goes on with them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from threading import get_ident
from weakref import ref

from .callback_state import Prints, SavedCallback, SavedCallbacks, check_pairs, has_state, keyed, prints
from .callbacks import Callback, Fitting, Logs

#: Callbacks of an earlier fit, and what their attributes were before it.
Seen = Sequence[tuple["ref[Callback]", Prints]]


class RunningFit:
    """A fit under way."""

    def __init__(self, callbacks: Sequence[Callback], columns: Iterable[str], seen: Seen) -> None:
        check_pairs(callbacks)
        self.callbacks = callbacks
        self.logs: Logs = dict.fromkeys(columns, math.nan)  # of the last epoch
        self.thread = get_ident()
        self.has_begun = False  # whether the callbacks know all that a fit before this one knew
        self.is_ending = False
        self._begun: list[Callback] = []  # whose on_fit_begin was called
        self._prints: list[Prints] = []  # of each callback before the first fit that it was seen in
        self._seen = seen
        self._waiting: set[int] = set()  # places of callbacks that do not know of the last epoch yet
        self._called: int | None = None  # the place of the one whose on_epoch_end is running
        self._stopped: set[int] = set()  # places of those that ended the fit

    @property
    def seen(self) -> Seen:
        """For the next fit of the trainer."""
        return [(ref(callback), before) for callback, before in zip(self._begun, self._prints, strict=False)]

    def begin(self, trainer: Fitting, resumed: SavedCallbacks) -> None:
        """Tells the callbacks that the fit begins, and what those of a fit that it goes on with knew. What
        they have not been told of the last epoch follows, as if there had been no interruption.
        """
        earlier = {id(callback): before for one, before in self._seen if (callback := one()) is not None}
        for callback in self.callbacks:
            known = earlier.get(id(callback))
            before = known and prints(callback, trainer)
            self._begun.append(callback)
            callback.on_fit_begin(trainer, self.logs)
            now = prints(callback, trainer)
            if known and before:  # what on_fit_begin sets anew is not what the fits before left
                now = {
                    name: known.get(name, one) if one == before.get(name) else one
                    for name, one in now.items()
                }
            self._prints.append(now)
        places = [(place, resumed[key]) for place, key in enumerate(keyed(self.callbacks)) if key in resumed]
        for place, was in places:
            _load(self.callbacks[place], was)
        if resumed:
            self.logs = trainer.history.last or self.logs
        self._stopped = {place for place, was in places if was.stopped}
        self._waiting = {place for place, was in places if not was.called}
        self.has_begun = True
        if self._stopped:
            trainer.stop()

    def end_epoch(self, trainer: Fitting) -> None:
        """Tells all callbacks of an epoch."""
        self._waiting = set(range(len(self.callbacks)))
        self.call_waiting(trainer)

    def call_waiting(self, trainer: Fitting) -> None:
        """Tells the callbacks that do not know of the last epoch yet."""
        try:
            for place in sorted(self._waiting):
                self._waiting.discard(place)
                self._called = place
                self.callbacks[place].on_epoch_end(trainer, self.logs)
        finally:
            self._called = None

    def note_stop(self) -> None:
        """Remembers which callback ends the fit."""
        if self._called is not None:
            self._stopped.add(self._called)

    def end(self, trainer: Fitting) -> None:
        """Tells all callbacks that were told of the beginning."""
        self.is_ending = True
        with ExitStack() as all_of_them:
            for callback in reversed(self._begun):
                all_of_them.callback(callback.on_fit_end, trainer, self.logs)

    def saved(self, trainer: object) -> SavedCallbacks:
        """What the callbacks know now."""
        return {
            key: SavedCallback(
                place not in self._waiting,
                place in self._stopped,
                type(callback).state(callback) if has_state(callback) else None,
                _changed(self._prints[place], prints(callback, trainer)),
            )
            for place, (key, callback) in enumerate(keyed(self.callbacks).items())
        }


def _changed(before: Prints, now: Prints) -> list[str]:
    return sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))


def _load(callback: Callback, was: SavedCallback) -> None:
    """Tells a callback what that of an earlier fit knew; ValueError where that is lost."""
    kind = type(callback)
    lost = "load_state()" if was.state and not has_state(callback) else ", ".join(was.changed)
    if lost:
        raise ValueError(
            "callbacks must have state() and load_state() where a fit goes on with them; got "
            f"{kind.__name__}, which changes ({lost}) and has none for that"
        )
    if was.state is not None:
        kind.load_state(callback, was.state)
