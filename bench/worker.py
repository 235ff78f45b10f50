"""The process of one peer: executes requests, lines of JSON on standard input, and sleeps in between.

python -m bench.worker PEER THREADS
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from nncore._cli.workloads import WORKLOADS

from .job import Job, Unsupported
from .peers import PEERS, REQUIRED


class Worker:
    """A peer, and its prepared jobs."""

    def __init__(self, name: str, threads: int) -> None:
        module, variant = PEERS[name]
        self.peer = importlib.import_module(f"bench.peers.{module}").peer(variant, threads)
        self.jobs: dict[str, Job] = {}

    def prepare(self, key: str, mode: str, case: dict[str, Any]) -> dict[str, Any]:
        """Prepares a job. Returns its results to check, and how it departs from the case."""
        if mode not in self.peer.modes:
            raise Unsupported(f"has no {mode}")
        if "workload" in case:
            case = {**case, "workload": WORKLOADS[case["workload"]]}
        job = self.jobs[key] = self.peer.modes[mode](**case)
        return {"check": dict(job.check), "variant": dict(job.variant)}

    def calibrate(self, key: str, seconds: float) -> dict[str, Any]:
        """The number of units that fill `seconds`. These first calls also compile and allocate."""
        job = self.jobs[key]
        with job.around():
            units: list[float] = []
            while sum(units) < seconds:
                begin = time.perf_counter()
                job.run()
                job.finish()
                units.append(time.perf_counter() - begin)
        return {"count": max(1, round(seconds / min(units))) if len(units) > 1 else 1}

    def turn(self, key: str, count: int) -> dict[str, Any]:
        """The time of `count` units, after one untimed unit."""
        job = self.jobs[key]
        run, units = job.run, range(count)
        with job.around():
            if count > 1:  # a single unit is so long that the state of the caches hardly matters
                run()
                job.finish()
            cpu, begin = time.process_time(), time.perf_counter()
            for _ in units:
                run()
            job.finish()
            end = time.perf_counter()
        load = (time.process_time() - cpu) / (end - begin)
        return {"seconds": (end - begin) / (count * job.calls), "load": load}

    def release(self, key: str) -> dict[str, Any]:
        """Drops a job."""
        self.jobs.pop(key, None)
        return {}

    def pin(self, cpus: list[int]) -> dict[str, Any]:
        """Pins every thread of the process to these processors."""
        for thread in Path("/proc/self/task").iterdir():
            with contextlib.suppress(ProcessLookupError):  # the thread has ended
                os.sched_setaffinity(int(thread.name), cpus)
        return {}

    def spent(self) -> dict[str, Any]:
        """The processor seconds of each thread of the process, by thread id."""
        threads = Path("/proc/self/task").iterdir()
        return {t.name: int((t / "schedstat").read_text().split()[0]) / 1e9 for t in threads}

    def peak(self) -> dict[str, Any]:
        """The current bytes of memory, and the peak since the last call."""
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        now, most = (int(status[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        return {"now": now, "most": most}


def main() -> None:
    """Serves requests until the input ends."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # keeps output of libraries out of the replies
    name, threads = sys.argv[1], int(sys.argv[2])

    def reply(**message: Any) -> None:
        print(json.dumps(message), file=replies)

    try:
        worker = Worker(name, threads)
    except Exception as error:  # a broken installation may raise anything
        if name in REQUIRED:
            raise
        reason = str(error).partition("\n")[0]
        reply(missing=reason if type(error) is ModuleNotFoundError else f"{type(error).__name__}: {reason}")
        return
    reply(versions=dict(worker.peer.versions))
    left = time.process_time()
    for line in sys.stdin:
        idle = time.process_time() - left  # processor time while others were measured
        request = json.loads(line)
        try:
            reply(**getattr(worker, request.pop("op"))(**request), idle=idle)
        except Unsupported as reason:
            reply(unsupported=str(reason))
        except Exception:
            reply(error=traceback.format_exc())
        left = time.process_time()


if __name__ == "__main__":
    main()
