"""Models: graphs of layers with their parameters, and model files."""

from .files import load, save
from .model import Model
from .sequential import Sequential, mlp

__all__ = ["Model", "Sequential", "load", "mlp", "save"]
