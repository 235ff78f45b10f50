"""Builds of the C++ library for tests: one build tree per configuration in build/tests, kept between runs.

Configurations in FROM_PIP start from pip's object files in build/cp*, so that the kernels are not compiled
again. Ninja compiles only what has changed since, and what needs other options.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Sequence
from pathlib import Path

from filelock import FileLock

REPOSITORY = Path(__file__).resolve().parent.parent
BUILDS = REPOSITORY / "build" / "tests"

#: For each architecture the instruction sets of the library, weakest first, and the processor features that
#: each requires (words of "flags" or "Features" in /proc/cpuinfo).
INSTRUCTION_SETS: dict[str, dict[str, set[str]]] = {
    "x86_64": {
        "baseline": set(),
        "avx2": {"avx2", "fma"},
        "avx512": {"avx2", "fma", "avx512f", "avx512dq", "avx512bw", "avx512vl"},
    },
    "aarch64": {"baseline": set(), "neon": {"asimd"}},
}

_SANITIZED = ("-DCMAKE_BUILD_TYPE=Debug", "-DCMAKE_CXX_FLAGS_DEBUG=-O1 -g1")
_PYTHON = ("-DNNCORE_BUILD_PYTHON=ON", f"-DPython_EXECUTABLE={sys.executable}")
CONFIGURATIONS: dict[str, tuple[str, ...]] = {
    "release": (),
    "address": ("-DNNCORE_SANITIZE=address;undefined", *_SANITIZED, *_PYTHON),
    "thread": ("-DNNCORE_SANITIZE=thread", "-DCMAKE_COMPILE_WARNING_AS_ERROR=ON", *_SANITIZED),
    "openmp": ("-DNNCORE_OPENMP=ON", *_PYTHON),
}

#: Configurations that reuse pip's kernels. Other options would compile the kernels again.
FROM_PIP = ("release", "openmp")

#: All C++ tests, and the multithreaded ones. The last two configurations need only the latter.
PROGRAMS = sorted(path.stem for path in (REPOSITORY / "tests" / "cpp").glob("test_*.cpp"))
THREADED_PROGRAMS = ["test_network", "test_threads"]
TARGETS = {"thread": THREADED_PROGRAMS, "openmp": [*THREADED_PROGRAMS, "_core"]}


#: Makes any report end the program.
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "abort_on_error=0:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1",
}


def expected_instruction_sets() -> list[str]:
    """The instruction sets that the library must have on this architecture."""
    return list(INSTRUCTION_SETS[platform.machine()])


def runnable_instruction_sets() -> list[str]:
    """The instruction sets that this processor supports according to /proc/cpuinfo."""
    words = set(Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split())
    return [name for name, needed in INSTRUCTION_SETS[platform.machine()].items() if needed <= words]


def run(*command: str | Path, timeout: float = 600, **environment: str) -> str:
    """Runs a program and returns its output. Raises AssertionError with the output if the program fails."""
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def tool(name: str) -> str:
    """The path of cmake or ninja, preferring this Python environment, which need not be on PATH."""
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    assert found is not None, f"these tests need {name}: pip install '.[test]'"
    return found


def cmake(source: Path, tree: Path, *options: str, targets: Sequence[str] = ("all",)) -> Path:
    """Configures and builds `source` in `tree`."""
    import pybind11

    run(
        *(tool("cmake"), "-S", source, "-B", tree, "-G", "Ninja"),
        f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}",
        f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
        *options,
    )
    run(tool("cmake"), "--build", tree, "--target", *targets, timeout=3600)
    return tree


def _start_from_pips_build(tree: Path) -> None:
    """Copies pip's newest build tree. Keeps only the compiler from its cache: its other tools are gone."""
    caches = sorted(BUILDS.parent.glob("cp*/CMakeCache.txt"), key=lambda path: path.stat().st_mtime)
    if caches and not tree.exists():
        shutil.copytree(caches[-1].parent, tree, ignore=shutil.ignore_patterns("CMakeCache.txt"))
        compiler = re.findall(r"(?m)^CMAKE_CXX_(?:COMPILER|FLAGS):.*\n", caches[-1].read_text())
        (tree / "CMakeCache.txt").write_text("".join(compiler))


def once_a_run(what: str, make: Callable[[], object]) -> Path:
    """BUILDS / what, made by the first pytest process that asks, while the others wait."""
    run_id = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")
    place, made_by = BUILDS / what, BUILDS / f"{what}.run"
    BUILDS.mkdir(parents=True, exist_ok=True)
    with FileLock(BUILDS / f"{what}.lock"):
        if not run_id or not made_by.exists() or made_by.read_text() != run_id:
            make()
            made_by.write_text(run_id)
    return place


@functools.cache
def _attempt(configuration: str) -> AssertionError | None:
    """Builds once per session, even if the build fails."""
    options = ("-DNNCORE_BUILD_TESTS=ON", *CONFIGURATIONS[configuration])
    targets = TARGETS.get(configuration, ["all"])

    def make() -> None:
        if configuration in FROM_PIP:
            _start_from_pips_build(BUILDS / configuration)
        cmake(REPOSITORY, BUILDS / configuration, *options, targets=targets)

    try:
        once_a_run(configuration, make)
    except AssertionError as error:
        return error
    return None


def build(configuration: str) -> Path:
    """The build tree of a configuration, including the C++ tests."""
    failure = _attempt(configuration)
    if failure is not None:
        raise failure
    return BUILDS / configuration


@functools.cache
def installed(configuration: str) -> Path:
    """The prefix of an installed build: the CMake package, and the Python package if its module was built."""
    tree, prefix = build(configuration), BUILDS / f"{configuration}-installed"

    def make() -> None:
        shutil.rmtree(prefix, ignore_errors=True)
        run(tool("cmake"), "--install", tree, "--prefix", prefix)
        if (prefix / "nncore").is_dir():
            shutil.copytree(REPOSITORY / "python" / "nncore", prefix / "nncore", dirs_exist_ok=True)

    return once_a_run(prefix.name, make)


def python_of(configuration: str, **environment: str) -> dict[str, str]:
    """Environment variables that make Python import the package of a build instead of the installed one."""
    site = installed(configuration)
    environment["PYTHONPATH"] = str(site)
    which = "import nncore._core; print(nncore._core.__file__)"
    assert run(sys.executable, "-c", which, **environment).startswith(str(site))
    return environment


def sanitized_python() -> dict[str, str]:
    """Environment variables that make Python import the package built with address and UB sanitizers."""
    libraries = ("libasan.so", "libubsan.so", "libstdc++.so.6")
    preload = " ".join(run("c++", f"-print-file-name={name}").strip() for name in libraries)
    # CPython itself does not free all memory at exit.
    options = {**SANITIZER_OPTIONS, "ASAN_OPTIONS": "detect_leaks=0"}
    return python_of("address", LD_PRELOAD=preload, **options)
