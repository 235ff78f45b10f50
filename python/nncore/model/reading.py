"""Converts the arguments of a model's methods to arrays for the core."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from .._arrays import FeatureNames, Table, as_inputs, as_numbers, as_sample_weights, as_targets, each
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
    """Samples as arrays for the core: one array for each input, one for each term, and the sample weights.

    Weights (B,) are one array for all terms, a list of one for each term, or None.
    """

    x: Arrays
    y: Arrays
    sample_weight: NDArray[Any] | Arrays | None = None

    @property
    def rows(self) -> int:
        """The number of samples."""
        return len(self.x[0])

    @property
    def counted_rows(self) -> int:
        """The number of samples with a nonzero weight in some term (see `counted`)."""
        counted = self.counted()
        return self.rows if counted is None else int(np.count_nonzero(counted))

    def counted(self, term: int | None = None) -> NDArray[np.bool_] | None:
        """A mask (B,) of the samples with a nonzero weight in a term, or in any term if `term` is None.

        None if all samples have one. Also None if no sample has one in any term, which is an error that the
        core reports.
        """
        given = self.sample_weight
        if given is None:
            return None
        weights = [given] if isinstance(given, np.ndarray) else given
        if term is not None and len(weights) > 1:
            weights = [weights[term]]
        counted = np.logical_or.reduce([weight != 0 for weight in weights])
        return None if counted.all() or (term is None and not counted.any()) else counted


class Reader:
    """Converts lists, tables and dicts to arrays, with helpful errors for anything else.

    The core calls it for arguments that it cannot read directly.
    """

    def __init__(
        self,
        input_names: Sequence[str],
        input_widths: Sequence[int],
        output_names: Sequence[str],
        output_widths: Sequence[int],
        dtype: np.dtype[Any],
        integer_inputs: Sequence[bool],
    ) -> None:
        self.feature_names: FeatureNames = {}
        self._input_names, self._input_widths = input_names, input_widths
        self._output_names, self._output_widths = output_names, output_widths
        self._dtype, self._integer_inputs = dtype, integer_inputs

    def inputs(
        self, x: Any, argument: str = "x", feature_names: FeatureNames | None = None
    ) -> list[NDArray[Any]]:
        """An array for each input. `feature_names` default to the model's own."""
        return [table.present() for table in self._tables(x, argument, feature_names)]

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
        """A batch, or a whole data set, for the terms of an objective. Messages put `prefix` before names."""
        tables = self._tables(x, f"{prefix}x", feature_names)
        rows = len(tables[0].array)
        names = [term.name for term in terms]
        targets = as_targets(y, names, rows, f"{prefix}y")
        weights = as_sample_weights(sample_weight, names, rows, f"{prefix}sample_weight")
        # Samples of weight 0 are skipped, so they may have missing values.
        read = Samples([table.array for table in tables], [target.array for target in targets], weights)
        counted = read.counted()
        y_arrays = [target.present(read.counted(place)) for place, target in enumerate(targets)]
        for place, term in enumerate(terms):  # (B,) would broadcast against an output of (B, 1)
            if y_arrays[place].ndim == 1 and self._output_widths[term.output] == 1:
                y_arrays[place] = y_arrays[place].reshape(-1, 1)
        return Samples([table.present(counted) for table in tables], y_arrays, weights)

    def _tables(self, x: Any, argument: str, feature_names: FeatureNames | None) -> list[Table]:
        """The tables of all inputs, with NaN for missing values in inputs that are not of integers."""
        known = self.feature_names if feature_names is None else feature_names
        tables = as_inputs(x, self._input_names, self._input_widths, known, argument)
        pairs = zip(tables, self._integer_inputs, strict=True)
        return [table if is_integer else table.or_nan() for table, is_integer in pairs]
