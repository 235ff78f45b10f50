"""The demo: a classifier of handwritten digits, from the data to a saved model and a picture of its results.

The data are scikit-learn's 1,797 images of 8x8 pixels. A stratified quarter of them is held out for testing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..model import Model, mlp
from ..optimizers import AdamW
from ..plotting import confusion_matrix
from ..training import Callback, History, Trainer
from ..training.progress import ProgressOption

if TYPE_CHECKING:
    from numpy.typing import NDArray

EPOCHS = 60
BATCH_SIZE = 32
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.3
HIDDEN = 256
NEEDS = "the demo needs matplotlib and scikit-learn: pip install 'nncore-cpu[demo]'"


class Digits(NamedTuple):
    """Images (N, 64) with pixels in [0, 1], and labels 0 to 9 (N,)."""

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    x_test: NDArray[np.float32]
    y_test: NDArray[np.int64]


class Anneal(Callback):
    """Lowers the learning rate linearly to 0, so that training settles at the end."""

    def __init__(self, start: float, epochs: int) -> None:
        self._start, self._epochs = start, epochs

    def on_epoch_end(self, trainer: Trainer, logs: Mapping[str, float]) -> None:
        trainer.optimizer.learning_rate = self._start * max(0.0, 1 - trainer.history.epochs / self._epochs)


def load_digits(split: int) -> Digits:
    """The digits, split at random into training and held-out images; `split` seeds the split."""
    from sklearn import datasets, model_selection

    digits = datasets.load_digits()
    x, x_test, y, y_test = model_selection.train_test_split(
        (digits.data / 16).astype(np.float32),
        digits.target,
        test_size=0.25,
        stratify=digits.target,
        random_state=split,
    )
    return Digits(x, y, x_test, y_test)


def train(
    digits: Digits, *, seed: int, epochs: int = EPOCHS, progress: ProgressOption = "auto"
) -> tuple[Model, History]:
    """A model trained on the training images, and its history."""
    model = mlp([64, HIDDEN, 10], activation="relu", output="softmax", seed=seed)
    optimizer = AdamW(LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    trainer = Trainer(model, "cross_entropy", optimizer, metrics=["accuracy"])
    history = trainer.fit(
        digits.x,
        digits.y,
        epochs,
        BATCH_SIZE,
        validation_data=(digits.x_test, digits.y_test),
        callbacks=[Anneal(LEARNING_RATE, epochs)],
        progress=progress,
    )
    return model, history


def accuracy(model: Model, digits: Digits) -> float:
    """The fraction of held-out images that the model classifies correctly."""
    return float(np.mean(model.predict(digits.x_test).argmax(axis=1) == digits.y_test))


def draw(model: Model, history: History, digits: Digits, path: Path) -> None:
    """Saves the learning curves, the confusion matrix and the worst mistakes as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.2), layout="constrained")
    parts: Any = figure.subfigures(1, 3, width_ratios=[1.25, 1.1, 1.3])
    curves, matrix, mistakes = parts
    probabilities = model.predict(digits.x_test)
    losses, rates = history.plot(["loss", "accuracy"], ax=curves.subplots(2, 1, sharex=True))
    losses.set(xlabel="", ylabel="cross-entropy", title="Learning curves")
    rates.set_ylim(0.9, 1.003)
    axes = confusion_matrix(digits.y_test, probabilities, ax=matrix.subplots())
    right = round(accuracy(model, digits) * len(digits.y_test))
    axes.set_title(f"Held out: {right} of {len(digits.y_test)} right")
    _draw_mistakes(mistakes, probabilities, digits)
    figure.savefig(path, dpi=110)


def _draw_mistakes(figure: Any, probabilities: NDArray[np.float32], digits: Digits) -> None:
    guesses = probabilities.argmax(axis=1)
    of_truth = probabilities[np.arange(len(guesses)), digits.y_test]
    wrong = np.flatnonzero(guesses != digits.y_test)
    worst = wrong[np.argsort(of_truth[wrong], kind="stable")][:12]
    figure.suptitle("The worst mistakes")
    for axes in figure.subplots(3, 4).flat:
        axes.set_axis_off()
    for axes, index in zip(figure.axes, worst, strict=False):
        axes.imshow(digits.x_test[index].reshape(8, 8), cmap="gray_r")
        guess = guesses[index]
        axes.set_title(
            f"{digits.y_test[index]} taken for {guess}\n{probabilities[index, guess]:.0%}", fontsize=8
        )


def run(folder: str, *, seed: int, split: int, epochs: int) -> float:
    """Runs the demo and returns the held-out accuracy.

    Raises ModuleNotFoundError, before any work, if matplotlib or scikit-learn is missing.
    """
    import matplotlib.figure  # noqa: F401 - fails here, before any work, if missing
    import sklearn.datasets
    import sklearn.metrics  # noqa: F401 - likewise

    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    digits = load_digits(split)
    print(f"Training on {len(digits.x)} images of handwritten digits; holding out {len(digits.x_test)}.")
    model, history = train(digits, seed=seed, epochs=epochs)
    print(model)
    result = accuracy(model, digits)
    print(
        f"Held-out accuracy: {result:.2%} after {history.epochs} epochs "
        f"in {sum(history['seconds']):.1f} s of training"
    )
    model.save(target / "digits.safetensors", metadata={"accuracy": result})
    draw(model, history, digits, target / "digits.png")
    print(f"Model:   {target / 'digits.safetensors'}\nPicture: {target / 'digits.png'}")
    return result
