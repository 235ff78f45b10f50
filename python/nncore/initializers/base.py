"""What all initializers share. Numbers are drawn in the core, from the model's seed."""

from __future__ import annotations

from typing import ClassVar

from .. import _core
from .._errors import check_subclass

__all__ = ["Initializer"]


class Initializer:
    """How a weight (O, I) or a bias (O,) starts. Layers take the name or an instance."""

    kind: ClassVar[str]

    def __init__(self, **parameters: float) -> None:
        check_subclass(self, "nncore.Zeros")
        _core.check_initializer(self.kind, **parameters)
        self.parameters = parameters

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in self.parameters.items())})"
