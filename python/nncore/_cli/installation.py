"""Whether PyPI's unrelated package "nncore" is in the way of this one, and the remedy.

Both have a file nncore/__init__.py. The package that was installed last provides it, and uninstalling either
removes it; the other files of the two have different names.
"""

from __future__ import annotations

import sys
import warnings
from importlib import metadata
from pathlib import Path

from .._core import show_config

PACKAGE = Path(__file__).parent.parent


def is_imported() -> bool:
    """Whether `import nncore` imports this package."""
    return getattr(sys.modules["nncore"], "show_config", None) is show_config


def problem() -> str | None:
    """What is wrong, and the remedy; None where nothing is."""
    found = next(iter(metadata.distributions(name="nncore", path=[str(PACKAGE.parent)])), None)
    version = f" {found.version}" if found is not None else ""
    unrelated = f"PyPI's unrelated package nncore{version}"
    if not (PACKAGE / "__init__.py").is_file():
        what = (
            f"{PACKAGE / '__init__.py'} is missing, so `import nncore` imports an empty package. "
            "Uninstalling PyPI's unrelated package nncore removes this file."
        )
    elif not is_imported():
        what = (
            f"{unrelated} has overwritten {PACKAGE / '__init__.py'}, so `import nncore` imports that package."
        )
    elif found is not None:
        what = f"{unrelated} is in {PACKAGE} too. Uninstalling it will remove nncore-cpu's __init__.py."
    else:
        return None
    return (
        f"{what} An environment can hold only one of the two. To repair this one, run\n"
        f"    {sys.executable} -m pip uninstall --yes nncore nncore-cpu\n"
        "and install nncore-cpu again."
    )


def warn_of_problem() -> None:
    """For `import nncore`, which calls this only where it sees a folder of the unrelated package."""
    found = problem()
    if found is not None:
        warnings.warn(found, stacklevel=3)
