"""The command line: `python -m nncore demo`, `bench` or `config`. Without a command, it prints its help."""

import sys

from ._cli.main import main

if __name__ == "__main__":
    sys.exit(main())
