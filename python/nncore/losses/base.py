"""What all losses share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Loss"]


LossFunction: TypeAlias = "Callable[[NDArray[Any], NDArray[Any]], tuple[float, NDArray[Any]]]"


class Loss:
    """A loss of the core. Trainer and loss_and_gradients take its name or an instance."""

    kind: ClassVar[str]

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
