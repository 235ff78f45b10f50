"""The processes of several peers, measured in turns.

Each peer has its own process, because libraries in one process share settings, allocators and thread pools. A
peer gets the environment that suits it, sleeps on a pipe while another peer is measured, and crashes alone.
Processor time that a sleeping peer's threads use nevertheless is measured and reported.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nncore._cli.bench import OVERRIDES, SINGLE

from .check import compare
from .peers import REQUIRED

ROOT = Path(__file__).parents[1]
LEAST_ROUNDS, LONG = 5, 60.0  # stop after this many rounds if this many seconds have passed
TRIES, ALONE = 4, 0.97  # attempts at a turn; the share of processor time that counts as undisturbed


def environment(threads: int) -> dict[str, str]:
    """The environment that makes every library use this number of threads."""
    kept = {name: value for name, value in os.environ.items() if name not in OVERRIDES}
    several = "true" if threads > 1 else "false"
    flags = f"--xla_cpu_multi_thread_eigen={several} intra_op_parallelism_threads={threads}"
    return kept | dict.fromkeys(SINGLE, str(threads)) | {"XLA_FLAGS": flags}


class Failure(Exception):  # noqa: N818 - a peer failed, not this program
    """A peer failed or disagreed, which invalidates the results of the run."""


class Process:
    """A worker process.

    It starts on as many processors as it has threads, because libraries size their pools by the number of
    processors. If XLA sees more of them than it may use, it hands work to a thread that competes for the
    same processor (measured: small steps took twice as long).
    """

    def __init__(self, name: str, threads: int) -> None:
        self.name, self.threads = name, threads
        self.idle = 0.0  # seconds of processor time while others were measured
        processors = sorted(os.sched_getaffinity(0), reverse=True)[:threads]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.worker", name, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment(threads),
            preexec_fn=lambda: os.sched_setaffinity(0, processors),
        )
        self.hello = self._reply()

    def ask(self, op: str, **arguments: Any) -> dict[str, Any]:
        """Sends one request and returns the reply."""
        assert self.process.stdin is not None
        try:
            print(json.dumps({"op": op, **arguments}), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            raise Failure(f"{self.name} ended before {op}") from None
        reply = self._reply()
        self.idle += reply.pop("idle", 0.0) if op == "turn" else 0.0
        return reply

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()

    def _reply(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise Failure(f"{self.name} ended with status {self.process.wait()}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise Failure(f"{self.name} failed:\n{reply['error']}")
        return reply


class Job(NamedTuple):
    """A job that a process has prepared."""

    process: Process
    mode: str
    variant: Mapping[str, str]  # how it departs from the case


def is_alone(process: Process, turn: Mapping[str, float]) -> bool:
    """Whether a peer of one thread had its processor to itself; True for peers of more threads."""
    return process.threads > 1 or turn["load"] > ALONE


def undisturbed_turn(process: Process, key: str, count: int) -> dict[str, float]:
    """A turn without other load on the processor, or the least disturbed one of several attempts."""
    turns: list[dict[str, float]] = []
    while len(turns) < TRIES:
        turns.append(process.ask("turn", key=key, count=count))
        if is_alone(process, turns[-1]):
            break
    return max(turns, key=lambda turn: turn["load"])


class Session:
    """The installed peers, and the settings for measuring them."""

    def __init__(
        self,
        peers: Sequence[tuple[str, int]],
        *,
        rounds: int,
        seconds: float,
        cpus: Sequence[int],
        lock: str | None,
    ) -> None:
        self.rounds, self.seconds, self.cpus, self.lock = rounds, seconds, list(cpus), lock
        self.processes: list[Process] = []
        self.missing: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self.results: list[dict[str, Any]] = []
        self.told: set[str] = set()
        for name, threads in peers:
            try:
                process = Process(name, threads)
            except Failure as failure:  # the import ended the process
                if name in REQUIRED:
                    raise
                self.missing[name] = str(failure)
                continue
            if "missing" in process.hello:
                self.missing[name] = process.hello["missing"]
                process.close()
            else:
                self.processes.append(process)
                self.versions.update(process.hello["versions"])

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.close()

    def measure(
        self,
        mode: str,
        case: Mapping[str, Any],
        probes: Sequence[str] = ("fma",),
        *,
        job: str = "",
        rounds: int = 0,
    ) -> None:
        """Checks every capable peer, then times all in alternating rounds. `job` is the job if not `mode`."""
        begin = time.monotonic()
        jobs = self._prepare(mode, job or mode, case, probes)
        with self.alone():
            counts = {
                key: job.process.ask("calibrate", key=key, seconds=self.seconds)["count"]
                for key, job in jobs.items()
            }
        before = {key: job.process.ask("spent") for key, job in jobs.items()}
        turns: dict[str, list[dict[str, float]]] = {key: [] for key in jobs}
        first_turn = time.monotonic()
        for number in range(rounds or self.rounds):
            if number >= LEAST_ROUNDS and time.monotonic() - first_turn > LONG:
                break
            first = number % len(jobs)
            keys = list(jobs)[first:] + list(jobs)[:first]
            with self.alone():
                for key in keys:
                    turns[key].append(undisturbed_turn(jobs[key].process, key, counts[key]))
        print(f"{mode} {dict(case)}: {time.monotonic() - begin:.1f} s", file=sys.stderr)
        for key, job in jobs.items():
            self._report(mode, case, job, turns[key], before[key])
            job.process.ask("release", key=key)

    def add(self, mode: str, case: Mapping[str, Any], peer: str, turns: Sequence[float], **more: Any) -> None:
        """Records a result: the seconds per call of each turn."""
        us = [seconds * 1e6 for seconds in turns]
        result = {
            "mode": mode,
            "case": dict(case),
            "peer": peer,
            "us": statistics.median(us),
            "rounds": us,
            **more,
        }
        self.results.append({"threads": 1, "variant": {}} | result)

    def leave_out(self, peer: str, mode: str, why: str) -> None:
        """Prints, once, that a peer does not support a mode or some of its cases."""
        line = f"{peer} is left out of {mode}: {why}"
        if line not in self.told:
            self.told.add(line)
            print(line, file=sys.stderr)

    def _prepare(self, mode: str, job: str, case: Mapping[str, Any], probes: Sequence[str]) -> dict[str, Job]:
        """The jobs of all capable peers, by key."""
        jobs = {}
        for process in self.processes:
            is_probe = process.name == "probe"
            for job_mode in probes if is_probe else (job,):
                key = f"{process.name} {process.threads} {job_mode}"
                reply = process.ask("prepare", key=key, mode=job_mode, case={} if is_probe else dict(case))
                if "unsupported" in reply:
                    self.leave_out(process.name, mode, reply["unsupported"])
                    continue
                if difference := compare(job, case, reply["variant"], reply["check"]):
                    raise Failure(f"{process.name} differs in {mode} of {dict(case)}: {difference}")
                jobs[key] = Job(process, job_mode, reply["variant"])
        return jobs

    def _report(
        self,
        mode: str,
        case: Mapping[str, Any],
        job: Job,
        turns: Sequence[Mapping[str, float]],
        before: Mapping[str, float],
    ) -> None:
        """Records a result from the undisturbed turns, or from all turns if none was undisturbed."""
        after = job.process.ask("spent")
        spent = [seconds - before.get(thread, 0.0) for thread, seconds in after.items()]
        self.add(
            mode,
            case,
            f"probe {job.mode}" if job.process.name == "probe" else job.process.name,
            [turn["seconds"] for turn in turns if is_alone(job.process, turn)]
            or [turn["seconds"] for turn in turns],
            threads=job.process.threads,
            variant=job.variant,
            disturbed=sum(not is_alone(job.process, turn) for turn in turns) / len(turns),
            busy_threads=sum(spent) / max(spent),
        )

    @contextlib.contextmanager
    def alone(self, *others: Process) -> Iterator[None]:
        """A context in which the processes are on the measuring processors and the lock, if any, is held."""
        before = sorted(os.sched_getaffinity(0))
        with open(self.lock or os.devnull, "a") as lock:  # noqa: PTH123 - a device or a file
            fcntl.flock(lock, fcntl.LOCK_EX)
            for process in (*self.processes, *others):
                process.ask("pin", cpus=self.cpus[: process.threads])
            yield
            for process in (*self.processes, *others):
                process.ask("pin", cpus=before)
