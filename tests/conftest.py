"""What every test run says first, the instruction sets that it covers, and what it needs: Ctrl-C."""

from __future__ import annotations

import os
import signal

from builds import expected_instruction_sets, runnable_instruction_sets


def pytest_configure() -> None:
    os.environ["MPLBACKEND"] = "Agg"  # draws without a screen
    # Whoever was started in the background of a shell ignores SIGINT, and tests would wait for it forever.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    run = runnable_instruction_sets()
    others = [name for name in expected_instruction_sets() if name not in run]
    tested, missing = ", ".join(run), ", ".join(others) or "none"
    return f"instruction sets tested: {tested}; beyond this processor: {missing}"
