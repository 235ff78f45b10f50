"""Uses one layer twice, y = W (W x + b) + b, and shows what each use adds to the gradient.

Shows shared layers. The gradient of a weight that is used twice is the sum of one term for each use:
dW = delta2 z1^T + delta1 x^T and db = delta2 + delta1, with delta2 = y - t and delta1 = W^T delta2. Prints
these terms beside the result of backpropagation. Then learns a quarter turn as two eighths, and draws it.
"""

import sys

import numpy as np
from matplotlib.figure import Figure

import nncore as nc


def compare_gradients(model: nc.Model, layer: nc.Dense) -> float:
    """Prints the terms of both gradients for one sample. Returns the largest difference from their sum."""
    x, target = np.array([0.5, -1.0]), np.array([1.0, 0.25])
    W, b = layer.weight.copy(), layer.bias.copy()
    z1 = W @ x + b
    delta2 = W @ z1 + b - target
    delta1 = W.T @ delta2
    terms_W, terms_b = (np.outer(delta2, z1), np.outer(delta1, x)), (delta2, delta1)
    model.loss_and_gradients([x], [target], "half_squared_error")
    for name, terms, found in (("dW", terms_W, layer.grad_weight), ("db", terms_b, layer.grad_bias)):
        print(f"{name}: second use {terms[0].round(4).tolist()} + first use {terms[1].round(4).tolist()}")
        print(f"    backpropagation {found.round(4).tolist()}")
    return max(abs(layer.grad_weight - sum(terms_W)).max(), abs(layer.grad_bias - sum(terms_b)).max())


def main() -> None:
    """Compares the gradients, trains and draws."""
    x, layer = nc.Input(2), nc.Dense(2, 2)
    model = nc.Model(x, layer(layer(x)), dtype=np.float64, seed=3)
    print(f"largest difference between formula and backpropagation: {compare_gradients(model, layer):.1e}")
    t = np.linspace(0, 1, 40)
    curve = (0.5 + t / 2) * np.stack([np.cos(2 * t), np.sin(2 * t)])
    given, turned = curve.T, np.stack([-curve[1], curve[0]], axis=1)
    trainer = nc.Trainer(model, loss="half_squared_error", optimizer=nc.Adam(0.02))
    history = trainer.fit(given, turned, epochs=30 if "--quick" in sys.argv else 300, progress=False)
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.semilogy(history["loss"])
    left.set(xlabel="epoch", ylabel="loss")
    for points in (given, given @ layer.weight.T + layer.bias, model.predict(given)):
        right.plot(*points.T, linewidth=3)
    right.plot(*turned.T, "k:", linewidth=1)
    right.legend(["x", "W x + b", "W (W x + b) + b", "target"], frameon=False)
    right.set_aspect("equal")
    figure.savefig("nested_network.png", dpi=120)
    print(f"loss after training: {history['loss'][-1]:.1e}; picture: nested_network.png")


if __name__ == "__main__":
    main()
