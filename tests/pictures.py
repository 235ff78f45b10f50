"""Properties of a picture for tests: its size and the colors of its pixels."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from matplotlib.image import imread


class Picture:
    """A PNG file, decoded."""

    def __init__(self, path: Path) -> None:
        pixels = np.round(255 * imread(path)[..., :3]).astype(np.uint8)
        self.size = pixels.shape[1], pixels.shape[0]
        self._counts = Counter(f"#{pixel.tobytes().hex()}" for pixel in pixels.reshape(-1, 3))

    def pixels(self, color: str) -> int:
        """The number of pixels of exactly this color, such as "#1f77b4"."""
        return self._counts[color]

    def colored(self) -> int:
        """The number of pixels that are not gray, black or white."""
        channels = ((bytes.fromhex(color[1:]), count) for color, count in self._counts.items())
        return sum(count for rgb, count in channels if max(rgb) - min(rgb) > 30)
