"""The cost of an import: its time and the modules that it loads."""

import json
import os
import subprocess
import sys

HEAVY = ("tqdm", "safetensors", "matplotlib", "sklearn", "pandas")

MEASURE = """
import json, sys, time
import numpy
begin = time.thread_time()
import nncore
seconds = time.thread_time() - begin
print(json.dumps({"seconds": seconds, "modules": sorted(sys.modules)}))
"""


def measure():
    with_bytecode = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", MEASURE]
    out = subprocess.run(command, check=True, capture_output=True, text=True, env=with_bytecode).stdout
    return json.loads(out)


def test_import_brings_in_nothing_heavy():
    loaded = {name.partition(".")[0] for name in measure()["modules"]}
    assert "nncore" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_import_takes_less_than_30_ms_beyond_numpy():
    measure()  # compiles the bytecode
    assert min(measure()["seconds"] for _ in range(9)) < 0.030  # of this thread: NumPy's others spin
