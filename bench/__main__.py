"""Measures nncore against every peer that is installed.

    python -m bench                                      everything
    python -m bench epoch step --only tiny,rl            two modes, two workloads
    python -m bench --json new.json --against old.json   exit status 1 where a ratio is more than 10 % worse
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from nncore.workloads import GRID

from .modes import MODES
from .peers import PEERS
from .report import make_rows, table
from .session import Failure, Session


def names(allowed: object) -> object:
    """An argument's type: a list of some of the names."""

    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        for name in chosen:
            if name not in allowed:  # type: ignore[operator]
                raise argparse.ArgumentTypeError(f"unknown {name!r}; there are {', '.join(allowed)}")  # type: ignore[arg-type]
        return chosen

    return parse


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="python -m bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modes", nargs="*", default=list(MODES), help=f"some of: {', '.join(MODES)}")
    parser.add_argument("--only", type=names(GRID), default=list(GRID), metavar="W,...", help=", ".join(GRID))
    parser.add_argument("--peers", type=names(PEERS), default=list(PEERS), metavar="P,...", help=", ".join(PEERS))
    parser.add_argument("--rounds", type=int, default=11, help="turns of each peer (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.05, help="a turn (%(default)s)")
    parser.add_argument("--threads", type=int, default=1, help="of every peer (%(default)s)")
    parser.add_argument("--cpus", help="numbers of the processors to measure on, such as 1 or 0,1 (the last allowed)")
    parser.add_argument("--lock", metavar="FILE", help="held while measuring: runs on one machine take turns")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write every figure")
    parser.add_argument("--markdown", action="store_true", help="tables as Markdown")
    options = parser.parse_args(arguments)
    for mode in options.modes:
        if mode not in MODES:
            parser.error(f"unknown mode {mode!r}; there are {', '.join(MODES)}")
    allowed = sorted(os.sched_getaffinity(0))
    options.cpus = [int(cpu) for cpu in options.cpus.split(",")] if options.cpus else allowed[-options.threads :]
    return options


def main() -> int:
    """Measures, prints, writes."""
    options = parse_arguments()
    peers = [name for name in PEERS if name in options.peers or name in ("nncore", "probe")]
    session = Session(
        [(name, options.threads) for name in peers],
        rounds=options.rounds,
        seconds=options.seconds,
        cpus=options.cpus,
        lock=options.lock,
    )
    with session:
        print(", ".join(f"{name} {version}" for name, version in session.versions.items()))
        for name, why in session.missing.items():
            print(f"{name} is left out: {why}")
        for mode in options.modes:
            begin = len(session.results)
            MODES[mode].run(session, [GRID[name] for name in options.only])
            print(f"\n{MODES[mode].title}\n{table(make_rows(session.results[begin:]), options.markdown)}", flush=True)
    if options.json:
        report = {"versions": session.versions, "missing": session.missing, "results": session.results}
        options.json.write_text(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(str(failure))
