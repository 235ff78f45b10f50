"""What every test run says first: the instruction sets that it covers."""

from __future__ import annotations

from builds import expected_instruction_sets, runnable_instruction_sets


def pytest_report_header() -> str:
    run = runnable_instruction_sets()
    others = [name for name in expected_instruction_sets() if name not in run]
    return (
        f"instruction sets tested: {', '.join(run)}; not run by this processor: {', '.join(others) or 'none'}"
    )
