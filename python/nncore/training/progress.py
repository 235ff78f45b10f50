"""Progress displays of a fit. Errors in a display never end the fit."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, TextIO, TypeAlias

ProgressOption: TypeAlias = bool | Literal["auto"]

SECONDS_A_LINE = 1.0  # at least, between lines that stay
SECONDS_UNTIL_DRAWN = 0.1  # the bar of a shorter epoch would only flicker, so it has none


class Progress:
    """A display that shows nothing. Subclasses override the events that they show."""

    def begin_epoch(self, epoch: int) -> None:
        """Called before the steps of an epoch, which counts from 1."""

    def tick(self, steps: int, mean_loss: float) -> None:
        """Called now and then between two steps."""

    def end_epoch(self, epoch: int, row: Mapping[str, float]) -> None:
        """Called after the validation of an epoch."""

    def say(self, text: str) -> None:
        """Called with a callback's message, between epochs or after the last one."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Called after the last epoch or an error."""


class Guarded(Progress):
    """Wraps another display. If that raises an Exception, the rest of the fit shows nothing.

    stderr may be missing, closed, redirected to a full disk, or replaced by an object with few methods, and
    tqdm may reject its environment variables. None of this should end a fit. Ctrl-C is not an Exception, and
    passes.
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
        """Forwards the event."""
        self._tell("begin_epoch", epoch)

    def tick(self, steps: int, mean_loss: float) -> None:
        """Forwards the event."""
        self._tell("tick", steps, mean_loss)

    def end_epoch(self, epoch: int, row: Mapping[str, float]) -> None:
        """Forwards the event."""
        self._tell("end_epoch", epoch, row)

    def say(self, text: str) -> None:
        """Forwards the event."""
        self._tell("say", text)

    def close(self) -> None:
        """Forwards the event."""
        self._tell("close")


class Pace:
    """Limits lines that stay to one a second. The first may come a second after the start."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Whether a line may be left now. If so, the next one may follow a second later."""
        now = time.monotonic()
        if now - self._last < SECONDS_A_LINE:
            return False
        self._last = now
        return True


class Lines(Progress):
    """Prints lines of epochs: at most one a second, and that of the last epoch."""

    def __init__(self, stream: TextIO, epochs: int) -> None:
        self._stream, self._epochs = stream, epochs
        self._pace = Pace()
        self._line = ""  # the line of the last epoch until it is printed

    def end_epoch(self, epoch: int, row: Mapping[str, float]) -> None:
        """Prints the epoch's columns if a line is due."""
        columns = "  ".join(f"{name} {value:.4g}" for name, value in row.items())
        self._line = f"epoch {epoch}/{self._epochs}  {columns}\n"
        if self._pace.is_due():
            self.close()

    def close(self) -> None:
        """Prints the line of the last epoch if it is not yet printed."""
        line, self._line = self._line, ""
        if line:
            _write(self._stream, line)

    def say(self, text: str) -> None:
        """Prints the text after the line of the last epoch."""
        self.close()
        _write(self._stream, f"{text}\n")


class Bar(Progress):
    """Shows tqdm's bar for the current epoch. At most one bar a second stays, and that of the last epoch."""

    def __init__(self, stream: TextIO, epochs: int, steps: int) -> None:
        self._stream, self._epochs, self._steps = stream, epochs, steps
        self._tqdm = _tqdm()
        self._pace = Pace()
        self._bar: Any = None  # of the current epoch
        self._epoch, self._begin = 0, 0.0
        self._seconds = math.inf  # the duration of the previous epoch; the first one is taken for long
        self._finished: tuple[int, float, str] | None = None  # the last epoch, until its bar is left

    def begin_epoch(self, epoch: int) -> None:
        """Draws the epoch's bar if the previous epoch was long enough for one."""
        self._epoch, self._begin = epoch, time.monotonic()
        if self._seconds >= SECONDS_UNTIL_DRAWN:
            self._bar = self._open(epoch, 0.0)

    def tick(self, steps: int, mean_loss: float) -> None:
        """Advances the bar. Draws it first if the epoch has become long enough for one."""
        if self._bar is None:
            seconds = time.monotonic() - self._begin
            if seconds < SECONDS_UNTIL_DRAWN:
                return
            self._bar = self._open(self._epoch, seconds)
        self._bar.set_postfix_str(f"loss {mean_loss:.4g}", refresh=False)
        self._bar.update(steps - self._bar.n)

    def end_epoch(self, epoch: int, row: Mapping[str, float]) -> None:
        """Leaves the full bar with the epoch's columns if one is due. Otherwise removes the bar."""
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
        """Leaves the bar of an interrupted epoch as it is, or else the full bar of the last epoch."""
        if self._bar is not None:
            bar, self._bar = self._bar, None
            bar.close()
        else:
            self._leave_finished()

    def say(self, text: str) -> None:
        """Prints the text below the bar of the last epoch."""
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
            miniters=1,  # ticks are rare, and tqdm's monitor of slow bars ignores bars with this setting
        )
        bar.start_t = bar.last_print_t = time.time() - seconds
        return bar


def _write(stream: TextIO, text: str) -> None:
    stream.write(text)
    if hasattr(stream, "flush"):  # objects that replace stderr may lack it
        stream.flush()


def _tqdm() -> Any:
    """tqdm's bar class, changed to release its resources if drawing fails."""
    from tqdm import tqdm  # only here, to keep `import nncore` fast

    class QuietTqdm(tqdm):  # type: ignore[misc]  # tqdm has no types
        """Raises only when told to draw."""

        monitor_interval = 0  # no monitor thread, which would draw too

        def refresh(self, *_: Any, **__: Any) -> Any:
            """Draws the bar. If drawing fails, tqdm's own method would keep its line on the terminal and the
            lock of all bars, so that other bars wait forever.
            """
            with self.get_lock():
                try:
                    return super().refresh(nolock=True)
                except BaseException:
                    self._instances.discard(self)
                    raise

        def __del__(self) -> None:
            """Does nothing. tqdm's own method would draw a failed bar again: only those are not closed."""

    return QuietTqdm


def make_progress(option: ProgressOption, epochs: int, steps: int) -> Progress:
    """A display on stderr. False: none. True: a bar. "auto": a bar on a terminal, lines elsewhere."""
    if not isinstance(option, (bool, int, str)) or option not in (True, False, "auto"):
        raise ValueError(f"progress must be True, False or 'auto'; got {option!r}")

    def choose() -> Progress:
        stream = sys.stderr
        if stream is None:  # in a program without a console
            return Progress()
        if option == "auto" and not (hasattr(stream, "isatty") and stream.isatty()):
            return Lines(stream, epochs)
        return Bar(stream, epochs, steps)

    return Guarded(choose) if option else Progress()
