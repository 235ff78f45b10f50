"""Training: the Trainer, its history and its callbacks."""

from .callbacks import Callback, Checkpoint, EarlyStopping
from .history import History
from .trainer import Trainer

__all__ = ["Callback", "Checkpoint", "EarlyStopping", "History", "Trainer"]
