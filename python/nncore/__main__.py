"""The command line: `python -m nncore demo`, `bench` and `config`; with no command, its help."""

import sys

from ._cli.main import main

if __name__ == "__main__":
    sys.exit(main())
