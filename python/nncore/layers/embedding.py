"""Embeddings of integer codes."""

from __future__ import annotations

from collections.abc import Sequence

from .._errors import check_size
from ..graph import Layer, ParameterSpec
from ..initializers import Initializer, Normal, as_initializer
from ._base import ArrayView

__all__ = ["Embedding"]


class Embedding(Layer):
    """A lookup table: each integer i becomes row i of the weight (N, D).

    Shapes: x (B, K) of integers in [0, N), weight (N, D), y (B, K D), with N = num_embeddings and
    D = embedding_dim. The input must be integer: nncore.Input(K, is_integer=True).

    Parameters
    ----------
    num_embeddings : int
        The number of rows, N.
    embedding_dim : int
        The number of columns, D.
    initializer : str or Initializer, optional
        A name or an instance; by default Normal(1.0), as in torch.nn.Embedding.
    name : str, optional
        The layer's name; by default its index in the model.

    Examples
    --------
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
        """embedding_dim columns for each column of the one input."""
        if len(widths) != 1:
            raise ValueError(f"inputs of {self!r} must be one value; got {len(widths)}")
        return widths[0] * self.embedding_dim

    def parameter_specs(self) -> dict[str, ParameterSpec]:
        """`weight`, stored by rows."""
        shape = (self.num_embeddings, self.embedding_dim)
        return {"weight": ParameterSpec(shape, self._initializer, layout="rows")}

    def attributes(self) -> dict[str, bool | int | float | str]:
        """The shape of the table."""
        return {"num_embeddings": self.num_embeddings, "embedding_dim": self.embedding_dim}

    def __repr__(self) -> str:
        return f"Embedding({self.num_embeddings}, {self.embedding_dim})"
