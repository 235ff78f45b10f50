"""Copies the part of MathJax that the site uses into the site."""

import shutil
from pathlib import Path
from typing import Any

import mathjax

SOURCE = Path(mathjax.__file__).parent / "static" / "mathjax" / "es5"


def setup(app: Any) -> dict[str, bool]:
    """Registers copy_mathjax."""
    app.connect("builder-inited", copy_mathjax)
    return {"parallel_read_safe": True}


def copy_mathjax(app: Any) -> None:
    """Copies the program and its fonts."""
    target = Path(app.outdir) / "_static" / "mathjax"
    fonts = Path("output", "chtml", "fonts")
    shutil.copytree(SOURCE / fonts, target / fonts, dirs_exist_ok=True)
    shutil.copy2(SOURCE / "tex-mml-chtml.js", target)
