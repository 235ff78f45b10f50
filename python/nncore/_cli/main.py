"""The command line: `python -m nncore demo`, `bench` and `config`. Without a command it prints its help."""

from __future__ import annotations

import argparse
import math
import sys

from .installation import is_imported, problem
from .workloads import GRID


def _demo(options: argparse.Namespace) -> int:
    from . import demo

    try:
        demo.run(options.out, seed=options.seed, split=options.split, epochs=options.epochs)
    except ModuleNotFoundError as error:
        print(f"No module named {error.name!r}: {demo.NEEDS}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"cannot write to {options.out}: {error}", file=sys.stderr)
        return 1
    return 0


def _bench(options: argparse.Namespace) -> int:
    from . import bench

    return bench.run(options.only, options.rounds, options.seconds)


def _config(_: argparse.Namespace) -> int:
    from . import config

    return config.run()


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1; got {number}")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be finite and greater than 0; got {number}")
    return number


def _workloads(text: str) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in GRID:
            raise argparse.ArgumentTypeError(f"must be some of {', '.join(GRID)}; got {name!r}")
    return names


def _seed(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**32:
        raise argparse.ArgumentTypeError(f"must be in [0, 2**32); got {number}")
    return number


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m nncore", description="Dense neural networks on a CPU.")
    commands = parser.add_subparsers(metavar="command")
    demo = commands.add_parser("demo", help="train a classifier of handwritten digits and show its results")
    demo.add_argument(
        "--out", default="nncore-demo", help="folder for the model and the picture (default: %(default)s)"
    )
    demo.add_argument(
        "--seed",
        type=_seed,
        default=0,
        help="seed of the initial weights and the shuffling (default: %(default)s)",
    )
    demo.add_argument(
        "--split", type=_seed, default=0, help="seed of the choice of held-out images (default: %(default)s)"
    )
    demo.add_argument(
        "--epochs", type=_positive, default=60, help="passes over the data (default: %(default)s)"
    )
    demo.set_defaults(run=_demo)
    bench = commands.add_parser("bench", help="time training and prediction against NumPy, on one thread")
    bench.add_argument(
        "--only",
        type=_workloads,
        default=list(GRID),
        metavar="W,...",
        help=f"some of {', '.join(GRID)} (default: all)",
    )
    bench.add_argument(
        "--rounds", type=_positive, default=9, help="turns of each side (default: %(default)s)"
    )
    bench.add_argument(
        "--seconds", type=_seconds, default=0.05, help="approximate length of a turn (default: %(default)s)"
    )
    bench.set_defaults(run=_bench)
    config = commands.add_parser("config", help="print the version, compiler, instruction sets and threads")
    config.set_defaults(run=_config)
    options = parser.parse_args(arguments)
    if "run" not in options:
        parser.print_help()
        return 0
    if options.run is not _config and not is_imported():
        print(problem(), file=sys.stderr)
        return 1
    return int(options.run(options))
