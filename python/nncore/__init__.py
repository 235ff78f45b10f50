"""nncore: dense neural networks on a CPU.

A C++ core computes; this package describes models (layers, Model, Sequential, mlp), trains them (Trainer),
and keeps them (save, load). `nncore.functional` has the formulas one by one.

>>> import nncore as nc
>>> model = nc.mlp([4, 16, 3], activation="relu", output="softmax", seed=0)
>>> model.predict([[1.0, 2.0, 3.0, 4.0]]).shape
(1, 3)
"""

from . import functional
from ._core import (
    __version__,
    clip_by_global_norm,
    clip_by_value,
    moving_average,
    num_threads,
    set_num_threads,
    show_config,
)
from .callbacks import Callback, Checkpoint, EarlyStopping
from .files import load, save
from .gradcheck import GradientCheck, check_gradients
from .graph import Input, Value
from .history import History
from .initializers import (
    Constant,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Initializer,
    Zeros,
)
from .layers import (
    Activation,
    Add,
    Concatenate,
    Dense,
    Identity,
    Layer,
    LogSoftmax,
    Multiply,
    ReLU,
    Sigmoid,
    Softmax,
    Tanh,
    TransposedDense,
)
from .losses import (
    BinaryCrossEntropy,
    CrossEntropy,
    HalfSquaredError,
    Loss,
    MeanSquaredError,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
)
from .metrics import accuracy, binary_accuracy
from .model import Model, Sequential, mlp
from .optimizers import SGD, Adagrad, Adam, AdamW, Optimizer, RMSprop
from .schedules import cosine_decay
from .trainer import Trainer

__all__ = [
    "SGD",
    "Activation",
    "Adagrad",
    "Adam",
    "AdamW",
    "Add",
    "BinaryCrossEntropy",
    "Callback",
    "Checkpoint",
    "Concatenate",
    "Constant",
    "CrossEntropy",
    "Dense",
    "EarlyStopping",
    "GlorotNormal",
    "GlorotUniform",
    "GradientCheck",
    "HalfSquaredError",
    "HeNormal",
    "HeUniform",
    "History",
    "Identity",
    "Initializer",
    "Input",
    "Layer",
    "LogSoftmax",
    "Loss",
    "MeanSquaredError",
    "Model",
    "Multiply",
    "Optimizer",
    "RMSprop",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "SigmoidCrossEntropy",
    "Softmax",
    "SoftmaxCrossEntropy",
    "Tanh",
    "Trainer",
    "TransposedDense",
    "Value",
    "Zeros",
    "__version__",
    "accuracy",
    "binary_accuracy",
    "check_gradients",
    "clip_by_global_norm",
    "clip_by_value",
    "cosine_decay",
    "functional",
    "load",
    "mlp",
    "moving_average",
    "num_threads",
    "save",
    "set_num_threads",
    "show_config",
]
