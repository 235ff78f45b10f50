"""The gallery of examples/*.py: runs each script, and shows what it prints and draws."""

import os
import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx_gallery.scrapers import figure_rst

HEADER = """\
Examples
========

Each program trains a network, prints what it has learned, and draws it.
"""


#: The titles of the examples; an example that is missing here has its name as title.
TITLES = {
    "cartpole_dqn": "A pole on a cart, by deep Q-learning",
    "nested_network": "A layer nested in itself",
    "sphere_points": "Points on a sphere",
    "square_function": "The square function",
}


def settings(root: Path) -> dict[str, Any]:
    """The settings of sphinx-gallery, for copies of the examples, which hold their pictures."""
    copies = root / "build" / "examples"
    shutil.rmtree(copies, ignore_errors=True)
    copies.mkdir(parents=True)
    for example in sorted((root / "examples").glob("*.py")):
        # The docstring starts with a summary; a page needs a title above it.
        title = TITLES.get(example.stem, example.stem.replace("_", " "))
        text = example.read_text(encoding="utf-8").removeprefix('"""')
        (copies / example.name).write_text(f'"""\n{title}\n{"=" * len(title)}\n\n{text}', encoding="utf-8")
    (copies / "GALLERY_HEADER.rst").write_text(HEADER, encoding="utf-8")
    return {
        "examples_dirs": [os.path.relpath(copies, root / "docs")],
        "gallery_dirs": ["gallery"],
        "filename_pattern": r"\.py$",
        "within_subsection_order": "FileNameSortKey",
        "image_scrapers": ("gallery.move_pictures",),  # names, because Sphinx keeps the settings in a file
        "reset_modules": (),
        "abort_on_example_error": True,
        "download_all_examples": False,
        "write_computation_times": False,
        "min_reported_time": 1e9,
    }


def move_pictures(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Moves the pictures that an example has written to the gallery."""
    script = Path(block_vars["src_file"])
    names = []
    for picture in sorted(script.parent.glob("*.png")):
        names.append(next(block_vars["image_path_iterator"]))
        shutil.move(picture, names[-1])
    return figure_rst(names, gallery_conf["src_dir"], f"What {script.name} draws")


def setup(app: Any) -> dict[str, bool]:
    """Registers describe_thumbnails."""
    app.connect("doctree-read", describe_thumbnails)
    return {"parallel_read_safe": True}


def describe_thumbnails(app: Any, doctree: nodes.document) -> None:
    """Gives the small pictures of the gallery, which sphinx-gallery leaves without one, a text."""
    if app.env.docname == "gallery/index":
        for image in doctree.findall(nodes.image):
            if not image.get("alt"):
                name = Path(image["uri"]).stem.removeprefix("sphx_glr_").removesuffix("_thumb")
                image["alt"] = f"What {name}.py draws"
