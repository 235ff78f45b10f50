"""What the calls of a model are given, made into the arrays that the core takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from .._arrays import FeatureNames, as_inputs, as_numbers, as_sample_weight, as_targets, each
from ..losses import Loss
from ..losses.base import LossFunction

if TYPE_CHECKING:
    from numpy.typing import NDArray

Arrays: TypeAlias = "Sequence[NDArray[Any]]"


class Term(NamedTuple):
    """The loss of one output and its weight in the sum."""

    output: int
    name: str
    loss: Loss | LossFunction
    weight: float


class Samples(NamedTuple):
    """Arrays for the core: one for each input, one for each term, and perhaps weights (B,)."""

    x: Arrays
    y: Arrays
    sample_weight: NDArray[Any] | None

    @property
    def rows(self) -> int:
        """How many samples there are."""
        return len(self.x[0])


class Reader:
    """Makes arrays of lists, tables and dicts, and says what is wrong with what is none of these.

    The core calls it for what it does not take as it is.
    """

    def __init__(
        self,
        input_names: Sequence[str],
        input_widths: Sequence[int],
        output_names: Sequence[str],
        output_widths: Sequence[int],
        dtype: np.dtype[Any],
    ) -> None:
        self.feature_names: FeatureNames = {}
        self._input_names, self._input_widths = input_names, input_widths
        self._output_names, self._output_widths = output_names, output_widths
        self._dtype = dtype

    def inputs(
        self, x: Any, argument: str = "x", feature_names: FeatureNames | None = None
    ) -> list[NDArray[Any]]:
        """A table for each input; `feature_names` are the model's own where None."""
        known = self.feature_names if feature_names is None else feature_names
        return as_inputs(x, self._input_names, self._input_widths, known, argument)

    def grad_outputs(self, given: Any) -> list[NDArray[Any]]:
        """An array for each output, in the model's dtype."""
        pairs = each(given, self._output_names, "grad_output")
        return [np.asarray(as_numbers(item, label), dtype=self._dtype, order="C") for label, item in pairs]

    def samples(
        self,
        terms: Sequence[Term],
        x: Any,
        y: Any,
        sample_weight: Any,
        prefix: str = "",
        feature_names: FeatureNames | None = None,
    ) -> Samples:
        """A batch, or all data, for the terms of an objective; `prefix` names it in messages."""
        tables = self.inputs(x, f"{prefix}x", feature_names)
        rows = len(tables[0])
        targets = as_targets(y, [term.name for term in terms], rows, f"{prefix}y")
        for place, term in enumerate(terms):  # (B,) would broadcast against an output of (B, 1)
            if targets[place].ndim == 1 and self._output_widths[term.output] == 1:
                targets[place] = targets[place].reshape(-1, 1)
        return Samples(tables, targets, as_sample_weight(sample_weight, rows, f"{prefix}sample_weight"))
