"""The base class of losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from .. import _core
from .._errors import check_subclass

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Loss"]


LossFunction: TypeAlias = "Callable[[NDArray[Any], NDArray[Any]], tuple[float, NDArray[Any]]]"
Numbers: TypeAlias = "float | Sequence[float] | NDArray[Any]"


class Loss:
    """Base class of losses of a prediction a (B, O) and a target y, usually (B, O).

    The value is the weighted mean over samples, sum(w l) / sum(w), with w = 1 without sample weights.
    Trainer and Model.loss_and_gradients take an instance, or the name of a loss with default parameters.
    Losses of one kind with equal parameters compare equal.
    """

    kind: ClassVar[str]

    def __init__(self, **parameters: Numbers) -> None:
        check_subclass(self, "nncore.CrossEntropy")
        self.core = _core.Loss(self.kind, **parameters)
        self.parameters = self.core.parameters
        self._key = self.kind, tuple(self.parameters.items())

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Loss) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def __reduce__(self) -> tuple[Callable[..., Loss], tuple[object, ...]]:
        return partial(type(self), **self.parameters), ()

    def __repr__(self) -> str:
        parameters = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        return f"{type(self).__name__}({parameters})"
