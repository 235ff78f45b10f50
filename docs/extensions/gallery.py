"""The gallery of examples/*.py: runs each script, and shows what it prints and draws."""

import os
import shutil
from pathlib import Path
from typing import Any

from sphinx_gallery.scrapers import figure_rst

HEADER = """\
Examples
========

Each program trains a network, prints what it has learned, and draws it.
"""


def settings(root: Path) -> dict[str, Any]:
    """The settings of sphinx-gallery, for copies of the examples: they write their pictures beside themselves."""
    copies = root / "build" / "examples"
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir(parents=True)
    for example in sorted((root / "examples").glob("*.py")):
        shutil.copy2(example, copies)
    (copies / "GALLERY_HEADER.rst").write_text(HEADER, encoding="utf-8")
    return {
        "examples_dirs": [os.path.relpath(copies, root / "docs")],
        "gallery_dirs": ["gallery"],
        "filename_pattern": r"\.py$",
        "within_subsection_order": "FileNameSortKey",
        "image_scrapers": (move_pictures,),
        "reset_modules": (),
        "reset_argv": lambda _conf, _script: ["--quick"],
        "abort_on_example_error": True,
        "download_all_examples": False,
        "min_reported_time": 1e9,
        "show_memory": False,
        "show_signature": False,
        "plot_gallery": True,
    }


def move_pictures(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Moves the pictures that an example has written to the gallery."""
    script = Path(block_vars["src_file"])
    names = []
    for picture in sorted(script.parent.glob("*.png")):
        names.append(next(block_vars["image_path_iterator"]))
        shutil.move(picture, names[-1])
    title = script.stem.replace("_", " ")
    return figure_rst(names, gallery_conf["src_dir"], f"What the example {title} draws")
