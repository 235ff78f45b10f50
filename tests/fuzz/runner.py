"""Runs a fuzzer on one random input after another, in a child process so that a crash identifies its input.

An input depends only on (seed, number), so `--seed S --only N` repeats it. A fuzzer may raise errors that the
library documents. Other errors, signals and inputs that take too long are failures. After a failure a new
child continues with the next input.

python tests/fuzz/model_files.py --seconds 60
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import select
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

LONGEST = 60.0  # seconds for one input, sufficient under sanitizers
MOST_FAILURES = 20  # then the run stops

Fuzzer = Callable[[np.random.Generator, Path], None]


def main(fuzzer: Fuzzer) -> None:
    """Parses a fuzzer's command line and runs it. The exit status is 1 if an input failed."""
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="duration of the run (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of all inputs (default: %(default)s)")
    parser.add_argument("--only", type=int, metavar="N", help="run only this input, in this process")
    parser.add_argument("--child", type=int, metavar="N", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only is not None:
        run_inputs(fuzzer, options.seed, options.only, options.only + 1, lambda number: None)
    elif options.child is not None:
        faulthandler.enable()
        run_inputs(fuzzer, options.seed, options.child, None, lambda number: os.write(1, b"%d\n" % number))
    else:
        sys.exit(watch(options.seed, options.seconds))


def run_inputs(fuzzer: Fuzzer, seed: int, first: int, end: int | None, tell: Callable[[int], object]) -> None:
    """Runs the inputs from `first` to `end`, or until the parent kills this process."""
    warnings.simplefilter("ignore")  # NumPy's, about invalid values
    with tempfile.TemporaryDirectory() as folder:
        number = first
        while end is None or number < end:
            tell(number)
            fuzzer(np.random.default_rng([seed, number]), Path(folder))
            number += 1


def watch(seed: int, seconds: float) -> int:
    """Runs one child after another until time is up. Prints each failure and how to repeat it."""
    script = sys.argv[0]
    begin, number, done, failures = time.monotonic(), 0, 0, 0
    while failures < MOST_FAILURES and time.monotonic() - begin < seconds:
        command = [sys.executable, script, "--seed", str(seed), "--child", str(number)]
        with tempfile.TemporaryFile() as errors:
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors)
            last, why = follow(child, begin + seconds)
            child.kill()
            child.wait()
            errors.seek(0)
            text = errors.read().decode(errors="replace")
        done += max(0, last - number + 1)
        number = max(last, number) + 1
        if why:
            failures += 1
            print(
                f"FAILED: input {last}: {why}; {script} --seed {seed} --only {last}\n{text[-4000:]}",
                flush=True,
            )
    minutes = (time.monotonic() - begin) / 60
    print(f"{Path(script).stem}: {done} inputs in {minutes:.1f} minutes, {failures} failures")
    return 1 if failures or not done else 0


def follow(child: subprocess.Popen[bytes], until: float) -> tuple[int, str]:
    """The last input that a child began, and why it ended, or "" if time was up."""
    assert child.stdout is not None
    last, rest = -1, b""
    while True:
        left = until - time.monotonic()
        if left <= 0:
            return last, ""
        ready, _, _ = select.select([child.stdout], [], [], min(LONGEST, left))
        if not ready:
            return (last, "") if time.monotonic() >= until else (last, f"not done after {LONGEST:.0f} s")
        got = os.read(child.stdout.fileno(), 1 << 16)
        if not got:
            status = child.wait()
            return last, f"ended by signal {-status}" if status < 0 else f"ended with status {status}"
        *lines, rest = (rest + got).split(b"\n")
        last = int(lines[-1]) if lines else last


def expect(allowed: tuple[type[BaseException], ...], call: Callable[[], object]) -> object:
    """The result of a call, or the allowed error that it raised, which must have a useful message."""
    try:
        return call()
    except allowed as error:
        if not str(error) or "incompatible function arguments" in str(error):
            traceback.print_exc()
            raise AssertionError(f"the message must say what is wrong; got {error!r}") from error
        return error
