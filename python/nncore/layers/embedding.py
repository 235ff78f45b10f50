"""Embeddings of integers."""

from __future__ import annotations

from collections.abc import Sequence

from .._errors import check_size
from ..graph import Layer, ParameterSpec
from ..initializers import Initializer, Normal, as_initializer
from ._base import ArrayView

__all__ = ["Embedding"]


class Embedding(Layer):
    """Row i of a table (N, D) for each integer i: x (B, K) of integers in [0, N), y (B, K D).

    It reads an input of integers, nc.Input(K, is_integer=True). `initializer` is a name or an instance;
    numbers start normal with standard deviation 1, as torch.nn.Embedding's do.

    >>> import nncore as nc
    >>> x = nc.Input(2, is_integer=True)
    >>> model = nc.Model(x, nc.Embedding(10, 3)(x), seed=0)
    >>> model.predict([[1, 9]]).shape
    (1, 6)
    """

    kind = "embedding"
    options = ("num_embeddings", "embedding_dim")

    weight = ArrayView("weight")
    grad_weight = ArrayView("weight", gradient=True)

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        *,
        initializer: str | Initializer | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.num_embeddings = check_size(num_embeddings, "num_embeddings")
        self.embedding_dim = check_size(embedding_dim, "embedding_dim")
        self._initializer = Normal() if initializer is None else as_initializer(initializer, "initializer")

    def output_features(self, widths: Sequence[int]) -> int:
        """embedding_dim columns for each of its one input."""
        if len(widths) != 1:
            raise ValueError(f"inputs of {self!r} must be one value; got {len(widths)}")
        return widths[0] * self.embedding_dim

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """The table."""
        shape = (self.num_embeddings, self.embedding_dim)
        return {"weight": ParameterSpec(shape, self._initializer, layout="rows")}

    def attributes(self) -> dict[str, bool | int | float | str]:
        """Its sizes."""
        return {"num_embeddings": self.num_embeddings, "embedding_dim": self.embedding_dim}

    def __repr__(self) -> str:
        return f"Embedding({self.num_embeddings}, {self.embedding_dim})"
