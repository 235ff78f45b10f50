"""Writes what follows from the core's tables: Python's classes, nncore.functional, the stubs, tables in docs.

    python tools/generate.py [--root FOLDER]

An activation, a loss, an optimizer or an initializer is one entry of a table in C++ (cpp/include/nncore),
which the compiled core tells as `nncore._core.entries`. Run this after a change of those tables, with the
changed core installed; the tests compare what is in the tree with what this would write.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
WIDTH = 110

Entry = dict[str, Any]
Parameter = dict[str, Any]

HEADER = "# Written by tools/generate.py from the core's tables; changes here are lost.\n"


def load_core() -> ModuleType:
    """The installed core, without the Python around it, which may be what is to be written."""
    package = importlib.util.find_spec("nncore")
    if package is None or package.origin is None:
        raise SystemExit("nncore must be installed: pip install .")
    [path] = Path(package.origin).parent.glob("_core*.so")
    spec = importlib.util.spec_from_file_location("nncore._core", path)
    assert spec is not None
    assert spec.loader is not None
    core = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(core)
    return core


# Python source ------------------------------------------------------------------------------------------


def docstring(text: str, indent: int = 4) -> str:
    """A docstring as ruff leaves it: paragraphs are wrapped, lines that begin with a blank stay."""
    margin = " " * indent
    paragraphs = [
        paragraph
        if paragraph.startswith(" ")
        else textwrap.fill(" ".join(paragraph.split()), WIDTH - indent - 4)
        for paragraph in text.split("\n\n")
    ]
    body = textwrap.indent("\n\n".join(paragraphs), margin).lstrip()
    closing = f"\n{margin}" if "\n" in body else ""
    return f'{margin}"""{body}{closing}"""\n'


def call(head: str, arguments: list[str], tail: str, indent: int = 0) -> str:
    """`head(arguments)tail`, one argument a line where a line does not hold them."""
    margin = " " * indent
    line = f"{margin}{head}({', '.join(arguments)}){tail}"
    if len(line) <= WIDTH:
        return line + "\n"
    inner = "".join(f"{margin}    {argument},\n" for argument in arguments if argument not in ("*", "/"))
    if "*" in arguments:
        inner = "".join(f"{margin}    {argument},\n" for argument in arguments)
    return f"{margin}{head}(\n{inner}{margin}){tail}\n"


def default(parameter: Parameter) -> str:
    """The default as Python writes it."""
    choices = parameter["choices"]
    if not choices:
        return repr(parameter["default"])
    word = choices[int(parameter["default"])]
    return word if choices == ["False", "True"] else repr(word).replace("'", '"')


def annotation(parameter: Parameter) -> str:
    """The type of a parameter."""
    choices = parameter["choices"]
    if not choices:
        return "Numbers" if parameter["vector"] else "float"
    if choices == ["False", "True"]:
        return "bool"
    return f"Literal[{', '.join(repr(word) for word in choices)}]".replace("'", '"')


def allowed(parameter: Parameter) -> str:
    """What a parameter may be, in words; nothing where its meaning says it."""
    if parameter["choices"]:
        return ""
    each = ", or a sequence of one for each column of the target" if parameter["vector"] else ""
    return f", {parameter['range']['text']}{each}"


def meanings(entry: Entry) -> str:
    """A paragraph for each parameter."""
    return "\n\n".join(f"{p['name']}: {p['meaning']}{allowed(p)}." for p in entry["parameters"])


def arguments_of(entry: Entry) -> list[str]:
    """The parameters as those of a function."""
    return [f"{p['name']}: {annotation(p)} = {default(p)}" for p in entry["parameters"]]


def entry_class(entry: Entry, base: str, keywords: list[str]) -> str:
    """The class of an entry: what it is, and a constructor where it has parameters."""
    text = entry["summary"] + (f"\n\n{entry['formula']}." if base == "Optimizer" else "")
    if entry["parameters"]:
        text += "\n\n" + meanings(entry)
    source = f'\n\nclass {entry["class_name"]}({base}):\n{docstring(text)}\n    kind = "{entry["name"]}"\n'
    names = [p["name"] for p in entry["parameters"]]
    if not names:
        return source
    if base == "Activation":
        listed = ", ".join(f'"{name}"' for name in names) + ("," if len(names) == 1 else "")
        source += f"    options = ({listed})\n"
    source += "\n" + call("def __init__", ["self", *arguments_of(entry), *keywords], " -> None:", 4)
    passed = [f"{name}={name}" for name in [*names, *(word.partition(":")[0] for word in keywords[1:])]]
    return source + call("super().__init__", passed, "", 8)


def entry_module(title: str, imports: str, base: str, entries: list[Entry], keywords: list[str]) -> str:
    """A module of nothing but classes of entries."""
    names = sorted((entry["class_name"] for entry in entries), key=_sorted_as_ruff_does)
    listed = "".join(f'    "{name}",\n' for name in names)
    source = f'{HEADER}"""{title}"""\n\nfrom __future__ import annotations\n\n{imports}\n'
    source += f"__all__ = [\n{listed}]\n"
    source += "".join(entry_class(entry, base, keywords) for entry in entries)
    rows = "".join(f'    "{entry["name"]}": {entry["class_name"]},\n' for entry in entries)
    return f"{source}\n\nENTRIES: dict[str, type[{base}]] = {{\n{rows}}}\n"


def _sorted_as_ruff_does(name: str) -> tuple[int, str]:
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2), name


# What is written ----------------------------------------------------------------------------------------


def activations_module(entries: list[Entry]) -> str:
    """python/nncore/layers/activations.py"""
    literal = any(p["choices"] for entry in entries for p in entry["parameters"])
    imports = (
        "from typing import Literal\n\n" if literal else ""
    ) + "from .activation_base import Activation\n"
    return entry_module("Activations.", imports, "Activation", entries, ["*", "name: str | None = None"])


def losses_module(entries: list[Entry]) -> str:
    """python/nncore/losses/entries.py"""
    numbers = any(p["vector"] for entry in entries for p in entry["parameters"])
    imports = f"from .base import Loss{', Numbers' if numbers else ''}\n"
    return entry_module("Losses.", imports, "Loss", entries, [])


def optimizers_module(entries: list[Entry]) -> str:
    """python/nncore/optimizers/entries.py"""
    imports = "from collections.abc import Iterable\n\nfrom ..schedules import Schedule\n"
    imports += "from .base import Optimizer, Transform\n"
    keywords = ["*", "schedule: Schedule | None = None", "transforms: Iterable[Transform] = ()"]
    return entry_module("Optimizers.", imports, "Optimizer", entries, keywords)


def initializers_module(entries: list[Entry]) -> str:
    """python/nncore/initializers/entries.py"""
    return entry_module("Initializers.", "from .base import Initializer\n", "Initializer", entries, [])


def function_names(entries: dict[str, list[Entry]]) -> list[str]:
    """The functions of nncore.functional."""
    names = ["dense_backward", "dense_forward", "exp", "log"]
    for entry in entries["activations"]:
        names += [entry["name"], f"{entry['name']}_backward"]
    for entry in entries["losses"]:
        names += [entry["name"], f"{entry['name']}_and_gradient"]
    return sorted(names)


def functional_module(entries: dict[str, list[Entry]]) -> str:
    """python/nncore/functional.py, whose docstring is tools/functional.txt."""
    text = (REPOSITORY / "tools" / "functional.txt").read_text(encoding="utf-8").strip()
    names = function_names(entries)
    imported = "".join(f"    {name},\n" for name in names)
    listed = "".join(f'    "{name}",\n' for name in names)
    return f'{HEADER}"""{text}\n"""\n\nfrom ._core import (\n{imported})\n\n__all__ = [\n{listed}]\n'


def stub_functions(entries: dict[str, list[Entry]]) -> Iterator[str]:
    """The functions of nncore.functional that follow from entries, as stubs."""
    for entry in entries["activations"]:
        own = [f"{p['name']}: {annotation(p)} = {default(p)}" for p in entry["parameters"]]
        kept = "z" if entry["derivative_reads"] == "input" else "output"
        yield call(
            f"def {entry['name']}[A: _FloatArray]", ["z: A", "*", "out: A | None = None", *own], " -> A: ..."
        )
        yield call(
            f"def {entry['name']}_backward[A: _FloatArray]",
            [
                "grad_output: A",
                f"{kept}: A",
                "*",
                "out: A | None = None",
                "accumulate: bool = False",
                *own,
            ],
            " -> A: ...",
        )
    for entry in entries["losses"]:
        yield from _stub_loss(entry)


def _stub_loss(entry: Entry) -> Iterator[str]:
    target = "target: A | _IntegerArray" if entry["takes_labels"] else "target: A"
    own = [
        f"{p['name']}: {annotation(p).replace('Numbers', '_Numbers')} = {default(p)}"
        for p in entry["parameters"]
    ]
    shared = ["prediction: A", target, "*", *own, "sample_weight: A | None = None"]
    out = ["out: A | None = None", "accumulate: bool = False"]
    means, none = 'reduction: Literal["mean", "sum"] = "mean"', 'reduction: Literal["none"]'
    for suffix, more, values in (
        ("", [], ("float", "A")),
        ("_and_gradient", out, ("tuple[float, A]", "tuple[A, A]")),
    ):
        head = f"def {entry['name']}{suffix}[A: _FloatArray]"
        for reduction, value in zip((means, none), values, strict=True):
            yield "@overload\n" + call(head, [*shared, reduction, *more], f" -> {value}: ...")


def stubs(entries: dict[str, list[Entry]]) -> str:
    """python/nncore/_core.pyi: tools/core.pyi with the functions of the entries."""
    template = (REPOSITORY / "tools" / "core.pyi").read_text(encoding="utf-8")
    mark = "# The functions of entries stand here.\n"
    assert template.count(mark) == 1
    return HEADER + template.replace(mark, "".join(stub_functions(entries)))


def layers_module(folder: Path) -> str:
    """python/nncore/layers/__init__.py: every module of the folder tells its layers in __all__."""
    found = {path.stem for path in folder.glob("*.py") if not path.stem.startswith("_")}
    modules = sorted(found | {"activations"})
    source = f'{HEADER}"""Layers: what a model is described with. A model\'s store has their numbers."""\n\n'
    source += "from __future__ import annotations\n\nfrom typing import TYPE_CHECKING\n\n"
    source += bracketed("from . import ", modules, "", ("(", ")"))
    source += "".join(f"from .{module} import *\n" for module in modules)
    source += (
        "\nif not TYPE_CHECKING:  # type checkers read no list from elsewhere; to them, star imports export\n"
    )
    return source + bracketed(
        "    __all__ = ", [f"*{module}.__all__" for module in modules], "    ", ("[", "]")
    )


def bracketed(head: str, items: list[str], margin: str, brackets: tuple[str, str]) -> str:
    """Items on one line, without brackets that an import does not need, or one a line."""
    opening, closing = brackets if brackets[0] == "[" else ("", "")
    line = f"{head}{opening}{', '.join(items)}{closing}"
    if len(line) <= WIDTH:
        return line + "\n"
    return (
        f"{head}{brackets[0]}\n"
        + "".join(f"{margin}    {item},\n" for item in items)
        + f"{margin}{brackets[1]}\n"
    )


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def documentation_tables(entries: dict[str, list[Entry]]) -> dict[str, str]:
    """The tables of docs/math.md, by the name in the mark before each."""

    def parameters(entry: Entry) -> str:
        return ", ".join(f"{p['name']} = {default(p)}" for p in entry["parameters"])

    return {
        "activations": table(
            ["function", "layer", "a = f(z)", "derivative", "parameters"],
            [
                [f"`{e['name']}`", f"`{e['class_name']}`", e["formula"], e["derivative"], parameters(e)]
                for e in entries["activations"]
            ],
        ),
        "losses": table(
            ["function", "class", "value for one sample", "gradient", "parameters"],
            [
                [f"`{e['name']}`", f"`{e['class_name']}`", e["value"], e["gradient"], parameters(e)]
                for e in entries["losses"]
            ],
        ),
        "optimizers": table(
            ["name", "class", "step", "hyperparameters"],
            [
                [f"`{e['name']}`", f"`{e['class_name']}`", e["formula"], parameters(e)]
                for e in entries["optimizers"]
            ],
        ),
        "initializers": table(
            ["name", "class", "values"],
            [[f"`{e['name']}`", f"`{e['class_name']}`", e["summary"]] for e in entries["initializers"]],
        ),
    }


def with_tables(text: str, tables: dict[str, str]) -> str:
    """A page with its tables between `<!-- table: name -->` and `<!-- end of table -->` written anew."""
    for name, rows in tables.items():
        begin, end = f"<!-- table: {name} -->\n", "<!-- end of table -->\n"
        if begin not in text:
            continue
        head, rest = text.split(begin, 1)
        text = f"{head}{begin}\n{rows}\n{end}{rest.split(end, 1)[1]}"
    return text


def generate(entries: dict[str, list[Entry]], root: Path) -> dict[Path, str]:
    """Every file that this writes, and its text."""
    package = Path("python") / "nncore"
    files = {
        package / "layers" / "activations.py": activations_module(entries["activations"]),
        package / "layers" / "__init__.py": layers_module(root / package / "layers"),
        package / "losses" / "entries.py": losses_module(entries["losses"]),
        package / "optimizers" / "entries.py": optimizers_module(entries["optimizers"]),
        package / "initializers" / "entries.py": initializers_module(entries["initializers"]),
        package / "functional.py": functional_module(entries),
        package / "_core.pyi": stubs(entries),
    }
    for path, text in files.items():
        if path.suffix == ".py":
            ast.parse(text, str(path))
    page = Path("docs") / "math.md"
    files[page] = with_tables((root / page).read_text(encoding="utf-8"), documentation_tables(entries))
    return files


def main() -> None:
    """Writes all files below the root."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--root", type=Path, default=REPOSITORY, help="the tree to write into (default: this one)"
    )
    root = parser.parse_args().root
    for path, text in generate(load_core().entries, root).items():
        target = root / path
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")
            print(f"wrote {path}")


if __name__ == "__main__":
    main()
