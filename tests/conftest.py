"""Setup of every test run: a report of the instruction sets that it covers, and a working Ctrl-C."""

from __future__ import annotations

import os
import signal

from builds import expected_instruction_sets, runnable_instruction_sets


def pytest_configure() -> None:
    os.environ["MPLBACKEND"] = "Agg"  # draws without a screen
    # Background jobs of a shell ignore SIGINT, and tests would wait for it forever.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    run = runnable_instruction_sets()
    others = [name for name in expected_instruction_sets() if name not in run]
    tested, missing = ", ".join(run), ", ".join(others) or "none"
    return f"instruction sets tested: {tested}; beyond this processor: {missing}"
