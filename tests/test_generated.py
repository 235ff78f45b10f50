"""What tools/generate.py writes is what is in the tree, and every entry of the core has an oracle."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

import oracles
from builds import REPOSITORY, run
from nncore import _core

PACKAGE = "python/nncore"
FILES = [
    f"{PACKAGE}/_core.pyi",
    f"{PACKAGE}/functional.py",
    f"{PACKAGE}/initializers/entries.py",
    f"{PACKAGE}/layers/__init__.py",
    f"{PACKAGE}/layers/activations.py",
    f"{PACKAGE}/losses/entries.py",
    f"{PACKAGE}/optimizers/entries.py",
]
PAGE = "docs/math.md"
TABLES = ("activations", "losses", "optimizers", "initializers")
ORACLES = {
    "activations": oracles.ACTIVATIONS,
    "losses": oracles.LOSSES,
    "optimizers": oracles.OPTIMIZERS,
}


@pytest.fixture(scope="module")
def regenerated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A copy of the tree whose generated files were deleted and written again, and which were written."""
    root = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns("__pycache__", "*.so")
    for folder in ("python", "docs"):
        shutil.copytree(REPOSITORY / folder, root / folder, ignore=ignored)
    for file in FILES:
        (root / file).unlink()
    page = root / PAGE
    head, *parts = page.read_text(encoding="utf-8").split("<!-- table: ")
    kept = [
        f"{part.split(' -->')[0]} -->\n<!-- end of table{part.split('<!-- end of table')[1]}"
        for part in parts
    ]
    page.write_text("<!-- table: ".join([head, *kept]), encoding="utf-8")
    printed = run(sys.executable, REPOSITORY / "tools" / "generate.py", "--root", root)
    return root, [line.removeprefix("wrote ") for line in printed.splitlines()]


def test_every_generated_file_is_listed(regenerated: tuple[Path, list[str]]) -> None:
    assert sorted(regenerated[1]) == sorted([*FILES, PAGE])
    says = "# Written by tools/generate.py from the core's tables; changes here are lost."
    found = [
        str(path.relative_to(REPOSITORY))
        for path in (REPOSITORY / PACKAGE).rglob("*.py*")
        if path.suffix in (".py", ".pyi") and path.read_text(encoding="utf-8").startswith(says)
    ]
    assert sorted(found) == sorted(FILES)


@pytest.mark.parametrize("file", [*FILES, PAGE])
def test_what_is_written_again_is_what_was_there(regenerated: tuple[Path, list[str]], file: str) -> None:
    assert (regenerated[0] / file).read_bytes() == (REPOSITORY / file).read_bytes(), (
        f"{file} is not what tools/generate.py writes; run it with the core of this tree installed"
    )


@pytest.mark.parametrize("table", TABLES)
def test_the_page_of_formulas_has_every_entry(table: str) -> None:
    text = (REPOSITORY / PAGE).read_text(encoding="utf-8")
    rows = text.split(f"<!-- table: {table} -->")[1].split("<!-- end of table -->")[0]
    assert all(f"| `{entry['name']}` |" in rows for entry in _core.entries[table])


@pytest.mark.parametrize("family", ORACLES)
def test_every_entry_has_an_oracle(family: str) -> None:
    assert set(ORACLES[family]) == {entry["name"] for entry in _core.entries[family]}
