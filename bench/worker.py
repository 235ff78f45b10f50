"""The process of one peer: it obeys lines of JSON on its standard input, and sleeps between them.

    python -m bench.worker PEER THREADS
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from nncore.workloads import GRID

from .job import Job, Unsupported
from .peers import PEERS


class Worker:
    """A peer, and the jobs that were prepared and not yet released."""

    def __init__(self, name: str, threads: int) -> None:
        module, variant = PEERS[name]
        self.peer = importlib.import_module(f"bench.peers.{module}").peer(variant, threads)
        self.jobs: dict[str, Job] = {}

    def prepare(self, key: str, mode: str, case: dict[str, Any]) -> dict[str, Any]:
        """Makes a job; says what it found, and how it differs from what was asked."""
        if mode not in self.peer.modes:
            raise Unsupported(f"has no {mode}")
        if "workload" in case:
            case = {**case, "workload": GRID[case["workload"]]}
        job = self.jobs[key] = self.peer.modes[mode](**case)
        return {"check": dict(job.check), "variant": dict(job.variant)}

    def turn(self, key: str, seconds: float, count: int) -> dict[str, Any]:
        """`count` units timed after one that is not; without a count, as many as fill the seconds."""
        job = self.jobs[key]
        run = job.run
        with job.around():
            count = count or self._calibrate(job, seconds)
            numbers = range(count)
            run()
            job.finish()
            cpu, begin = time.process_time(), time.perf_counter()
            for _ in numbers:
                run()
            job.finish()
            end = time.perf_counter()
        return {
            "seconds": (end - begin) / (count * job.calls),
            "cpu": (time.process_time() - cpu) / (end - begin),
            "count": count,
        }

    def _calibrate(self, job: Job, seconds: float) -> int:
        begin, count = time.perf_counter(), 0
        while not count or time.perf_counter() - begin < seconds:
            job.run()
            job.finish()
            count += 1
        begin = time.perf_counter()  # again, without what the first calls cost
        for _ in range(count):
            job.run()
        job.finish()
        return max(1, round(count * seconds / (time.perf_counter() - begin)))

    def release(self, key: str) -> dict[str, Any]:
        """Forgets a job."""
        self.jobs.pop(key, None)
        return {}

    def pin(self, cpus: list[int]) -> dict[str, Any]:
        """Moves every thread of the process to some processors."""
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), cpus)
        return {}

    def threads(self) -> dict[str, Any]:
        """The seconds that each thread has computed."""
        spent = {
            thread.name: int((thread / "schedstat").read_text().split()[0]) / 1e9
            for thread in Path("/proc/self/task").iterdir()
        }
        return {"spent": spent}


def main() -> None:
    """Serves until the input ends."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no reply
    name, threads = sys.argv[1], int(sys.argv[2])

    def reply(**message: Any) -> None:
        print(json.dumps(message), file=replies)

    try:
        worker = Worker(name, threads)
    except ModuleNotFoundError as error:
        reply(missing=f"no module named {error.name!r}")
        return
    reply(versions=dict(worker.peer.versions))
    left = time.process_time()
    for line in sys.stdin:
        idle = time.process_time() - left  # what its threads took while others were measured
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
