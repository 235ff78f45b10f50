"""The base class of initializers. The core draws the numbers from the model's seed."""

from __future__ import annotations

from typing import ClassVar

from .. import _core
from .._errors import check_subclass

__all__ = ["Initializer"]


class Initializer:
    """Base class of initializers: the initial values of a weight (O, I), a bias (O,) or another array.

    Layers take an instance, or the name of an initializer with default parameters, such as "he_normal".
    """

    kind: ClassVar[str]

    def __init__(self, **parameters: float) -> None:
        check_subclass(self, "nncore.Zeros")
        _core.check_initializer(self.kind, **parameters)
        self.parameters = parameters

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.parameters.items())})"
