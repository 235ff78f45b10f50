"""Values for `optimizer.transforms`: transforms of gradients, and the moving average of parameters."""

from .._core import clip_by_global_norm, clip_by_value, moving_average

__all__ = ["clip_by_global_norm", "clip_by_value", "moving_average"]
