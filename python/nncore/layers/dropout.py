"""Dropout."""

from __future__ import annotations

from .._errors import check_number
from ._base import OneInput

__all__ = ["Dropout"]


class Dropout(OneInput):
    """Dropout (Srivastava et al. 2014): in training, each element becomes 0 with probability p and is divided
    by 1 - p otherwise.

    Input and output: (B, features). Predictions pass the input through unchanged. The random numbers are a
    function of the model's seed, the number of training passes so far, the row in the batch and the column.

    Parameters
    ----------
    p : float, default 0.5
        The probability of 0, at least 0 and less than 1; other values raise ValueError.
    name : str, optional
        The layer's name; by default its index in the model.

    Examples
    --------
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
