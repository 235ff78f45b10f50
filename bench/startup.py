"""What an import takes, and what an installation takes of the disk."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

PACKAGES = {  # module: distribution
    "nncore": "nncore-cpu",
    "numpy": "numpy",
    "torch": "torch",
    "jax": "jax",
    "sklearn": "scikit-learn",
    "onnxruntime": "onnxruntime",
    "nnengine": "nn-engine-core",
}


def measure(rounds: int) -> dict[str, list[float]]:
    """Seconds of alternating imports in new processes, by module; of an empty program by ""."""
    times: dict[str, list[float]] = {"": []} | {
        name: [] for name in PACKAGES if importlib.util.find_spec(name)
    }
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for number in range(rounds + 1):
        for name, found in times.items():
            begin = time.perf_counter()
            program = f"import {name}" if name else ""
            subprocess.run([sys.executable, "-c", program], check=True, env=environment)
            if number:  # the first compiles the bytecode
                found.append(time.perf_counter() - begin)
    return times


def sizes(module: str) -> dict[str, int]:
    """Bytes of the distribution of a module and of all that it requires, by distribution."""
    found: dict[str, int] = {}
    wanted = [PACKAGES[module]]
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            if name == PACKAGES[module]:  # a build beside its sources
                folder = Path(importlib.util.find_spec(module).origin or "").parent
                found[name] = _total(path for path in folder.rglob("*") if path.is_file())
                wanted += ["numpy", "safetensors", "tqdm"]
            continue
        found[name] = _total(Path(str(file.locate())) for file in distribution.files or ())
        for requirement in distribution.requires or ():
            if "extra ==" not in requirement:
                wanted.append(re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower())
    return found


def _total(paths: Iterable[Path]) -> int:
    return sum(path.stat().st_size for path in paths if path.suffix != ".pyc" and path.exists())
