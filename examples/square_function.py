"""Learns f(x) = x^2 on [-1, 1] from 201 points.

Shows regression with one input, one output, mean squared error, and a learning rate that falls in 3 stages.
Prints the largest error on 2,001 points, which stays below 0.01, and draws the function and the error.
"""

import sys

import numpy as np
from matplotlib.figure import Figure

import nncore as nc


def learn(epochs: int) -> nc.Sequential:
    """Trains a network for `epochs` at each of three learning rates."""
    x = np.linspace(-1, 1, 201).reshape(-1, 1)
    model = nc.mlp([1, 32, 32, 1], activation="relu", seed=0)
    trainer = nc.Trainer(model, loss="mean_squared_error", optimizer="adam")
    for learning_rate in (1e-2, 3e-3, 3e-4):
        trainer.optimizer.learning_rate = learning_rate
        trainer.fit(x, x**2, epochs=epochs, batch_size=32, progress=False)
    return model


def draw(x: np.ndarray, predicted: np.ndarray, path: str) -> None:
    """Draws the function and the prediction, and below them their difference."""
    figure = Figure(figsize=(6, 5), layout="constrained")
    above, below = figure.subplots(2, sharex=True, height_ratios=[3, 1])
    above.plot(x, x**2, color="0.75", linewidth=6, label="x²")
    above.plot(x, predicted, color="tab:blue", label="network")
    above.legend(frameon=False)
    below.plot(x, predicted - x**2, color="tab:red")
    below.axhspan(-0.01, 0.01, color="0.93")
    below.set(xlabel="x", ylabel="error", ylim=(-0.015, 0.015))
    figure.savefig(path, dpi=120)


def main() -> None:
    """Trains, measures and draws."""
    model = learn(epochs=30 if "--quick" in sys.argv else 300)
    x = np.linspace(-1, 1, 2001).reshape(-1, 1)
    predicted = model.predict(x)
    draw(x, predicted, "square_function.png")
    print(f"largest error on [-1, 1]: {np.abs(predicted - x**2).max():.4f}; picture: square_function.png")


if __name__ == "__main__":
    main()
