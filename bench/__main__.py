"""Times nncore against every installed peer library.

python -m bench                                      everything
python -m bench epoch step --only tiny,rl            two modes, two workloads
python -m bench --json new.json --against old.json   exit status 1 if a ratio is more than 10 % worse
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
    """An argument type: a comma-separated selection of names, returned in the order of `allowed`."""

    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        for name in chosen:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"must be some of {', '.join(allowed)}; got {name!r}")
        return [name for name in allowed if name in chosen]

    return parse


def processors(text: str) -> list[int]:
    """An argument type: distinct processors that this process may use."""
    allowed = [str(cpu) for cpu in sorted(os.sched_getaffinity(0))]
    chosen = text.split(",")
    if len(set(chosen)) < len(chosen) or not set(chosen) <= set(allowed):
        raise argparse.ArgumentTypeError(f"must be distinct processors of {', '.join(allowed)}; got {text!r}")
    return [int(cpu) for cpu in chosen]


def file(text: str) -> Path:
    """An argument type: the path of a file that exists or can be created."""
    path = Path(text)
    if not path.parent.is_dir() or (path.exists() and not path.is_file()):
        raise argparse.ArgumentTypeError(f"must be a file that exists or can be created; got {text!r}")
    return path


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("modes", nargs="*", help=f"some of: {', '.join(MODES)} (default: all)")
    add("--only", type=names(GRID), default=list(GRID), metavar="W,...", help=", ".join(GRID))
    add("--peers", type=names(PEERS), default=list(PEERS), metavar="P,...", help=", ".join(PEERS))
    add("--rounds", type=int, default=11, help="turns of each peer (default: %(default)s)")
    add("--seconds", type=float, default=0.05, help="minimum length of a turn (default: %(default)s)")
    add("--quick", action="store_true", help="a first look: 3 rounds of 0.02 seconds, and one epoch of fit")
    add(
        "--threads",
        type=int,
        default=1,
        help="threads of every peer, except in the mode threads (default: %(default)s)",
    )
    add("--epochs", type=int, default=10, help="epochs of fit (default: %(default)s)")
    add(
        "--most-samples",
        type=int,
        default=10**6,
        help="largest data set of growth (default: %(default)s); 10^7 samples take 4 GB",
    )
    add(
        "--cpus",
        type=processors,
        metavar="N,...",
        help="processors to measure on (default: all allowed, the last first)",
    )
    add("--lock", metavar="FILE", help="file to lock while measuring, so that runs on one machine take turns")
    add("--json", type=file, metavar="FILE", help="write the machine, the versions and all results to a file")
    add("--picture", type=file, metavar="FILE", help="draw the roofline of the mode epoch (needs matplotlib)")
    add(
        "--against",
        type=Path,
        metavar="FILE",
        help="JSON of an earlier run: exit status 1 if a ratio fell by more than 10 %%",
    )
    add("--markdown", action="store_true", help="print tables as Markdown")
    options = parser.parse_args(arguments)
    for mode in options.modes:
        if mode not in MODES:
            parser.error(f"modes must be some of {', '.join(MODES)}; got {mode!r}")
    options.modes = options.modes or list(MODES)
    if options.quick:
        options.rounds, options.seconds, options.epochs = 3, 0.02, 1
    for name in ("rounds", "seconds", "threads", "epochs", "most_samples"):
        if not getattr(options, name) > 0:
            parser.error(f"--{name.replace('_', '-')} must be greater than 0; got {getattr(options, name)}")
    options.cpus = options.cpus or sorted(os.sched_getaffinity(0), reverse=True)
    most = max(2 if mode == "threads" else options.threads for mode in options.modes)
    if most > len(options.cpus):
        parser.error(f"--cpus must be at least {most} processors for {most} threads; got {options.cpus}")
    return options


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Runs all modes. After each mode, writes all results so far and prints the mode's table."""
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
    """Replaces the file atomically, so that an interrupted run never leaves half a file."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(report, indent=1))
    part.replace(path)


def introduce(session: Session, report: dict[str, Any]) -> None:
    """Prints the versions of new peers, and which peers are missing and why."""
    for name, version in session.versions.items():
        if name not in report["versions"]:
            print(f"{name} {version}")
    for name, why in session.missing.items():
        if name not in report["missing"]:
            print(f"{name} is left out: {why}")
    report["versions"] |= session.versions
    report["missing"] |= session.missing


def warn(report: dict[str, Any]) -> None:
    """Prints what makes results doubtful."""
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
    """Measures, warns, draws and compares; returns the exit status."""
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
