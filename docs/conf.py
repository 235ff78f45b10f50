"""The site. Build it with: python -m sphinx -W --keep-going -b html docs build/site"""

import sys
import tomllib
from pathlib import Path

import nncore

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(DOCS / "extensions"))

# These modules lie in the folder that the line above adds to the path.
import cpp_reference  # noqa: E402
import gallery  # noqa: E402
import python_reference  # noqa: E402

project = "nncore"
author = "The nncore developers"
copyright = author  # noqa: A001 - Sphinx reads this name
version = release = nncore.__version__
repository_url = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]["Repository"]

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_nb",
    "breathe",
    "sphinx_gallery.gen_gallery",
    "docstrings",
    "gallery",
    "links",
    "mathjax_files",
]
exclude_patterns = ["**/.ipynb_checkpoints", "extensions", "gallery/*.ipynb"]
default_role = "py:obj"
toc_object_entries_show_parents = "hide"

# Markdown as GitHub shows it.
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 4
suppress_warnings = ["mystnb.lexer"]
nb_execution_mode = "auto"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True

# Python: every public name.
autosummary_generate = False
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 80
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
python_reference.write(DOCS / "api")
python_reference.write_loops(DOCS / "api" / "loops.rst", ROOT / "tests")

# C++: every header of cpp/include.
doxygen_xml = cpp_reference.run_doxygen(ROOT)
breathe_projects = {"nncore": str(doxygen_xml)}
breathe_default_project = "nncore"
breathe_default_members = ("members", "undoc-members")
breathe_show_include = False
cpp_maximum_signature_line_length = 80
cpp_reference.write(DOCS / "cpp", ROOT / "cpp" / "include", doxygen_xml)

sphinx_gallery_conf = gallery.settings(ROOT)

html_theme = "pydata_sphinx_theme"
html_title = f"nncore {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {page: [] for page in ("index", "installation", "tutorial", "math", "gallery/*")}
html_theme_options = {
    "logo": {"text": "nncore"},
    "header_links_before_dropdown": 6,
    "icon_links": [{"name": "Source", "url": repository_url, "icon": "fa-brands fa-github"}],
    "secondary_sidebar_items": ["page-toc"],
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}

mathjax_path = "mathjax/tex-mml-chtml.js"  # in the site, which loads nothing from elsewhere
