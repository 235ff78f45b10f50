"""Progress: what a person sees while a model trains."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Literal, TypeAlias

ProgressOption: TypeAlias = bool | Literal["auto"]


class Progress:
    """Shows nothing; the others say something at some of these moments. All write to stderr."""

    def __init__(self, epochs: int, steps: int) -> None:
        self.epochs = epochs
        self.steps = steps  # of an epoch

    def begin_epoch(self, epoch: int) -> None:
        """Before the steps of an epoch, counted from 1."""

    def tick(self, steps: int, mean_loss: float) -> None:
        """Between two steps, every now and then."""

    def end_epoch(self, epoch: int, row: Mapping[str, float]) -> None:
        """After the validation of an epoch."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """After the last epoch, or an error."""


class Lines(Progress):
    """A line for every epoch."""

    def end_epoch(self, epoch: int, row: Mapping[str, float]) -> None:
        """Prints the epoch's columns."""
        columns = "  ".join(f"{name} {value:.4g}" for name, value in row.items())
        print(f"epoch {epoch}/{self.epochs}  {columns}", file=sys.stderr, flush=True)


class Bar(Progress):
    """A bar for every epoch, by tqdm."""

    def __init__(self, epochs: int, steps: int) -> None:
        super().__init__(epochs, steps)
        self._bar: Any = None

    def begin_epoch(self, epoch: int) -> None:
        """Opens the epoch's bar."""
        from tqdm import tqdm

        self._bar = tqdm(total=self.steps, desc=f"epoch {epoch}/{self.epochs}", unit="step")

    def tick(self, steps: int, mean_loss: float) -> None:
        """Moves it."""
        self._bar.set_postfix_str(f"loss {mean_loss:.4g}", refresh=False)
        self._bar.update(steps - self._bar.n)

    def end_epoch(self, epoch: int, row: Mapping[str, float]) -> None:
        """Fills it and adds the epoch's columns."""
        columns = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "seconds")
        self._bar.set_postfix_str(columns, refresh=False)
        self._bar.update(self.steps - self._bar.n)
        self.close()

    def close(self) -> None:
        """Leaves the bar as it is."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def make_progress(option: ProgressOption, epochs: int, steps: int) -> Progress:
    """False: nothing. True: a bar. "auto": a bar on a terminal, a line for every epoch otherwise."""
    if option not in (True, False, "auto"):
        raise ValueError(f"progress must be True, False or 'auto'; given {option!r}")
    if option == "auto":
        return (Bar if sys.stderr.isatty() else Lines)(epochs, steps)
    return (Bar if option else Progress)(epochs, steps)
