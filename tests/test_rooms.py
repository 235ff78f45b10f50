"""The rooms of python/nncore: allowed imports, no import cycles, and the form of error messages.

Reads the syntax trees, so that imports within functions or under TYPE_CHECKING count too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from builds import REPOSITORY

PACKAGE = REPOSITORY / "python" / "nncore"

#: A module may import modules of earlier lines, and modules of its own line if this makes no cycle.
ROOMS = (
    ("_core",),
    ("_names", "_errors", "_precision", "_tables", "_arrays", "_threads", "_summary"),
    ("_safetensors",),
    ("functional", "initializers", "schedules"),
    ("losses", "metrics", "optimizers"),
    ("graph",),
    ("layers",),
    ("tangents",),
    ("plotting",),
    ("model",),
    ("training",),
    ("gradcheck",),
    ("_cli",),
    ("", "__main__"),  # nncore itself: the public names
)
LINES = {room: line for line, rooms in enumerate(ROOMS) for room in rooms}

#: Messages with another form, and the reason.
OTHER_FORMS = {
    "NotImplementedError": "a method that a subclass has",
    "RuntimeError": "a call at the wrong time has no argument to name",
    "KeyError": "what a Mapping raises",
    "ImportError": "a package that is missing is no argument",
    "OSError": "what the system says, with the path",
    "AssertionError": "a table of gradients",
    "AttributeError": "an array that a layer lacks is no argument",
    "DisagreementError": "no mistake of the user",
    "unknown_name": "words itself in the form",
    "type": "adds to the words of another error",
}


def modules(root: Path) -> dict[str, Path]:
    """The modules of the package by their names within it; "" is the package itself."""
    found = {}
    for file in [*root.rglob("*.py"), *root.rglob("*.pyi")]:
        parts = file.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(name: str, file: Path, known: Mapping[str, Path]) -> Iterator[str]:
    """The modules of the package that a module imports anywhere in its code."""
    package = name.split(".") if file.stem == "__init__" else name.split(".")[:-1]
    package = [part for part in package if part]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert not any(alias.name.split(".")[0] == "nncore" for alias in node.names), f"{name}: absolute"
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level == 0:
            assert (node.module or "").split(".")[0] != "nncore", f"{name}: absolute import"
            continue
        base = package[: len(package) - (node.level - 1)]
        target = [*base, *(node.module.split(".") if node.module else [])]
        for alias in node.names:
            inner = ".".join([*target, alias.name])
            yield inner if inner in known else ".".join(target)


def graph(root: Path) -> dict[str, set[str]]:
    """Each module with the modules that it imports."""
    known = modules(root)
    sources = {name: file for name, file in known.items() if file.suffix == ".py"}  # stubs stand for _core
    return {name: set(imports(name, file, known)) for name, file in sources.items()}


def offences(found: Mapping[str, set[str]]) -> list[str]:
    """The imports that violate the order of rooms."""
    wrong = []
    for name, imported in found.items():
        for other in imported:
            line, above = LINES[name.split(".")[0]], LINES[other.split(".")[0]]
            if above > line:
                wrong.append(f"{name} imports {other}")
    return wrong


def test_every_room_is_in_the_table() -> None:
    rooms = {name.split(".")[0] for name in modules(PACKAGE)}
    assert rooms == set(LINES)


def test_imports_obey_the_order_of_rooms() -> None:
    found = graph(PACKAGE)
    assert sum(map(len, found.values())) > 100
    assert not offences(found)


def test_no_modules_import_each_other_in_a_circle() -> None:
    TopologicalSorter(graph(PACKAGE)).prepare()


@pytest.mark.parametrize(
    "code",
    [
        "from .trainer import Trainer\n",
        "from ..training import Trainer\n",
        "def late():\n    from ..training.trainer import Trainer\n",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .. import training\n",
    ],
)
def test_circles_are_found(code: str, tmp_path: Path) -> None:
    for folder in ("training", "model"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text("from . import inner\n")
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "training" / "inner.py").write_text("")
    (tmp_path / "training" / "trainer.py").write_text("from ..model import inner\n")
    (tmp_path / "training" / "__init__.py").write_text("from . import trainer\n")
    place = "training/callbacks.py" if code.startswith("from .trainer") else "model/inner.py"
    if place.startswith("training"):
        (tmp_path / "training" / "trainer.py").write_text("from .callbacks import Callback\n")
    (tmp_path / "model" / "inner.py").write_text("")
    (tmp_path / place).write_text(code)
    found = graph(tmp_path)
    with pytest.raises(CycleError):
        TopologicalSorter(found).prepare()
    assert bool(offences(found)) == place.startswith("model")


def raised(file: Path) -> Iterator[tuple[str, str, int]]:
    """The errors raised in a file: the class, the text of the message, and the line."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            call = node.exc.func
            name = call.id if isinstance(call, ast.Name) else getattr(call, "attr", "type")
            parts = [
                part.value
                for argument in node.exc.args
                for part in ast.walk(argument)
                if isinstance(part, ast.Constant) and isinstance(part.value, str)
            ]
            yield name, "".join(parts), node.lineno


def test_mistakes_are_worded_in_one_form() -> None:
    """*`argument` must be X; got Y*"""
    count = 0
    for name, file in modules(PACKAGE).items():
        if name.startswith("_cli") or file.suffix == ".pyi":
            continue
        for error, text, line in raised(file):
            if error in OTHER_FORMS:
                continue
            count += 1
            assert " must " in text, f"{file}:{line}: {text}"
            assert "got " in text[text.index(" must ") :], f"{file}:{line}: {text}"
    assert count > 60
