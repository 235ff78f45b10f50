"""Offers each executable page as a notebook, with its results, to download."""

import shutil
from pathlib import Path
from typing import Any


def setup(app: Any) -> dict[str, bool]:
    """Registers the functions below."""
    app.connect("html-page-context", offer)
    app.connect("build-finished", copy)
    app.connect("builder-inited", copy_mathjax)
    app.add_config_value("mathjax_files", None, "")
    return {"parallel_read_safe": True}


def executed(app: Any) -> Path:
    """The folder where MyST-NB leaves the notebooks that it has executed."""
    return Path(app.outdir).parent / "jupyter_execute"


def offer(app: Any, pagename: str, _template: str, context: dict[str, Any], _doctree: Any) -> None:
    """Gives the template notebook.html the address of the page's notebook."""
    if (executed(app) / f"{pagename}.ipynb").exists():
        context["notebook"] = f"notebooks/{pagename}.ipynb"


def copy(app: Any, exception: Exception | None) -> None:
    """Copies the notebooks into the site."""
    if exception is None and executed(app).exists():
        shutil.copytree(executed(app), Path(app.outdir) / "notebooks", dirs_exist_ok=True)


def copy_mathjax(app: Any) -> None:
    """Copies the part of MathJax that the site uses."""
    target = Path(app.outdir) / "_static" / "mathjax"
    for name in ("tex-mml-chtml.js", "output/chtml/fonts"):
        source = Path(app.config.mathjax_files) / name
        if source.is_dir():
            shutil.copytree(source, target / name, dirs_exist_ok=True)
        else:
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
