"""Learns the map from two angles to a point on the unit sphere: (theta, phi) -> (x, y, z).

Shows regression with several outputs. Prints the mean distance between predicted and true points outside the
training set, which stays below 0.02, and draws the learned surface.
"""

import sys

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

import nncore as nc


def points(angles: np.ndarray) -> np.ndarray:
    """The points (..., 3) on the sphere at angles (..., 2)."""
    theta, phi = angles[..., 0], angles[..., 1]
    return np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], axis=-1)


def draw(model: nc.Sequential, path: str) -> None:
    """Draws the predictions for a grid of angles as a surface, colored by distance from the true points."""
    grid = np.stack(np.meshgrid(np.linspace(0, np.pi, 31), np.linspace(-np.pi, np.pi, 61)), axis=-1)
    predicted = model.predict(grid.reshape(-1, 2)).reshape(61, 31, 3)
    distance = np.linalg.norm(predicted - points(grid), axis=-1)
    scale = ScalarMappable(Normalize(0, distance.max()), cmap="viridis")
    figure = Figure(figsize=(6.5, 5.5), layout="constrained")
    axes = figure.add_subplot(projection="3d", xlabel="x", ylabel="y", zlabel="z")
    axes.set(box_aspect=(1, 1, 1), xticks=(-1, 0, 1), yticks=(-1, 0, 1), zticks=(-1, 0, 1))
    x, y, z = np.moveaxis(predicted, -1, 0)
    axes.plot_surface(x, y, z, rcount=61, facecolors=scale.to_rgba(distance), shade=False)
    figure.colorbar(scale, ax=axes, label="distance from the true point", shrink=0.6)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Trains, measures and draws."""
    rng = np.random.default_rng(0)
    angles, unseen = rng.uniform([0, -np.pi], [np.pi, np.pi], size=(2, 2000, 2))
    model = nc.mlp([2, 32, 32, 3], activation="tanh", seed=0)
    trainer = nc.Trainer(model, loss="mean_squared_error", optimizer="adam")
    for learning_rate in (1e-2, 3e-3, 1e-3):
        trainer.optimizer.learning_rate = learning_rate
        trainer.fit(angles, points(angles), epochs=6 if "--quick" in sys.argv else 60, progress=False)
    draw(model, "sphere_points.png")
    distance = np.linalg.norm(model.predict(unseen) - points(unseen), axis=-1).mean()
    print(f"mean distance on the sphere: {distance:.4f}; picture: sphere_points.png")


if __name__ == "__main__":
    main()
