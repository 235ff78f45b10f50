"""Runs the C++ tests on every instruction set, and C++ and Python tests under sanitizers and with OpenMP."""

from __future__ import annotations

import os
import re
import sys

import pytest

from builds import (
    PROGRAMS,
    REPOSITORY,
    SANITIZER_OPTIONS,
    THREADED_PROGRAMS,
    build,
    python_of,
    run,
    runnable_instruction_sets,
    sanitized_python,
)

pytestmark = pytest.mark.compiles


def run_program(
    configuration: str, program: str, *tests: str, timeout: float = 600, **environment: str
) -> None:
    path = build(configuration) / "tests" / "cpp" / program
    assert "ok     " in run(path, *tests, timeout=timeout, **SANITIZER_OPTIONS, **environment)


def source_of(program: str) -> str:
    return (REPOSITORY / "tests" / "cpp" / f"{program}.cpp").read_text(encoding="utf-8")


def names_without(program: str, word: str) -> list[str]:
    """The names of the program's tests that do not contain `word`."""
    names = re.findall(r"^TEST\((\w+)\)", source_of(program), flags=re.MULTILINE)
    chosen = [name for name in names if word not in name]
    assert chosen
    return chosen


#: Programs that do not test kernels and take minutes on a set without fma.
ON_BEST_SET = ("test_bits", "test_interrupts")


def program_runs() -> list[tuple[str, str]]:
    """Every program on every set, or on the best set if it is in ON_BEST_SET or switches sets itself."""
    runs = []
    for program in PROGRAMS:
        once = program in ON_BEST_SET or any(
            word in source_of(program) for word in ("on_every_set(", "use_instruction_set(")
        )
        runs += [(program, name) for name in runnable_instruction_sets()[-1 if once else 0 :]]
    return runs


@pytest.mark.parametrize(("program", "instruction_set"), program_runs())
def test_program(program: str, instruction_set: str) -> None:
    run_program("release", program, NNCORE_ISA=instruction_set)


@pytest.mark.slow
def test_elementary_functions_over_all_float32() -> None:
    """Tests all 2^32 inputs. The set without fma gets one in 16, and all of them in nightly runs."""
    every = os.environ.get("NNCORE_SWEEP_BASELINE", "16")
    sweep = {"NNCORE_SWEEP_STRIDE": "1", "NNCORE_SWEEP_BASELINE": every}
    run_program("release", "test_elementary", "float32_accuracy", timeout=7200, **sweep)


@pytest.mark.slow
def test_elementary_functions_over_ten_million_float64() -> None:
    run_program("release", "test_elementary", "float64_accuracy", NNCORE_SWEEP_BLOCKS="2500")


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_program_under_address_and_undefined_sanitizers(program: str) -> None:
    """Runs all but the sweeps of millions of ordinary inputs, which take a minute."""
    run_program("address", program, *names_without(program, "accuracy"), timeout=1800)


@pytest.mark.slow
@pytest.mark.parametrize("program", THREADED_PROGRAMS)
def test_program_under_thread_sanitizer(program: str) -> None:
    """Runs all but the fork tests: this sanitizer does not support threads in a forked child."""
    run_program("thread", program, *names_without(program, "fork"), NNCORE_NUM_THREADS="3")


@pytest.mark.slow
@pytest.mark.parametrize("program", THREADED_PROGRAMS)
def test_program_with_openmp(program: str) -> None:
    run_program("openmp", program, NNCORE_NUM_THREADS="3")


#: Tests of Python code, of speed or of interrupts, whose calls of the core occur in other tests too.
NOTHING_NEW = ("bench", "demo", "examples", "import", "interrupts", "progress")


def python_tests() -> list[str]:
    """The other test files."""
    files = sorted((REPOSITORY / "tests").glob("test_*.py"))
    left_out = ("build", "cpp", "release", "unrelated_package", *NOTHING_NEW)
    return [str(path) for path in files if path.stem.removeprefix("test_") not in left_out]


def run_python_tests(*arguments: str, **environment: str) -> None:
    """Runs pytest with the package of another build in place of the installed one."""
    run(*(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments), timeout=1800, **environment)


@pytest.mark.slow
def test_python_under_address_and_undefined_sanitizers() -> None:
    # Without the tests of bits, which the other builds run.
    run_python_tests("-k", "not same_bits", *python_tests(), **sanitized_python())


@pytest.mark.slow
def test_python_with_openmp() -> None:
    environment = python_of("openmp", NNCORE_NUM_THREADS="3")
    # Without daemon threads: libgomp does not wait for them when the process ends.
    chosen = "(fork or hash or bits or thread) and not daemon_thread"
    run_python_tests("-k", chosen, *python_tests(), **environment)
