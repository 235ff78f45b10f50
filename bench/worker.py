"""The process of one peer: it obeys lines of JSON on its standard input, and sleeps between them.

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
            case = {**case, "workload": WORKLOADS[case["workload"]]}
        job = self.jobs[key] = self.peer.modes[mode](**case)
        return {"check": dict(job.check), "variant": dict(job.variant)}

    def calibrate(self, key: str, seconds: float) -> dict[str, Any]:
        """How many units fill the seconds; also the job's first calls, which compile and allocate."""
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
        """The time of `count` units, after one that is not timed."""
        job = self.jobs[key]
        run, units = job.run, range(count)
        with job.around():
            if count > 1:  # else it is so long that what caches held before matters little
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
        """Forgets a job."""
        self.jobs.pop(key, None)
        return {}

    def pin(self, cpus: list[int]) -> dict[str, Any]:
        """Moves every thread of the process to some processors."""
        for thread in Path("/proc/self/task").iterdir():
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.sched_setaffinity(int(thread.name), cpus)
        return {}

    def spent(self) -> dict[str, Any]:
        """The seconds that each thread of the process has computed, by its number."""
        threads = Path("/proc/self/task").iterdir()
        return {t.name: int((t / "schedstat").read_text().split()[0]) / 1e9 for t in threads}

    def peak(self) -> dict[str, Any]:
        """Bytes of memory: now, and the most since the last call."""
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        now, most = (int(status[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))
        Path("/proc/self/clear_refs").write_text("5")  # the most begins anew
        return {"now": now, "most": most}


def main() -> None:
    """Serves until the input ends."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no reply
    name, threads = sys.argv[1], int(sys.argv[2])

    def reply(**message: Any) -> None:
        print(json.dumps(message), file=replies)

    try:
        worker = Worker(name, threads)
    except Exception as error:  # what an installation that does not work raises may be anything
        if name in REQUIRED:
            raise
        reason = str(error).partition("\n")[0]
        reply(missing=reason if type(error) is ModuleNotFoundError else f"{type(error).__name__}: {reason}")
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
