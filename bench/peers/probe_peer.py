"""The machine's limits, measured by C++ loops compiled here. One call is one flop, or one byte read."""

from __future__ import annotations

import ctypes
import os
import subprocess
import tempfile
import time
from functools import cache, partial
from pathlib import Path

import numpy as np

from ..job import Job, Peer

SOURCE = Path(__file__).parents[1] / "probe.cpp"
COMPILER = os.environ.get("CXX", "g++")
FLAGS = ("-std=c++20", "-O3", "-march=native", "-ffp-contract=fast", "-shared", "-fPIC")
CACHE, MEMORY = 1 << 19, 1 << 28  # bytes: half of a typical L2, and far more than the L3 of a core
LANES = {"probe_fma64": 24 * 16, "probe_fma32": 12 * 8, "probe_fma16": 24 * 4}  # multiply-adds in a round


@cache
def compile_probe() -> ctypes.CDLL:
    """The loops, compiled once."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "probe.so"
        subprocess.run([COMPILER, *FLAGS, str(SOURCE), "-pthread", "-o", str(library)], check=True)
        return ctypes.CDLL(str(library))


@cache
def fma(threads: int) -> Job:
    """Multiply-adds with the fastest register size, chosen once."""
    library = compile_probe()

    def call(name: str) -> float:
        count = 100_000_000 // (2 * LANES[name])
        begin = time.perf_counter()
        getattr(library, name)(threads, ctypes.c_long(count))
        return time.perf_counter() - begin

    best = min(LANES, key=lambda name: min(call(name) for _ in range(5)))
    flops = 100_000_000 // (2 * LANES[best]) * 2 * LANES[best] * threads
    return Job(partial(call, best), flops)


def read(size: int, threads: int) -> Job:
    """Repeated reads of a buffer."""
    library = compile_probe()
    buffer = np.ones(size // 4 + 16, np.float32)
    address = -(-buffer.ctypes.data // 64) * 64
    times = max(1, (1 << 25) // size)
    data, count = ctypes.c_void_p(address), ctypes.c_long(size // 4)

    def run() -> None:
        library.probe_read(threads, data, count, times)
        assert buffer.size  # keeps the buffer alive

    return Job(run, size * times)


def peer(variant: str, threads: int) -> Peer:
    """The machine. Needs a compiler."""
    compile_probe()
    modes = {
        "fma": partial(fma, threads),
        "cache": partial(read, CACHE * threads, threads),
        "memory": partial(read, MEMORY, threads),
    }
    return Peer({}, modes)
