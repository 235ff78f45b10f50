"""Properties of a picture for tests: its size, the colors of its pixels, and texts that overlap."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from pathlib import Path
from unittest.mock import patch

import numpy as np
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.path import Path as Outline
from matplotlib.text import Text
from matplotlib.transforms import Affine2D

_GAP = 3  # pixels between texts, at the least


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


def drawn_texts(figure: Figure) -> list[tuple[str, Outline]]:
    """Every text that a figure shows, and its box in pixels, turned as the text is."""
    found = []
    draw = Text.draw

    def note(text: Text, renderer: RendererBase) -> None:
        if text.get_visible() and text.get_text().strip():
            found.append((text.get_text(), _outline(text, renderer)))
        draw(text, renderer)

    with patch.object(Text, "draw", note):
        FigureCanvasAgg(figure).draw()
    return found


def _outline(text: Text, renderer: RendererBase) -> Outline:
    rotation = text.get_rotation()
    if rotation % 90 == 0:
        box = text.get_window_extent(renderer).padded(_GAP / 2)
        return Outline(box.corners()[[0, 1, 3, 2, 0]])
    assert text.get_rotation_mode() == "anchor"
    text.set_rotation(0)
    level = _outline(text, renderer)
    text.set_rotation(rotation)
    anchor = text.get_transform().transform(text.get_unitless_position())
    return level.transformed(Affine2D().rotate_deg_around(*anchor, rotation))


def overlapping_texts(figure: Figure) -> list[tuple[str, str]]:
    """The pairs of texts that lie over each other, or so near that they read as one."""
    return [
        (one, other)
        for (one, outline), (other, another) in combinations(drawn_texts(figure), 2)
        if outline.intersects_path(another, filled=True)
    ]
