"""Dropout."""

from __future__ import annotations

from .._errors import check_number
from ._base import OneInput

__all__ = ["Dropout"]


class Dropout(OneInput):
    """In training each number is 0 with probability `p`, else over 1 - p; predictions leave numbers as they
    are (Srivastava et al. 2014). The random numbers are a function of the model's seed, the number of passes
    for training before, the row of the batch and the column.

    Raises ValueError unless p is at least 0 and less than 1.

    >>> import nncore as nc
    >>> model = nc.Sequential(nc.Dense(4, 8), nc.ReLU(), nc.Dropout(0.2), nc.Dense(8, 2), seed=0)
    """

    kind = "dropout"
    options = ("p",)

    def __init__(self, p: float = 0.5, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.p = check_number(p, "p")
        if not 0.0 <= self.p < 1.0:
            raise ValueError(f"p must be at least 0 and less than 1; got {p}")

    def __repr__(self) -> str:
        return f"Dropout(p={self.p:g})"
