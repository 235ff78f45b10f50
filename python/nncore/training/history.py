"""History: what every epoch of a trainer's life reported."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping


class History(Mapping[str, list[float]]):
    """Columns by name, a number an epoch: "loss" (the mean over the epoch's steps), the metrics on the
    training data and "val_loss" and val_ metrics (all with the parameters as the epoch left them),
    "learning_rate" (that of the epoch's last step, where the optimizer has a schedule), "seconds".

    Holds whole epochs only. `epochs` counts them; `seed` is the trainer's. NaN stands where an epoch did not
    report a column.

    >>> history = History(seed=0)
    >>> history.append({"loss": 0.5, "seconds": 1.0})
    >>> history["loss"], history.epochs
    ([0.5], 1)
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._rows: list[dict[str, float]] = []  # one list, so that an epoch is added at once or not at all
        self.life = object()  # another one where the epochs are replaced

    @property
    def epochs(self) -> int:
        """The number of whole epochs."""
        return len(self._rows)

    @property
    def last(self) -> dict[str, float]:
        """The columns of the last epoch; empty before the first."""
        return dict(self._rows[-1]) if self._rows else {}

    def append(self, row: Mapping[str, float]) -> None:
        """Adds an epoch."""
        self._rows.append(dict(row))

    def replace(self, columns: Mapping[str, list[float]]) -> None:
        """Takes over the columns of a checkpoint."""
        rows = zip(*columns.values(), strict=True)
        self._rows, self.life = [dict(zip(columns, row, strict=True)) for row in rows], object()

    def __getitem__(self, column: str) -> list[float]:
        if column not in self._columns():
            raise KeyError(column)
        return [row.get(column, math.nan) for row in self._rows]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns())

    def __len__(self) -> int:
        return len(self._columns())

    def __repr__(self) -> str:
        return f"<History of {self.epochs} epochs: {', '.join(self) or 'nothing yet'}>"

    def __str__(self) -> str:
        columns = list(self)
        lines = ["epoch  " + "  ".join(f"{column:>12}" for column in columns)]
        for epoch, row in enumerate(self._rows, start=1):
            lines.append(f"{epoch:5}  " + "  ".join(f"{row.get(c, math.nan):12.6g}" for c in columns))
        return "\n".join(lines)

    def _columns(self) -> dict[str, None]:
        return dict.fromkeys(column for row in self._rows for column in row)
