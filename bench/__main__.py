"""Measures nncore against every peer that is installed.

python -m bench                                      everything
python -m bench epoch step --only tiny,rl            two modes, two workloads
python -m bench --json new.json --against old.json   exit status 1 where a ratio is more than 10 % worse
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from nncore._cli.workloads import GRID

from .baseline import worse
from .machine import describe
from .modes import MODES, Peers, Scope
from .peers import PEERS
from .picture import draw
from .report import ratios
from .session import Failure, Session


def names(allowed: Collection[str]) -> Callable[[str], list[str]]:
    """An argument's type: some of the names, in their own order."""

    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        for name in chosen:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"unknown {name!r}; there are {', '.join(allowed)}")
        return [name for name in allowed if name in chosen]

    return parse


def processors(text: str) -> list[int]:
    """An argument's type: different processors that this process may use."""
    allowed = [str(cpu) for cpu in sorted(os.sched_getaffinity(0))]
    chosen = text.split(",")
    if len(set(chosen)) < len(chosen) or not set(chosen) <= set(allowed):
        raise argparse.ArgumentTypeError(f"given {text!r}; allowed are {', '.join(allowed)}, each once")
    return [int(cpu) for cpu in chosen]


def file(text: str) -> Path:
    """An argument's type: where a file is or can be."""
    path = Path(text)
    if not path.parent.is_dir() or (path.exists() and not path.is_file()):
        raise argparse.ArgumentTypeError(f"there can be no file {text!r}")
    return path


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("modes", nargs="*", help=f"some of: {', '.join(MODES)}")
    add("--only", type=names(GRID), default=list(GRID), metavar="W,...", help=", ".join(GRID))
    add("--peers", type=names(PEERS), default=list(PEERS), metavar="P,...", help=", ".join(PEERS))
    add("--rounds", type=int, default=11, help="turns of each peer (%(default)s)")
    add("--seconds", type=float, default=0.05, help="a turn, at least (%(default)s)")
    add("--quick", action="store_true", help="3 rounds of 0.02 seconds, and one epoch of fit: a first look")
    add("--threads", type=int, default=1, help="of every peer, but in the mode threads (%(default)s)")
    add("--epochs", type=int, default=10, help="of fit (%(default)s)")
    add("--most-samples", type=int, default=10**6, help="of growth (%(default)s); 10^7 take 4 GB")
    add("--cpus", type=processors, metavar="N,...", help="processors to measure on (the last first)")
    add("--lock", metavar="FILE", help="held while measuring, so that runs on one machine take turns")
    add("--json", type=file, metavar="FILE", help="writes the machine, versions and every figure")
    add(
        "--picture", type=file, metavar="FILE", help="draws the roofline of the mode epoch (needs matplotlib)"
    )
    add(
        "--against",
        type=Path,
        metavar="FILE",
        help="a JSON of before: exit status 1 where a ratio fell by 10 %%",
    )
    add("--markdown", action="store_true", help="tables as Markdown")
    options = parser.parse_args(arguments)
    for mode in options.modes:
        if mode not in MODES:
            parser.error(f"unknown mode {mode!r}; there are {', '.join(MODES)}")
    options.modes = options.modes or list(MODES)
    if options.quick:
        options.rounds, options.seconds, options.epochs = 3, 0.02, 1
    for name in ("rounds", "seconds", "threads", "epochs", "most_samples"):
        if not getattr(options, name) > 0:
            parser.error(f"--{name.replace('_', '-')} must be more than 0, not {getattr(options, name)}")
    options.cpus = options.cpus or sorted(os.sched_getaffinity(0), reverse=True)
    most = max(2 if mode == "threads" else options.threads for mode in options.modes)
    if most > len(options.cpus):
        parser.error(f"{most} threads need as many processors; given {options.cpus}")
    return options


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """All modes; as soon as one is done, writes all that is known and prints its table."""
    chosen = [name for name in PEERS if name in options.peers or name in ("nncore", "probe")]
    scope = Scope([GRID[name] for name in options.only], options.epochs, options.most_samples)
    report: dict[str, Any] = {"machine": describe(), "versions": {}, "missing": {}, "results": []}
    sessions: dict[Peers, Session] = {}
    with contextlib.ExitStack() as stack:
        for name in options.modes:
            mode = MODES[name]
            team = tuple(mode.team(chosen, options.threads))
            if team not in sessions:
                sessions[team] = stack.enter_context(
                    Session(
                        team,
                        rounds=options.rounds,
                        seconds=options.seconds,
                        cpus=options.cpus,
                        lock=options.lock,
                    )
                )
                introduce(sessions[team], report)
            session = sessions[team]
            begin = len(session.results)
            mode.run(session, scope)
            found = session.results[begin:]
            report["results"] += found
            processes = [process for session in sessions.values() for process in session.processes]
            report["idle"] = {process.name: process.idle for process in processes}
            report["ratios"] = ratios(report["results"])
            if options.json:
                write(report, options.json)
            print(f"\n{mode.title}\n\n{mode.table(found, options.markdown)}", flush=True)
    return report


def write(report: dict[str, Any], path: Path) -> None:
    """Takes the place of what was written before at once: nothing that interrupts leaves half a file."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(report, indent=1))
    part.replace(path)


def introduce(session: Session, report: dict[str, Any]) -> None:
    """Says what is measured, where that is new."""
    for name, version in session.versions.items():
        if name not in report["versions"]:
            print(f"{name} {version}")
    for name, why in session.missing.items():
        if name not in report["missing"]:
            print(f"{name} is left out: {why}")
    report["versions"] |= session.versions
    report["missing"] |= session.missing


def warn(report: dict[str, Any]) -> None:
    """What makes figures doubtful."""
    for result in report["results"]:
        if result["threads"] == 1 and result.get("busy_threads", 1) > 1.5:
            print(f"{result['peer']} used more than one thread in {result['mode']} of {result['case']}")
        if result.get("disturbed", 0) == 1:
            print(
                f"{result['peer']} never had its processor to itself in {result['mode']} of {result['case']}"
            )
    for name, seconds in report["idle"].items():
        if seconds > 0.1:
            print(f"{name} computed for {seconds:.1f} s while others were measured")


def main() -> int:
    """Measures, warns, draws, compares."""
    options = parse_arguments()
    before = json.loads(options.against.read_text()) if options.against else None
    report = measure(options)
    warn(report)
    if options.picture:
        draw(report, options.picture)
    fallen = worse(report["ratios"], before["ratios"]) if before else []
    print("".join(f"\nworse than {options.against}: {line}" for line in fallen))
    return 1 if fallen else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(str(failure))
