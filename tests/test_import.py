"""What an import costs: in time of this process, and in what else it brings in."""

import json
import statistics
import subprocess
import sys

HEAVY = ("tqdm", "safetensors", "matplotlib", "sklearn", "pandas")

MEASURE = """
import json, sys, time
import numpy
begin = time.process_time()
import nncore
seconds = time.process_time() - begin
print(json.dumps({"seconds": seconds, "modules": sorted(sys.modules)}))
"""


def measure():
    out = subprocess.run([sys.executable, "-c", MEASURE], check=True, capture_output=True, text=True).stdout
    return json.loads(out)


def test_import_brings_in_nothing_heavy():
    loaded = {name.partition(".")[0] for name in measure()["modules"]}
    assert "nncore" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_import_takes_less_than_30_ms_beyond_numpy():
    measure()  # compiles the bytecode
    assert statistics.median(measure()["seconds"] for _ in range(9)) < 0.030
