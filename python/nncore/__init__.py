"""nncore: dense neural networks on a CPU.

A C++ core computes; this package describes models (layers, Model, Sequential, mlp), trains them (Trainer),
and keeps them (save, load). `nncore.functional` has the formulas one by one.

>>> import nncore as nc
>>> model = nc.mlp([4, 16, 3], activation="relu", output="softmax", seed=0)
>>> model.predict([[1.0, 2.0, 3.0, 4.0]]).shape
(1, 3)
"""

from . import functional, gradcheck, graph, initializers, layers, losses, metrics, model, optimizers, training
from ._core import __version__, num_threads, set_num_threads, show_config
from .gradcheck import *
from .graph import *
from .initializers import *
from .layers import *
from .losses import *
from .metrics import *
from .model import *
from .optimizers import *
from .training import *

__all__ = ["__version__", "functional", "num_threads", "set_num_threads", "show_config"]
__all__ += gradcheck.__all__
__all__ += graph.__all__
__all__ += initializers.__all__
__all__ += layers.__all__
__all__ += losses.__all__
__all__ += metrics.__all__
__all__ += model.__all__
__all__ += optimizers.__all__
__all__ += training.__all__
