"""Models: graphs of layers at work on stores of parameters; their files."""

from .files import load, save
from .model import Model
from .sequential import Sequential, mlp

__all__ = ["Model", "Sequential", "load", "mlp", "save"]
