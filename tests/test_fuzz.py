"""Runs the fuzzers of tests/fuzz under sanitizers: a minute each, or longer in .ci/nightly."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from builds import REPOSITORY, run, sanitized_python

FOLDER = REPOSITORY / "tests" / "fuzz"
FUZZERS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "runner")
SECONDS = float(os.environ.get("NNCORE_FUZZ_SECONDS", "60"))
SEED = os.environ.get("NNCORE_FUZZ_SEED", "0")


@pytest.mark.compiles
@pytest.mark.slow
@pytest.mark.parametrize("fuzzer", FUZZERS)
def test_fuzzer_finds_no_failure(fuzzer: str) -> None:
    environment = sanitized_python()  # built before the clock starts
    command = (sys.executable, FOLDER / f"{fuzzer}.py", "--seconds", str(SECONDS), "--seed", SEED)
    said = run(*command, timeout=SECONDS + 300, **environment)
    print(said)
    inputs = re.findall(rf"^{fuzzer}: (\d+) inputs", said, flags=re.MULTILINE)
    assert int(inputs[0]) > SECONDS / 4  # an idle fuzzer finds nothing


FAILING = """
import os, signal, time, runner
def fuzz(random, folder):
    number = random.bit_generator.seed_seq.entropy[1]
    if number == 2:
        raise ValueError("at two")
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    if number == 5:
        time.sleep(10)
runner.LONGEST = 2.0
runner.main(fuzz)
"""


def test_the_runner_names_errors_signals_and_endless_inputs(tmp_path: Path) -> None:
    script = tmp_path / "failing.py"
    script.write_text(FAILING)
    environment = {**os.environ, "PYTHONPATH": str(FOLDER)}
    command = [sys.executable, str(script), "--seconds", "6"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout
    assert re.findall(r"FAILED: input (\d+): (.*?);", done.stdout) == [
        ("2", "ended with status 1"),
        ("3", "ended by signal 9"),
        ("5", "not done after 2 s"),
    ]
    assert "ValueError: at two" in done.stdout
    again = [sys.executable, str(script), "--only", "2"]
    repeated = subprocess.run(again, env=environment, capture_output=True, text=True, check=False)
    assert repeated.returncode == 1
    assert "ValueError: at two" in repeated.stderr
