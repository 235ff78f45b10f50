"""The executable pages of docs/derivations: their cells run in order, and each page has all its parts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest

from builds import REPOSITORY
from pictures import overlapping_texts

FOLDER = REPOSITORY / "docs" / "derivations"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.stem != "index")
CELL = re.compile(r"^```\{code-cell\} ipython3\n(?:---\n(.*?)^---\n)?(.*?)^```$", re.DOTALL | re.MULTILINE)
FRONT_MATTER = """\
---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
    format_version: 0.13
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---
"""


@pytest.fixture(autouse=True)
def _no_figures_stay_open() -> Iterator[None]:
    plt.close("all")
    yield
    plt.close("all")


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_cells_run_in_order(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings are errors, as in all tests. A cell that draws must describe its picture in words."""
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    cells = list(CELL.finditer(text))
    assert len(cells) == text.count("```{") >= 5
    names: dict[str, object] = {"__name__": page.stem}
    pictures = 0
    for cell in cells:
        # Padded so that errors name the line in the page.
        code = "\n" * text[: cell.start(2)].count("\n") + cell[2]
        with mpl.rc_context():
            exec(compile(code, str(page), "exec"), names)
        if drawn := plt.get_fignums():
            alternative = re.search(r"^ +alt: (.*?)(?=^\w|\Z)", cell[1] or "", re.DOTALL | re.MULTILINE)
            assert alternative, f"{page.name}: a picture has no alternative text"
            assert len(alternative[1].split()) >= 10
            for number in drawn:
                assert overlapping_texts(plt.figure(number)) == []
            pictures += len(drawn)
            plt.close("all")
    assert pictures >= 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_page_has_all_its_parts(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert text.startswith(FRONT_MATTER)
    assert "nc.check_gradients(" in text
    assert re.search(r"F\.dense_backward\(", text)
    titles = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert titles[-2:] == ["Misprints", "Exercises"]
    exercises = text.split("\n## Exercises\n")[1]
    assert re.findall(r"^(\d)\. ", exercises, flags=re.MULTILINE) == ["1", "2", "3"]


@pytest.mark.parametrize("page", [*PAGES, FOLDER / "index.md"], ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text(encoding="utf-8"))
    for target, heading in links:
        if target.startswith("https://"):
            continue
        file = page.parent / target if target else page
        assert file.is_file(), f"{page.name}: {target} is missing"
        if heading:
            titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert heading in {anchor(title) for title in titles}, f"{page.name}: no {heading} in {target}"


def anchor(title: str) -> str:
    """The anchor that GitHub and MyST give a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def test_the_index_lists_every_page() -> None:
    text = (FOLDER / "index.md").read_text(encoding="utf-8")
    (tree,) = re.findall(r"^```\{toctree\}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    listed = [line for line in tree.splitlines() if line and not line.startswith(":")]
    assert sorted(listed) == [page.stem for page in PAGES]
    assert [link for link in re.findall(r"\]\(([\w-]+)\.md\)", text) if link in listed] == listed
