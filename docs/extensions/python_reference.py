"""Writes the pages of the Python reference: one for each public name of nncore, one for each module."""

import ast
import importlib
import inspect
import re
from collections.abc import Iterable
from pathlib import Path

import nncore

#: The title of each group and the modules whose public names it lists. Other public names go under More.
GROUPS = {
    "Models": ("model", "graph", "tangents"),
    "Layers and activations": ("layers",),
    "Losses": ("losses",),
    "Optimizers and schedules": ("optimizers", "schedules"),
    "Initializers": ("initializers",),
    "Training": ("training", "metrics"),
    "Gradient checks": ("gradcheck",),
}
MODULES = {"functional": "Functions of arrays", "plotting": "Plotting"}


def public_names() -> list[str]:
    """The qualified public names: those of nncore and of its public modules."""
    names = [f"nncore.{name}" for name in nncore.__all__ if name not in MODULES]
    for module in MODULES:
        imported = importlib.import_module(f"nncore.{module}")
        names += [f"nncore.{module}", *(f"nncore.{module}.{name}" for name in imported.__all__)]
    return names


def write(folder: Path) -> None:
    """Writes the pages, and removes those of names that no longer exist."""
    pages: dict[str, list[str]] = {}
    names = {name for name in nncore.__all__ if name not in MODULES}
    listed = {module for modules in GROUPS.values() for module in modules}
    grouped = {title: names_of(*modules) & names for title, modules in GROUPS.items()}
    grouped["More"] = names.difference(*grouped.values())
    assert listed <= set(vars(nncore)), "GROUPS names modules that nncore lacks"
    index = [*heading("Python API"), "Import these names from ``nncore``.", ""]
    for title, group in grouped.items():
        ordered = sorted(group, key=lambda name: (not inspect.isclass(getattr(nncore, name)), name.lower()))
        index += [
            *heading(title, "-"),
            *table("nncore", ordered),
            *toctree([f"nncore.{name}" for name in ordered], title),
        ]
        for name in ordered:
            pages[f"nncore.{name}"] = [*heading(name), *directive("nncore", name)]
    index += heading("Modules", "-")
    index += [
        *table("nncore", MODULES),
        *toctree([*(f"nncore.{module}" for module in MODULES), "loops"], "Modules"),
    ]
    for module, title in MODULES.items():
        qualified = f"nncore.{module}"
        page = [*heading(f"{title}: {qualified}"), f".. automodule:: {qualified}", ""]
        public = sorted(importlib.import_module(qualified).__all__)
        page += table(qualified, public)
        for name in public:
            page += directive(qualified, name)
        pages[qualified] = page
    index += ["The tests compute the formulas again, :doc:`as plain loops <loops>`.", ""]
    pages["index"] = index
    write_changed(folder, pages)


def write_loops(file: Path, tests: Path) -> None:
    """Writes the page of the tests that compute each formula with plain loops."""
    lines = [
        *heading("The formulas as plain loops"),
        "The tests compute each formula of :doc:`/math` again, with scalars and plain Python loops, and",
        "compare nncore with the result. This page shows them. The loops themselves are in",
        ":ref:`scalar-math`.",
        "",
    ]
    page = tests.parent / "docs" / "math.md"
    named = tuple(re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8")))
    for name in ("test_math.py", "test_math_models.py"):
        source = (tests / name).read_text(encoding="utf-8")
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith(named):
                title = node.name.removeprefix("test_").replace("_", "-")
                first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
                lines += [f".. _{node.name}:", "", *heading(title, "-")]
                lines += [f".. literalinclude:: ../../tests/{name}", "   :language: python"]
                lines += [f"   :lines: {first}-{node.end_lineno}", ""]
    lines += [".. _scalar-math:", "", *heading("scalar_math", "-")]
    lines += [".. literalinclude:: ../../tests/scalar_math.py", "   :language: python", ""]
    write_if_changed(file, "\n".join(lines))


def names_of(*modules: str) -> set[str]:
    """The public names of modules of nncore."""
    return {name for module in modules for name in importlib.import_module(f"nncore.{module}").__all__}


def heading(title: str, underline: str = "=") -> list[str]:
    """A heading."""
    return [title, underline * len(title), ""]


def table(module: str, names: Iterable[str]) -> list[str]:
    """A table of names with the first sentences of their docstrings."""
    return [f".. currentmodule:: {module}", "", ".. autosummary::", "", *(f"   {name}" for name in names), ""]


def toctree(pages: Iterable[str], caption: str = "") -> list[str]:
    """A hidden table of contents, for the navigation."""
    options = [f"   :caption: {caption}"] if caption else []
    return [".. toctree::", "   :hidden:", *options, "", *(f"   {page}" for page in pages), ""]


def directive(module: str, name: str) -> list[str]:
    """The documentation of a name."""
    value = getattr(importlib.import_module(module), name)
    if name == "__version__":
        lines = [".. py:data:: __version__", "   :type: str", "", "   The version of nncore."]
    elif inspect.isclass(value):
        lines = [f".. autoclass:: {name}", "   :members:", "   :inherited-members: dict, Exception, object"]
    else:
        lines = [f".. autofunction:: {name}"]
    return [f".. currentmodule:: {module}", "", *lines, ""]


def write_changed(folder: Path, pages: dict[str, list[str]]) -> None:
    """Makes `folder` hold exactly these pages."""
    folder.mkdir(exist_ok=True)
    for file in folder.glob("*.rst"):
        if file.stem not in pages and file.stem != "loops":
            file.unlink()
    for name, lines in pages.items():
        write_if_changed(folder / f"{name}.rst", "\n".join(lines))


def write_if_changed(file: Path, text: str) -> None:
    """Keeps the time of a file that would not change, so that Sphinx does not read it again."""
    if not file.exists() or file.read_text(encoding="utf-8") != text:
        file.write_text(text, encoding="utf-8")
