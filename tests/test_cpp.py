"""The C++ tests, on every instruction set, under sanitizers and with the other thread backends."""

from __future__ import annotations

import pytest

from builds import REPOSITORY, build, run, runnable_instruction_sets

PROGRAMS = sorted(path.stem for path in (REPOSITORY / "tests" / "cpp").glob("test_*.cpp"))

#: Programs in which threads meet: what the thread sanitizer is for.
THREADED = [name for name in PROGRAMS if name in {"test_threads", "test_workspace", "test_network"}]

#: Any report ends the program. A fork from a process with threads is what some of these tests are about.
SANITIZER_OPTIONS = {
    "ASAN_OPTIONS": "abort_on_error=0:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:die_after_fork=0",
}


def run_program(configuration: str, program: str, **environment: str) -> None:
    printed = run(build(configuration) / "tests" / "cpp" / program, **SANITIZER_OPTIONS, **environment)
    assert "ok     " in printed


@pytest.mark.parametrize("instruction_set", runnable_instruction_sets())
@pytest.mark.parametrize("program", PROGRAMS)
def test_program(program: str, instruction_set: str) -> None:
    run_program("release", program, NNCORE_ISA=instruction_set)


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_program_under_address_and_undefined_sanitizers(program: str) -> None:
    run_program("address", program)


@pytest.mark.slow
@pytest.mark.parametrize("program", THREADED)
def test_program_under_thread_sanitizer(program: str) -> None:
    run_program("thread", program, NNCORE_NUM_THREADS="3")


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_program_with_openmp(program: str) -> None:
    run_program("openmp", program, NNCORE_NUM_THREADS="3")
