"""nncore: dense neural networks on a CPU.

This package describes models (layers, Model, Sequential, mlp), trains them (Trainer), and saves and loads
them (save, load); a C++ core does the computing. `nncore.functional` has each formula as a function.

>>> import nncore as nc
>>> model = nc.mlp([4, 16, 3], activation="relu", output="softmax", seed=0)
>>> model.predict([[1.0, 2.0, 3.0, 4.0]]).shape
(1, 3)
"""

import os as _os
from typing import TYPE_CHECKING, Any

from . import _threads as _threads
from . import functional as functional
from ._core import __version__ as __version__
from ._core import num_threads as num_threads
from ._core import set_num_threads as set_num_threads
from ._core import show_config as show_config
from .gradcheck import *
from .graph import *
from .initializers.base import *
from .initializers.entries import *
from .layers import *
from .losses.base import *
from .losses.entries import *
from .metrics import *
from .model import *
from .optimizers.base import *
from .optimizers.entries import *
from .optimizers.transforms import *
from .schedules import *
from .tangents import *
from .training import *

if TYPE_CHECKING:
    from . import plotting as plotting
else:  # type checkers cannot read a computed __all__; for them, the star imports suffice
    from . import (
        gradcheck,
        graph,
        initializers,
        layers,
        losses,
        metrics,
        model,
        optimizers,
        schedules,
        tangents,
        training,
    )

    __all__ = ["__version__", "functional", "num_threads", "set_num_threads", "show_config"]
    modules = (
        gradcheck,
        graph,
        initializers,
        layers,
        losses,
        metrics,
        model,
        optimizers,
        schedules,
        tangents,
        training,
    )
    for module in modules:
        __all__ += module.__all__
    del module, modules

# Only PyPI's unrelated package "nncore" has this folder. os.path, because importing pathlib takes 5 ms.
if _os.path.isdir(_os.path.join(__path__[0], "engine")):  # noqa: PTH112, PTH118
    from ._cli.installation import warn_of_problem as _warn_of_problem

    _warn_of_problem()


def __getattr__(name: str) -> Any:
    """`nncore.plotting`, imported on first use."""
    if name == "plotting":
        from importlib import import_module

        return import_module(".plotting", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "plotting"})
