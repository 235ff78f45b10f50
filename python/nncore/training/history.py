"""History: the values reported by every epoch of a trainer."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from .. import _core
from .._errors import check_list, described
from .._summary import html_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..plotting.axes import SeveralAxes

    _Columns = dict[str, list[float]]
else:

    class _Columns(Mapping, dict):
        """A dict, as pandas requires, whose methods read it through `__getitem__` and `__iter__`."""


_MOST_ROWS = 20  # of a table in a notebook


class History(_Columns):
    """The history of a trainer: a dict from column names to lists with one number per epoch.

    - "loss": the mean over the epoch's steps.
    - Metrics on the training data, "val_loss" and "val_" metrics: with the parameters after the epoch.
    - "learning_rate": that of the epoch's last step, if the optimizer has a schedule.
    - "seconds": the duration of the epoch, in seconds, with its metrics and validation.

    It holds only complete epochs; `epochs` counts them. `seed` is the trainer's. If an epoch did not report a
    column, its value is NaN. Values are returned as copies, and only the trainer can change the history.
    `pandas.DataFrame(history)` makes a table with one row per epoch.

    >>> history = History(seed=0)
    >>> history.append({"loss": 0.5, "seconds": 1.0})
    >>> history["loss"], history.epochs
    ([0.5], 1)
    """

    def __init__(self, seed: int) -> None:
        dict.__init__(self)
        self.seed = seed
        self.life = object()  # identifies the sequence of epochs; a new one when they are replaced

    @property
    def epochs(self) -> int:
        """The number of complete epochs."""
        return min(map(len, dict.values(self)), default=0)

    @property
    def last(self) -> dict[str, float]:
        """The values of the last epoch by column. Empty before the first."""
        return {name: column[-1] for name, column in self.items() if column}

    def append(self, row: Mapping[str, float]) -> None:
        """Adds an epoch."""
        if not isinstance(row, Mapping):
            raise TypeError(f"row must be a dict of columns; got {described(row)}")
        added = [name for name in row if not dict.__contains__(self, name)]
        epochs = self.epochs if added else 0
        dict.update(self, {name: [math.nan] * epochs for name in added})
        columns = dict(dict.items(self))
        values = [row.get(name, math.nan) for name in columns]
        # One call without Python in between: no Ctrl-C or other thread sees columns of different lengths.
        deque(map(list.append, columns.values(), values), maxlen=0)

    def changes_to(self, columns: Mapping[str, list[float]], seed: int) -> list[_core._Change]:
        """The changes that restore a checkpoint's history, for `_core.call_together`."""
        if not isinstance(columns, Mapping):
            raise TypeError(f"columns must be a dict of lists; got {described(columns)}")
        lists = {name: check_list(one, f"columns[{name!r}]", "numbers") for name, one in columns.items()}
        if len(lengths := sorted({len(one) for one in lists.values()})) > 1:
            raise ValueError(f"columns must have the same length; got {lengths}")
        return [
            partial(dict.clear, self),
            partial(dict.update, self, lists),
            partial(setattr, self, "life", object()),
            partial(setattr, self, "seed", seed),
        ]

    def copy(self) -> dict[str, list[float]]:
        """A plain dict with copies of the columns."""
        return dict(self)

    def __getitem__(self, column: str) -> list[float]:
        return list(dict.__getitem__(self, column))  # type: ignore[index]  # mypy sees a type expression

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(dict.keys(self)))

    def __len__(self) -> int:
        return dict.__len__(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return _history, (type(self), dict(self), vars(self))

    def __repr__(self) -> str:
        return f"<History of {self.epochs} epochs: {', '.join(self) or 'nothing yet'}>"

    def __str__(self) -> str:
        lines = ["epoch  " + "  ".join(f"{column:>12}" for column in self)]
        for epoch, row in enumerate(zip(*self.values(), strict=True), start=1):
            lines.append(f"{epoch:5}  " + "  ".join(f"{value:12.6g}" for value in row))
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """A table with a row for each epoch, for notebooks; the first and last ten of many."""
        rows = [
            [str(epoch), *(f"{value:.6g}" for value in row)]
            for epoch, row in enumerate(zip(*self.values(), strict=True), start=1)
        ]
        if len(rows) > _MOST_ROWS:
            half = _MOST_ROWS // 2
            rows = [*rows[:half], ["..."] * len(rows[0]), *rows[-half:]]
        header = ["epoch", *self]
        return html_table(f"History of {self.epochs} epochs", header, rows, "r" * len(header))

    def plot(self, columns: str | Iterable[str] | None = None, *, ax: SeveralAxes = None) -> list[Axes]:
        """Draws the learning curves and returns the axes of the panels: `nncore.plotting.learning_curves`.

        >>> import nncore as nc
        >>> history = nc.Trainer(nc.mlp([1, 1], seed=0), "mse").fit([[0.0]], [1.0], 3, progress=False)
        >>> [axes] = history.plot("loss")
        >>> axes.lines[0].get_ydata().tolist() == history["loss"]
        True
        """
        from ..plotting import learning_curves  # only drawing needs it

        return learning_curves(self, columns, ax=ax)

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(
            "history must be changed only by its trainer; got a change: copy it with dict(history)"
        )

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


def _history(kind: type[History], columns: dict[str, list[float]], attributes: dict[str, Any]) -> History:
    """Rebuilds a history that was pickled or copied."""
    history = kind.__new__(kind)
    dict.update(history, columns)
    vars(history).update(attributes)
    return history
