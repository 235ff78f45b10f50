"""Pictures of models and of their training, drawn by matplotlib.

matplotlib and scikit-learn are optional: `pip install 'nncore-cpu[plot]'`. A function imports them when it is
called, and raises ImportError where one is missing. `nc.plotting` is available after `import nncore as nc`.

Every function draws on `ax`, or on a new pyplot figure where `ax` is None. It returns matplotlib axes: one
object, or a list with one for each panel. Arguments are checked before a figure is made.
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
