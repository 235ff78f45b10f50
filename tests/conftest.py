"""What every test run says first: the instruction sets that it covers."""

from __future__ import annotations

from builds import expected_instruction_sets, runnable_instruction_sets


def pytest_report_header() -> str:
    run = runnable_instruction_sets()
    others = [name for name in expected_instruction_sets() if name not in run]
    tested, missing = ", ".join(run), ", ".join(others) or "none"
    return f"instruction sets tested: {tested}; beyond this processor: {missing}"
