"""Pictures of models and of their training, drawn by matplotlib.

matplotlib and scikit-learn are optional: `pip install 'nncore-cpu[plot]'`. A function imports them when it is
called, and raises ImportError where they are missing. `nc.plotting` needs no import of its own.

Every function draws on `ax`, or makes a figure with pyplot where that is None, and returns the axes: one, or
a list with one for each panel. Bad arguments are errors before a figure is made.
"""

from .boundary import decision_boundary
from .confusion import confusion_matrix
from .curves import learning_curves
from .histograms import activation_histograms, dead_units, weight_histograms

__all__ = [
    "activation_histograms",
    "confusion_matrix",
    "dead_units",
    "decision_boundary",
    "learning_curves",
    "weight_histograms",
]
