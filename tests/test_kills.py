"""Runs killed at random moments, including during saves, resume as if uninterrupted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).with_name("kills.py")


@pytest.mark.slow
def test_killed_runs_end_as_whole_ones() -> None:
    """`python tests/kills.py 500` makes more kills."""
    done = subprocess.run([sys.executable, KILLS, "60"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    numbers = dict(reversed(line.split(maxsplit=1)) for line in done.stdout.splitlines()[:-1])
    assert numbers["kills"] == "60"
    assert int(numbers["kills within a save"]) > 0
    assert int(numbers["files read"]) > 0
