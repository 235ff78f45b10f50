"""Initializers: the numbers that parameters start from. Drawn in the core, from the model's seed."""

from __future__ import annotations

from typing import ClassVar

__all__ = ["Initializer"]


class Initializer:
    """How a weight (O, I) or a bias (O,) starts. Layers take the name or an instance."""

    kind: ClassVar[str]

    @property
    def value(self) -> float:
        """The number itself, for those that set one."""
        return 0.0

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
