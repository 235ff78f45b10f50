"""Training: the Trainer, what it remembers, and what happens between its epochs."""

from .callbacks import Callback, Checkpoint, EarlyStopping
from .history import History
from .trainer import Trainer

__all__ = ["Callback", "Checkpoint", "EarlyStopping", "History", "Trainer"]
