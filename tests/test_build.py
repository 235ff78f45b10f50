"""The build: contents of the kernels' object files and of the wheel, and use by other projects."""

from __future__ import annotations

import io
import platform
import re
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import nncore
from builds import (
    REPOSITORY,
    build,
    cmake,
    expected_instruction_sets,
    installed,
    run,
    runnable_instruction_sets,
)

SETS = expected_instruction_sets()

#: Everything that kernels may call: compilers turn copies into calls.
MAY_CALL = {"memcpy", "memmove", "memset", "_GLOBAL_OFFSET_TABLE_"}

#: Patterns that a disassembly must and must not contain: {set: (must, must not)}. AVX mnemonics start with v.
INSTRUCTIONS = {
    "x86_64": {
        "baseline": (r"\tmulps ", r"\tv[a-z]|%[yz]mm|%k[0-7]"),
        "avx2": (r"\tvfmadd\d+ps .*%ymm", r"%zmm|%k[0-7]|%[xy]mm(1[6-9]|2\d|3\d)"),
        "avx512": (r"\tvfmadd\d+ps .*%zmm", r"\tfld"),
    },
    "aarch64": {
        "baseline": (r"\tfmul\tv", r"\tfml[as]\tv\d+\.4s"),
        "neon": (r"\tfmla\tv\d+\.4s", r"\tbl\t"),
    },
}[platform.machine()]


def kernel_object(name: str) -> Path:
    (found,) = build("release").glob(f"CMakeFiles/nncore_kernels_{name}.dir/**/*.o")
    return found


def symbols(path: Path) -> dict[str, str]:
    """The symbols of an object file and nm's letter for each."""
    lines = run("nm", "--no-demangle", path).splitlines()
    return {line.split()[-1]: line.split()[-2] for line in lines}


@pytest.mark.compiles
@pytest.mark.parametrize("name", SETS)
def test_kernel_object_exports_its_table_alone(name: str) -> None:
    found = symbols(kernel_object(name))
    table = f"_ZN6nncore7kernels{len(name)}{name}E"
    assert {symbol for symbol, kind in found.items() if kind.isupper() and kind != "U"} == {table}
    assert {symbol for symbol, kind in found.items() if kind in "uvwVW"} == set()


@pytest.mark.compiles
@pytest.mark.parametrize("name", SETS)
def test_kernel_object_calls_nothing_that_others_share(name: str) -> None:
    undefined = {symbol for symbol, kind in symbols(kernel_object(name)).items() if kind == "U"}
    assert undefined <= MAY_CALL


@pytest.mark.compiles
@pytest.mark.parametrize("name", SETS)
def test_kernel_object_runs_nothing_at_start_and_is_not_optimised_at_link_time(name: str) -> None:
    sections = re.findall(r"^ *\d+ (\S+)", run("objdump", "-h", kernel_object(name)), flags=re.MULTILINE)
    assert ".text" in sections
    forbidden = (".init_array", ".ctors", ".gnu.lto", ".llvm.lto", ".tbss", ".tdata")
    assert [section for section in sections if section.startswith(forbidden)] == []


@pytest.mark.compiles
@pytest.mark.parametrize("name", SETS)
def test_kernel_object_has_the_instructions_of_its_set(name: str) -> None:
    must, must_not = INSTRUCTIONS[name]
    code = run("objdump", "-d", "--no-show-raw-insn", kernel_object(name))
    assert re.search(must, code)
    assert re.findall(f".*(?:{must_not}).*", code)[:5] == []


@pytest.mark.compiles
def test_everything_but_kernels_runs_on_any_processor() -> None:
    objects = list(build("release").glob("CMakeFiles/nncore.dir/**/*.o"))
    assert len(objects) >= 10
    _, must_not = INSTRUCTIONS["baseline"]
    for path in objects:
        code = run("objdump", "-d", "--no-show-raw-insn", path)
        assert re.findall(f".*(?:{must_not}).*", code)[:5] == [], path


def test_sets_built_and_run_are_those_of_this_processor() -> None:
    config = nncore.show_config()
    assert list(config["instruction_sets_built"]) == SETS
    assert list(config["instruction_sets_supported"]) == runnable_instruction_sets()


@pytest.mark.compiles
def test_installed_package_serves_find_package(tmp_path: Path) -> None:
    tree = cmake(
        REPOSITORY / "tests" / "consumer",
        tmp_path,
        "-DCMAKE_BUILD_TYPE=Release",
        f"-DCMAKE_PREFIX_PATH={installed('release')}",
    )
    assert "after 2000 steps" in run(tree / "consumer")


@pytest.mark.compiles
@pytest.mark.slow
def test_source_tree_serves_add_subdirectory_without_threads(tmp_path: Path) -> None:
    tree = cmake(
        REPOSITORY / "tests" / "consumer",
        tmp_path,
        f"-DNNCORE_SOURCE={REPOSITORY}",
        "-DNNCORE_THREADS=OFF",
    )
    assert "pthread_create" not in symbols(tree / "consumer")
    assert "after 2000 steps" in run(tree / "consumer")


def test_wheel_is_small_and_holds_the_package_alone() -> None:
    """Checks the wheel, reassembled from the files that pip installed."""
    distribution = metadata.distribution("nncore-cpu")
    files = [file for file in distribution.files or [] if file.suffix != ".pyc"]
    package = {file.as_posix() for file in files if not file.parts[0].endswith(".dist-info")}
    sources = {
        f"nncore/{path.relative_to(REPOSITORY / 'python' / 'nncore').as_posix()}"
        for path in (REPOSITORY / "python" / "nncore").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    (module,) = package - sources
    assert re.fullmatch(r"nncore/_core\.[\w-]+\.so", module)
    assert sources <= package
    assert {"nncore/py.typed", "nncore/_core.pyi"} <= package

    wheel = io.BytesIO()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in files:
            archive.write(str(file.locate()), file.as_posix())
    assert len(wheel.getvalue()) < 2_000_000


def test_versions_agree() -> None:
    assert metadata.version("nncore-cpu") == nncore.__version__ == nncore.show_config()["version"]
