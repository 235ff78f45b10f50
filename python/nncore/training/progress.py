"""Progress: what a person sees while a model trains. No fault of a display ends a fit."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, TextIO, TypeAlias

ProgressOption: TypeAlias = bool | Literal["auto"]

SECONDS_A_LINE = 1.0  # from one line that stays to the next
SECONDS_UNTIL_DRAWN = 0.1  # shorter epochs have no bar: it would only flicker


class Progress:
    """Shows nothing; the others say something at some of these moments."""

    def begin_epoch(self, epoch: int) -> None:
        """Before the steps of an epoch, counted from 1."""

    def tick(self, steps: int, mean_loss: float) -> None:
        """Between two steps, every now and then."""

    def end_epoch(self, epoch: int, row: Mapping[str, float]) -> None:
        """After the validation of an epoch."""

    def say(self, text: str) -> None:
        """Between epochs, or after the last one: what a callback has to say."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """After the last epoch, or an error."""


class Guarded(Progress):
    """Shows what another display shows, until that raises any Exception; from then on nothing.

    stderr may be missing, closed, replaced by an object of few methods, or a full disk; tqdm may not accept
    what the environment says. A fit is worth more than the sight of it. Ctrl-C is no Exception, and passes.
    """

    def __init__(self, choose: Callable[[], Progress]) -> None:
        self._display = Progress()
        with suppress(Exception):
            self._display = choose()

    def _tell(self, moment: str, *what: Any) -> None:
        try:
            getattr(self._display, moment)(*what)
        except Exception:
            self._display = Progress()

    def begin_epoch(self, epoch: int) -> None:
        """Passes it on."""
        self._tell("begin_epoch", epoch)

    def tick(self, steps: int, mean_loss: float) -> None:
        """Passes it on."""
        self._tell("tick", steps, mean_loss)

    def end_epoch(self, epoch: int, row: Mapping[str, float]) -> None:
        """Passes it on."""
        self._tell("end_epoch", epoch, row)

    def say(self, text: str) -> None:
        """Passes it on."""
        self._tell("say", text)

    def close(self) -> None:
        """Passes it on."""
        self._tell("close")


class Pace:
    """Tells whether it is time for another line that stays: a second after the last one, or the start."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Whether it is; the next second then begins."""
        now = time.monotonic()
        if now - self._last < SECONDS_A_LINE:
            return False
        self._last = now
        return True


class Lines(Progress):
    """A line for an epoch: at most one a second, and that of the last epoch."""

    def __init__(self, stream: TextIO, epochs: int) -> None:
        self._stream, self._epochs = stream, epochs
        self._pace = Pace()
        self._line = ""  # of the last epoch, as long as it is not printed

    def end_epoch(self, epoch: int, row: Mapping[str, float]) -> None:
        """Prints the epoch's columns if it is time to."""
        columns = "  ".join(f"{name} {value:.4g}" for name, value in row.items())
        self._line = f"epoch {epoch}/{self._epochs}  {columns}\n"
        if self._pace.is_due():
            self.close()

    def close(self) -> None:
        """Prints the line that is left."""
        line, self._line = self._line, ""
        if line:
            _write(self._stream, line)

    def say(self, text: str) -> None:
        """Prints it, after the line of the last epoch."""
        self.close()
        _write(self._stream, f"{text}\n")


class Bar(Progress):
    """A bar of the running epoch, by tqdm. At most one a second stays, and that of the last epoch."""

    def __init__(self, stream: TextIO, epochs: int, steps: int) -> None:
        self._stream, self._epochs, self._steps = stream, epochs, steps
        self._tqdm = _tqdm()
        self._pace = Pace()
        self._bar: Any = None  # of the running epoch
        self._epoch, self._begin = 0, 0.0
        self._seconds = math.inf  # of the epoch before; who knows how long the first one takes
        self._finished: tuple[int, float, str] | None = None  # the last epoch, until its bar stays

    def begin_epoch(self, epoch: int) -> None:
        """Draws the epoch's bar if the epoch before was long enough to have one."""
        self._epoch, self._begin = epoch, time.monotonic()
        if self._seconds >= SECONDS_UNTIL_DRAWN:
            self._bar = self._open(epoch, 0.0)

    def tick(self, steps: int, mean_loss: float) -> None:
        """Moves it."""
        if self._bar is None:
            seconds = time.monotonic() - self._begin
            if seconds < SECONDS_UNTIL_DRAWN:
                return
            self._bar = self._open(self._epoch, seconds)
        self._bar.set_postfix_str(f"loss {mean_loss:.4g}", refresh=False)
        self._bar.update(steps - self._bar.n)

    def end_epoch(self, epoch: int, row: Mapping[str, float]) -> None:
        """Fills it, with the epoch's columns, if it is time to leave one; otherwise takes it away."""
        columns = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "seconds")
        self._seconds = time.monotonic() - self._begin
        self._finished = (epoch, self._seconds, columns)
        if self._pace.is_due():
            self._leave_finished()
        elif self._bar is not None:
            bar, self._bar = self._bar, None
            bar.leave = False
            bar.close()

    def close(self) -> None:
        """Leaves the bar of an epoch that was interrupted as it is, or else that of the last epoch."""
        if self._bar is not None:
            bar, self._bar = self._bar, None
            bar.close()
        else:
            self._leave_finished()

    def say(self, text: str) -> None:
        """Prints it, below the bar of the last epoch."""
        self.close()
        _write(self._stream, f"{text}\n")

    def _leave_finished(self) -> None:
        if self._finished is None:
            return
        (epoch, seconds, columns), self._finished = self._finished, None
        bar, self._bar = self._bar, None
        if bar is None:
            bar = self._open(epoch, seconds)
        bar.set_postfix_str(columns, refresh=False)
        bar.update(self._steps - bar.n)
        bar.close()

    def _open(self, epoch: int, seconds: float) -> Any:
        """A bar of an epoch that began `seconds` ago."""
        bar = self._tqdm(
            total=self._steps,
            desc=f"epoch {epoch}/{self._epochs}",
            unit="step",
            file=self._stream,
            miniters=1,  # ticks are rare; tqdm's monitor of bars that move too seldom lets such a bar be
        )
        bar.start_t = bar.last_print_t = time.time() - seconds
        return bar


def _write(stream: TextIO, text: str) -> None:
    stream.write(text)
    if hasattr(stream, "flush"):  # objects that take the place of stderr need not have it
        stream.flush()


def _tqdm() -> Any:
    """tqdm's bar, of which nothing is left behind where drawing fails. (`import nncore` is to be quick.)"""
    from tqdm import tqdm

    class QuietTqdm(tqdm):  # type: ignore[misc]  # tqdm has no types
        """Raises where it is told to draw, and nowhere else."""

        monitor_interval = 0  # no thread that draws

        def refresh(self, *_: Any, **__: Any) -> Any:
            """Draws. Where that fails, tqdm's own would keep the lock of all bars, for which others then wait
            forever, and its place among the bars on the terminal.
            """
            with self.get_lock():
                try:
                    return super().refresh(nolock=True)
                except BaseException:
                    self._instances.discard(self)
                    raise

        def __del__(self) -> None:
            """tqdm's own would draw again: a bar that was not closed is one that failed."""

    return QuietTqdm


def make_progress(option: ProgressOption, epochs: int, steps: int) -> Progress:
    """False: nothing. True: a bar. "auto": a bar on a terminal, lines otherwise. Both write to stderr."""
    if not isinstance(option, (bool, int, str)) or option not in (True, False, "auto"):
        raise ValueError(f"progress must be True, False or 'auto'; got {option!r}")

    def choose() -> Progress:
        stream = sys.stderr
        if stream is None:  # as in a program without a console
            return Progress()
        if option == "auto" and not (hasattr(stream, "isatty") and stream.isatty()):
            return Lines(stream, epochs)
        return Bar(stream, epochs, steps)

    return Guarded(choose) if option else Progress()
