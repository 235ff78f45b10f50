"""Transforms of gradients, and what follows the parameters: `optimizer.transforms`."""

from .._core import clip_by_global_norm, clip_by_value, moving_average

__all__ = ["clip_by_global_norm", "clip_by_value", "moving_average"]
