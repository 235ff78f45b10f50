"""Import times and installed sizes."""

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

from .session import Failure

PACKAGES = {  # module: distribution
    "nncore": "nncore-cpu",
    "numpy": "numpy",
    "torch": "torch",
    "jax": "jax",
    "sklearn": "scikit-learn",
    "onnxruntime": "onnxruntime",
    "nnengine": "nn-engine-core",
}


def measure(rounds: int) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Times imports in new processes, in alternation.

    Returns the seconds by module, with those of an empty program under "", and for each module that cannot
    be imported the reason.
    """
    times: dict[str, list[float]] = {"": []} | {
        name: [] for name in PACKAGES if importlib.util.find_spec(name)
    }
    broken: dict[str, str] = {}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for number in range(rounds + 1):
        for name in list(times):
            begin = time.perf_counter()
            command = [sys.executable, "-c", f"import {name}" if name else ""]
            done = subprocess.run(command, check=False, env=environment, stderr=subprocess.PIPE, text=True)
            seconds = time.perf_counter() - begin
            if done.returncode and name in ("", "nncore"):
                raise Failure(f"importing {name or 'nothing'} failed:\n{done.stderr}")
            if done.returncode:
                broken[name] = done.stderr.strip().rpartition("\n")[2] or f"status {done.returncode}"
                del times[name]
            elif number:  # the first compiles the bytecode
                times[name].append(seconds)
    return times, broken


def sizes(module: str) -> dict[str, int]:
    """The bytes of a module's distribution and of all its requirements, by distribution."""
    found: dict[str, int] = {}
    wanted = [PACKAGES[module]]
    while wanted:
        name = wanted.pop()
        if name in found:
            continue
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            if name == PACKAGES[module]:  # not installed: a build in the source tree
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
