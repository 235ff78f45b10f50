"""The code in README, docs, docstrings and examples runs as printed."""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import os
import pkgutil
import re
import runpy
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure

import nncore
from builds import REPOSITORY, cmake, installed, run
from pictures import Picture, drawn_texts, overlapping_texts

PAGES = (
    "README.md",
    "docs/tutorial.md",
    "docs/architecture.md",
    "docs/math.md",
    "docs/misprints.md",
    "docs/performance.md",
    *sorted(f"docs/guides/{page.name}" for page in (REPOSITORY / "docs" / "guides").glob("*.md")),
)
#: Libraries that the tests do not install. Blocks that name one run where it is installed.
PEERS = ("torch", "keras")


def cannot_be_imported(package: str) -> None:
    raise ImportError(f"{package} cannot be imported, so its modules would drop out")


MODULES = [
    "nncore",
    *(module.name for module in pkgutil.walk_packages(nncore.__path__, "nncore.", cannot_be_imported)),
]

#: The pattern of each example's result and the check that it must pass: the promise of its docstring, or with
#: --quick a value that shows learning. For the pole, the result is steps of 500: chance gives about 20, and a
#: network that learned and then forgot leaves the track after 100 to 300.
EXAMPLES = {
    "square_function": (r"largest error on \[-1, 1\]: ([\d.]+);", lambda error: error <= 0.01, ()),
    "sphere_points": (r"mean distance on the sphere: ([\d.]+);", lambda distance: distance <= 0.02, ()),
    "nested_network": (
        r"largest difference between .*: ([\d.e+-]+)\n",
        lambda error: error <= 1e-12,
        ("--quick",),
    ),
    "cartpole_dqn": (r"of the last 20 attempts: ([\d.]+);", lambda steps: steps >= 475, ()),
}

BLUE, ORANGE, GREEN, RED, GREY = "#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#bfbfbf"
#: The size of each example's picture, the colors of its lines, and the minimum number of colored pixels.
PICTURES = {
    "square_function": ((720, 600), (GREY, BLUE, RED), 2000),
    "sphere_points": ((780, 660), (), 30000),
    "nested_network": ((1080, 480), (BLUE, ORANGE, GREEN), 5000),
    "cartpole_dqn": ((720, 480), (BLUE,), 500),
}


@pytest.fixture(autouse=True)
def _no_figures_stay_open() -> Iterator[None]:
    yield
    plt.close("all")


def code_blocks(page: str, language: str) -> list[str]:
    """The code blocks of one language, padded so that errors name the line in the page."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    return ["\n" * (text[: block.start()].count("\n") + 1) + block[1] for block in found]


def run_blocks(page: str, blocks: list[str]) -> None:
    names: dict[str, object] = {"__name__": page}
    for block in blocks:
        exec(compile(block, page, "exec"), names)


def peers_of(block: str) -> set[str]:
    return {peer for peer in PEERS if re.search(rf"\b{peer}\b", block)}


#: Guides train beside other libraries, which is slow.
GUIDES_ARE_SLOW = [
    pytest.param(page, marks=[pytest.mark.slow] if page.startswith("docs/guides/") else [])
    for page in PAGES
    if code_blocks(page, "python")
]


@pytest.mark.parametrize("page", GUIDES_ARE_SLOW)
def test_python_blocks_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = [block for block in code_blocks(page, "python") if not peers_of(block)]
    assert len(blocks) >= 3
    run_blocks(page, blocks)


@pytest.mark.filterwarnings("default")  # the peers warn about each other
@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(map(peers_of, code_blocks(page, "python")))])
def test_python_blocks_run_beside_peers(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = code_blocks(page, "python")
    for peer in set().union(*map(peers_of, blocks)):
        if importlib.util.find_spec(peer) is None:
            pytest.skip(f"{peer} is not installed, so the blocks that use it cannot run")
    if importlib.util.find_spec("torch") is not None:  # else keras uses its own choice of a backend
        monkeypatch.setenv("KERAS_BACKEND", "torch")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    run_blocks(page, blocks)


@pytest.mark.compiles
@pytest.mark.slow
def test_the_program_of_readme_builds_and_learns(tmp_path: Path) -> None:
    (lists,), (program,) = code_blocks("README.md", "cmake"), code_blocks("README.md", "cpp")
    (tmp_path / "CMakeLists.txt").write_text(lists)
    (tmp_path / "square.cpp").write_text(program)
    tree = cmake(tmp_path, tmp_path / "build", f"-DCMAKE_PREFIX_PATH={installed('release')}")
    assert "mean squared error" in run(tree / "square")


@pytest.mark.parametrize("module", MODULES)
def test_docstrings(module: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(module))
    assert failed == 0


def test_docstrings_are_found() -> None:
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [
        test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples
    ]
    assert len(examples) > 15


def test_every_example_is_listed_and_short() -> None:
    files = list((REPOSITORY / "examples").glob("*.py"))
    assert {file.stem for file in files} == set(EXAMPLES)
    for file in files:
        lines = file.read_text(encoding="utf-8").splitlines()
        assert len(lines) < 60
        assert lines[0].startswith('"""')


def test_the_agent_of_the_pole_plays_and_learns() -> None:
    """Runs a hundredth of the example (a slow test): attempts end, and each is counted."""
    example = runpy.run_path(str(REPOSITORY / "examples" / "cartpole_dqn.py"))
    lasted = example["learn"](80, 0)
    assert len(lasted) >= 8
    assert all(1 <= steps <= 80 for steps in lasted)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "cartpole_dqn")) for name in EXAMPLES]
)
def test_example(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pattern, is_good, options = EXAMPLES[name]
    monkeypatch.chdir(tmp_path)
    printed = run(sys.executable, REPOSITORY / "examples" / f"{name}.py", *options)
    found = re.search(pattern, printed)
    assert found is not None, printed
    assert is_good(float(found[1])), printed
    picture = Picture(tmp_path / f"{name}.png")
    size, lines, colored = PICTURES[name]
    assert picture.size == size
    assert all(picture.pixels(color) > 200 for color in lines)
    assert picture.colored() > colored


def test_labels_of_the_sphere_do_not_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["sphere_points.py", "--quick"])
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    runpy.run_path(str(REPOSITORY / "examples" / "sphere_points.py"), run_name="__main__")
    [figure] = drawn
    texts = [text for text, _ in drawn_texts(figure)]
    assert texts.count("−1") == texts.count("0") == texts.count("1") == 3
    assert {"x", "y", "z"} < set(texts)
    assert not overlapping_texts(figure)


@pytest.mark.slow
def test_the_pole_stays_up_for_every_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def steps(seed: int) -> float:
        example = REPOSITORY / "examples" / "cartpole_dqn.py"
        printed = run(sys.executable, example, "--seed", str(seed), NNCORE_NUM_THREADS="1")
        found = re.search(EXAMPLES["cartpole_dqn"][0], printed)
        assert found is not None, printed
        return float(found[1])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        assert min(found := list(pool.map(steps, range(10)))) >= 475, found


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to the page's headings."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_files_that_pages_name_are_there(page: str) -> None:
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    parts = ("bench", "cpp", "python", "tests", "cmake", "docs")
    tree = [str(file) for part in parts for file in (REPOSITORY / part).rglob("*")]
    named = re.findall(r"`([\w./]+\.(?:hpp|cpp|py|pyi|cmake|md)|cpp/[\w./]*|tests/[\w./]*)`", text)
    linked = re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", text)
    assert linked or named
    for path, heading in linked:
        target = (REPOSITORY / page).parent.joinpath(path) if path else REPOSITORY / page
        assert target.exists(), path
        assert not heading or heading in anchors(target), f"{path}#{heading}"
    for path in named:
        assert any(file.endswith(f"/{path.rstrip('/')}") for file in tree), path
