"""A description of the machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import nncore as nc


def describe() -> dict[str, Any]:
    """The processor, caches, memory, system and nncore's build."""
    return {
        "processor": _first("/proc/cpuinfo", "model name") or platform.processor(),
        "processors": os.cpu_count(),
        "allowed processors": len(os.sched_getaffinity(0)),
        "caches": {f"L{name}": size for name, size in _caches()},
        "memory": _first("/proc/meminfo", "MemTotal"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "nncore": {name: str(value) for name, value in nc.show_config().items()},
    }


def _first(path: str, name: str) -> str:
    for line in Path(path).read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""


def _caches() -> list[tuple[str, str]]:
    folders = sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"))
    read = [[(folder / name).read_text().strip() for name in ("level", "type", "size")] for folder in folders]
    return [(level + {"Data": "d", "Instruction": "i"}.get(kind, ""), size) for level, kind, size in read]
