"""The modes of the benchmark: what each measures."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from nncore._cli.workloads import FITS, Workload

from . import functions, hidden, report, startup
from .session import Process, Session, undisturbed_turn

Peers = Sequence[tuple[str, int]]
PREDICT_ROWS = (1, 64, 4096)


class Scope(NamedTuple):
    """The scope chosen on the command line."""

    grid: Sequence[Workload]
    epochs: int  # of fit
    most_samples: int  # of growth


class Mode(NamedTuple):
    """A title, a function that measures, one that formats the table, and one that picks peers and threads."""

    title: str
    run: Callable[[Session, Scope], None]
    table: Callable[[Sequence[Mapping[str, Any]], bool], str] = report.ratio_table
    team: Callable[[Sequence[str], int], Peers] = lambda names, threads: [(name, threads) for name in names]


def epoch(session: Session, scope: Scope) -> None:
    """Trains in each peer's own loop."""
    for workload in scope.grid:
        session.measure("epoch", {"workload": workload.name}, ("fma", "cache", "memory"))


def step(session: Session, scope: Scope) -> None:
    """Trains step by step from Python."""
    for workload in scope.grid:
        session.measure("step", {"workload": workload.name})


def layers(session: Session, scope: Scope) -> None:
    """Makes steps with other activations, with dropout and with batch normalization."""
    for workload, layer in hidden.CASES:
        if workload in [chosen.name for chosen in scope.grid]:
            session.measure("layers", {"workload": workload, "hidden": layer})


def predict(session: Session, scope: Scope) -> None:
    """Predicts from Python."""
    for workload in scope.grid:
        for rows in PREDICT_ROWS:
            session.measure("predict", {"workload": workload.name, "rows": rows})


def matmul(session: Session, scope: Scope) -> None:
    """Computes matrix products alone: those of the grid's steps, and square ones."""
    for name, shape in functions.product_cases(scope.grid):
        session.measure("matmul", {"function": name, "shape": list(shape)})


def functional(session: Session, scope: Scope) -> None:
    """Calls single functions at the grid's shapes."""
    for name, shape in functions.function_cases(scope.grid):
        session.measure("functional", {"function": name, "shape": list(shape)}, ())


def fit(session: Session, scope: Scope) -> None:
    """Trains for several epochs. Each training is one unit, so a few rounds are enough."""
    for name in FITS:
        session.measure("fit", {"workload": name, "epochs": scope.epochs}, rounds=min(3, session.rounds))


def growth(session: Session, scope: Scope) -> None:
    """Measures time per sample, and memory, in a new process for each number of samples."""
    for exponent in itertools.takewhile(lambda e: 10**e <= scope.most_samples, itertools.count(3)):
        process = Process("nncore", 1)
        case = {"workload": "tabular", "samples": 10**exponent}
        process.ask("prepare", key="", mode="growth", case=case)
        process.ask("peak")
        before = process.ask("peak")["now"]
        with session.alone(process):
            count = process.ask("calibrate", key="", seconds=session.seconds)["count"]
            rounds = range(min(5, session.rounds))
            turns = [undisturbed_turn(process, "", count)["seconds"] for _ in rounds]
        added = process.ask("peak")["most"] - before
        process.close()
        session.add("growth", case, "nncore", turns, before=before, added=added)


def threads(session: Session, scope: Scope) -> None:
    """Measures nncore and the probe on one and two threads, and the peers on two."""
    for workload in scope.grid:
        session.measure("threads", {"workload": workload.name}, job="epoch")


def threads_team(names: Sequence[str], _: int) -> Peers:
    """nncore and the probe on one and two threads, the peers on two."""
    return [(name, count) for name in names for count in (1, 2) if count == 2 or name in ("nncore", "probe")]


def imports(session: Session, _: Scope) -> None:
    """Measures imports in new processes, and installed sizes."""
    with session.alone():
        times, broken = startup.measure(min(5, session.rounds))
    for module, why in broken.items():
        session.leave_out(module, "import", why)
    interpreter = statistics.median(times.pop(""))
    for module, seconds in times.items():
        beyond = [second - interpreter for second in seconds]
        session.add("import", {"module": module}, module, beyond, bytes=sum(startup.sizes(module).values()))


MODES: Mapping[str, Mode] = {
    "epoch": Mode("Training in the peer's own loop, µs a step", epoch),
    "step": Mode("Training step by step from Python, µs a step", step),
    "layers": Mode("Steps with other hidden layers, µs a step", layers),
    "predict": Mode("Predictions from Python, µs a call", predict),
    "matmul": Mode("Matrix products alone, µs each", matmul),
    "functional": Mode("Single functions, µs a call", functional),
    "fit": Mode("fit of 784-128-10 on 59,904 samples, batch 128, µs a step", fit),
    "growth": Mode("Growth: tabular, shuffled", growth, report.growth_table, lambda names, threads: []),
    "threads": Mode("Two threads: own loops, µs a step", threads, report.threads_table, threads_team),
    "import": Mode("Import and installed size", imports, report.import_table, lambda names, threads: []),
}
