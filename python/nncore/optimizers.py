"""Optimizers: how gradients change parameters. The arithmetic, the slots and the count of steps are the
core's; an optimizer here holds the hyperparameters, and a state for every store that it has worked on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar
from weakref import WeakKeyDictionary

from . import _core
from .registry import optimizers

if TYPE_CHECKING:
    from .model import Model
    from .store import Store


class Optimizer:
    """What all optimizers share: `learning_rate`, which may be set between steps, and `step(model)`."""

    kind: ClassVar[str]  # the core's name of what it does: "sgd", "adam", ...

    def __init__(self, **settings: float) -> None:
        self.core = _core.Optimizer(self.kind, **settings)
        self._states: WeakKeyDictionary[Store, _core.OptimizerState_float32] = WeakKeyDictionary()

    @property
    def learning_rate(self) -> float:
        """The learning rate, for every step from now on."""
        return self.core.learning_rate

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self.core.learning_rate = value

    @property
    def settings(self) -> dict[str, float]:
        """All its hyperparameters by name, as they are now."""
        return self.core.settings

    def set(self, settings: Mapping[str, float]) -> None:
        """Takes over hyperparameters of the same names, as from a checkpoint."""
        self.core = _core.Optimizer(self.kind, **settings)

    def step(self, model: Model) -> None:
        """One update of the model's trainable parameters from `model.gradients`.

        >>> import nncore as nc
        >>> model, optimizer = nc.mlp([2, 1], seed=0), nc.SGD(0.5)
        >>> before = model.parameters.copy()
        >>> model.gradients[:] = 1
        >>> optimizer.step(model)
        >>> bool((model.parameters == before - 0.5).all())
        True
        """
        model.network.update(self.core, self.state(model.store))

    def state(self, store: Store) -> _core.OptimizerState_float32:
        """What it remembers of a store: `steps`, and `slots`, a dict of writable flat views by name."""
        state = self._states.get(store)
        if state is None:
            state = self._states[store] = store.precision.optimizer_state(self.core, store.core)
        return state

    def __repr__(self) -> str:
        entry = next(entry for entry in _core.entries["optimizers"] if entry["name"] == self.kind)
        defaults = {parameter["name"]: parameter["default"] for parameter in entry["parameters"]}
        shown = [
            f"{name}={value:g}" if type(value) is float else f"{name}={value}"
            for name, value in self.settings.items()
            if name == "learning_rate" or value != defaults[name]
        ]
        return f"{type(self).__name__}({', '.join(shown)})"


@optimizers.row("sgd")
class SGD(Optimizer):
    """Gradient descent, with momentum or Nesterov's momentum where asked for.
    Raises ValueError for hyperparameters out of range.
    """

    def __init__(
        self,
        learning_rate: float = 1e-2,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            l2=l2,
        )


@optimizers.row("adam")
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015), with bias correction; epsilon is added to the root.
    Raises ValueError for hyperparameters out of range.
    """

    def __init__(
        self,
        learning_rate: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            beta1=beta1,
            beta2=beta2,
            epsilon=epsilon,
            weight_decay=weight_decay,
            l2=l2,
        )


@optimizers.row("adamw")
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), p -= learning_rate weight_decay p, on
    weights but not on biases. Raises ValueError for hyperparameters out of range.
    """

    def __init__(
        self,
        learning_rate: float = 1e-3,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
        weight_decay: float = 1e-2,
        l2: float = 0.0,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            beta1=beta1,
            beta2=beta2,
            epsilon=epsilon,
            weight_decay=weight_decay,
            l2=l2,
        )


@optimizers.row("rmsprop")
class RMSprop(Optimizer):
    """RMSprop (Hinton 2012), with the mean gradient taken off where centered (Graves 2013).
    Raises ValueError for hyperparameters out of range.
    """

    def __init__(
        self,
        learning_rate: float = 1e-2,
        alpha: float = 0.99,
        epsilon: float = 1e-8,
        momentum: float = 0.0,
        centered: bool = False,
        weight_decay: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            alpha=alpha,
            epsilon=epsilon,
            momentum=momentum,
            centered=centered,
            weight_decay=weight_decay,
            l2=l2,
        )


@optimizers.row("adagrad")
class Adagrad(Optimizer):
    """Adagrad (Duchi et al. 2011): steps become smaller where gradients were large.
    Raises ValueError for hyperparameters out of range.
    """

    def __init__(
        self,
        learning_rate: float = 1e-2,
        epsilon: float = 1e-10,
        initial_accumulator_value: float = 0.0,
        weight_decay: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        super().__init__(
            learning_rate=learning_rate,
            epsilon=epsilon,
            initial_accumulator_value=initial_accumulator_value,
            weight_decay=weight_decay,
            l2=l2,
        )


def as_optimizer(given: str | Optimizer) -> Optimizer:
    """An optimizer from its name, with its default hyperparameters, or an instance."""
    if isinstance(given, str):
        return optimizers[given]()
    if not isinstance(given, Optimizer):
        raise TypeError(f"optimizer must be a name or an Optimizer; got {type(given).__name__}")
    return given
