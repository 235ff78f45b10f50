"""nncore against NumPy: training steps and predictions, side by side in one run.

Both sides compute the same thing in float32, on one thread, and are checked against each other first. NumPy
gets its best practice: buffers allocated once, out= everywhere, Adam in place over one flat array. Rounds
alternate; the medians and their ratio (above 1: nncore is faster) are printed.

    python bench/compare.py              the table
    python bench/compare.py --check      the same; exit status 1 where a ratio is below 1
"""

import argparse
import os
import statistics
import sys
import time

SINGLE = {
    "NNCORE_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}
OVERRIDES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # would keep NumPy from its best kernels

if __name__ == "__main__" and os.environ.get("NNCORE_NUM_THREADS") != "1":
    kept = {name: value for name, value in os.environ.items() if name not in OVERRIDES}
    os.execve(sys.executable, [sys.executable, *sys.argv], kept | SINGLE)

import numpy as np  # noqa: E402 - its threads are decided by the environment

import nncore as nc  # noqa: E402

WORKLOADS = {  # layer sizes, activation, loss
    "1-16-16-1": ([1, 16, 16, 1], "tanh", "mean_squared_error"),
    "8-64-64-4": ([8, 64, 64, 4], "tanh", "mean_squared_error"),
    "100-256-128-1": ([100, 256, 128, 1], "relu", "sigmoid_cross_entropy"),
    "784-128-10": ([784, 128, 10], "relu", "softmax_cross_entropy"),
    "1024-1024-1024-10": ([1024, 1024, 1024, 10], "relu", "softmax_cross_entropy"),
}
BATCHES = (1, 64)
# So small that thousands of steps on one batch do not end in gradients of nearly zero, where both sides would
# compute with subnormal numbers.
LEARNING_RATE, BETA1, BETA2, EPSILON = 1e-6, 0.9, 0.999, 1e-8


class NumpyNet:
    """The same net in NumPy, its parameters in one flat array as Adam likes them."""

    def __init__(self, model, activation, loss, rows):
        dense = [layer for layer in model if isinstance(layer, nc.Dense)]
        self.loss, self.tanh, self.steps = loss, activation == "tanh", 0
        self.flat = np.empty(model.parameters.size, np.float32)
        self.grad, self.m, self.v, self.scratch, self.root = (np.zeros_like(self.flat) for _ in range(5))
        self.layers, start = [], 0
        for layer in dense:
            out, width = layer.weight.shape
            views = []
            for array in (self.flat, self.grad):
                views += [
                    array[start : start + out * width].reshape(out, width),
                    array[start + out * width : start + out * width + out],
                ]
            views[0][...], views[1][...] = layer.weight, layer.bias
            start += out * width + out
            value, delta = (np.empty((rows, out), np.float32) for _ in range(2))
            self.layers.append((*views, value, delta))

    def forward(self, x):
        """The output before the loss."""
        for number, (weight, bias, _, _, value, _) in enumerate(self.layers, 1):
            np.matmul(x, weight.T, out=value)
            np.add(value, bias, out=value)
            if number < len(self.layers):
                np.tanh(value, out=value) if self.tanh else np.maximum(value, 0, out=value)
            x = value
        return x

    def loss_and_delta(self, output, y, delta):
        """The loss, and its gradient in delta."""
        rows = len(output)
        if self.loss == "mean_squared_error":
            np.subtract(output, y, out=delta)
            value = float(np.vdot(delta, delta)) / delta.size
            delta *= np.float32(2 / delta.size)
        elif self.loss == "sigmoid_cross_entropy":
            value = (
                float((np.maximum(output, 0) - output * y + np.log1p(np.exp(-np.abs(output)))).sum()) / rows
            )
            np.subtract(1 / (1 + np.exp(-output)), y, out=delta)
            delta *= np.float32(1 / rows)
        else:
            index = np.arange(rows)
            np.subtract(output, output.max(axis=1, keepdims=True), out=delta)
            picked = delta[index, y]
            np.exp(delta, out=delta)
            total = delta.sum(axis=1, keepdims=True)
            value = float((np.log(total[:, 0]) - picked).sum()) / rows
            delta /= total
            delta[index, y] -= 1
            delta *= np.float32(1 / rows)
        return value

    def step(self, x, y):
        """Forward, loss, backward, Adam."""
        output = self.forward(x)
        value = self.loss_and_delta(output, y, self.layers[-1][5])
        for number in range(len(self.layers) - 1, -1, -1):
            weight, _, grad_weight, grad_bias, _, delta = self.layers[number]
            below = self.layers[number - 1][4] if number else x
            np.matmul(delta.T, below, out=grad_weight)
            np.sum(delta, axis=0, out=grad_bias)
            if number:
                back = self.layers[number - 1][5]
                np.matmul(delta, weight, out=back)
                if self.tanh:
                    np.multiply(below, below, out=below)  # the activation is not needed again
                    np.subtract(1, below, out=below)
                    np.multiply(back, below, out=back)
                else:
                    np.multiply(back, below > 0, out=back)
        self.adam()
        return value

    def adam(self):
        """One update, in place."""
        self.steps += 1
        rate = LEARNING_RATE / (1 - BETA1**self.steps)
        self.m *= np.float32(BETA1)
        np.multiply(self.grad, np.float32(1 - BETA1), out=self.scratch)
        self.m += self.scratch
        self.v *= np.float32(BETA2)
        np.multiply(self.grad, self.grad, out=self.scratch)
        self.scratch *= np.float32(1 - BETA2)
        self.v += self.scratch
        np.sqrt(self.v, out=self.root)
        self.root *= np.float32(1 / np.sqrt(1 - BETA2**self.steps))
        self.root += np.float32(EPSILON)
        np.divide(self.m, self.root, out=self.scratch)
        self.scratch *= np.float32(rate)
        self.flat -= self.scratch


def make(name, rows):
    """The two sides of a workload, as a dict of (NumPy's call, nncore's call), checked against each other."""
    sizes, activation, loss = WORKLOADS[name]
    random = np.random.default_rng(0)
    x = random.standard_normal((rows, sizes[0])).astype(np.float32)
    y = (
        random.integers(0, sizes[-1], rows)
        if loss == "softmax_cross_entropy"
        else random.random((rows, sizes[-1])).astype(np.float32)
    )
    model = nc.mlp(sizes, activation=activation, seed=0)
    peer = NumpyNet(model, activation, loss, rows)
    trainer = nc.Trainer(model, loss, nc.Adam(LEARNING_RATE, BETA1, BETA2, EPSILON))
    out = np.empty((rows, sizes[-1]), np.float32)
    np.testing.assert_allclose(model.predict(x), peer.forward(x), rtol=1e-3, atol=1e-4)
    for _ in range(3):
        np.testing.assert_allclose(trainer.step(x, y), peer.step(x, y), rtol=1e-3, atol=1e-6)
    return {
        "step": (lambda: peer.step(x, y), lambda: trainer.step(x, y)),
        "predict": (lambda: peer.forward(x), lambda: model.predict(x, out)),
    }


def measure(sides, rounds, seconds):
    """Median microseconds a call of each side, in alternating rounds of about `seconds` each."""
    counts = []
    for side in sides:
        begin, calls = time.perf_counter(), 0
        while time.perf_counter() - begin < seconds:
            side()
            calls += 1
        counts.append(max(1, calls))
    times = [[] for _ in sides]
    for _ in range(rounds):
        for side, count, found in zip(sides, counts, times, strict=True):
            begin = time.perf_counter()
            for _ in range(count):
                side()
            found.append((time.perf_counter() - begin) / count * 1e6)
    return [statistics.median(found) for found in times]


def blas():
    """Which kernels NumPy's products run on."""
    from threadpoolctl import threadpool_info

    return ", ".join(
        f"{i['internal_api']} {i['version']} ({i.get('architecture', '?')}, {i['num_threads']} thread)"
        for i in threadpool_info()
        if i["user_api"] == "blas"
    )


def main():
    """Prints the table; the exit status is 1 with --check where NumPy is faster somewhere."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="exit status 1 where a ratio is below 1")
    parser.add_argument("--rounds", type=int, default=11, help="of each side (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.06, help="a round (%(default)s)")
    options = parser.parse_args()
    config = nc.show_config()
    print(
        f"nncore {config['version']} on {config['instruction_set']}, {config['num_threads']} thread; "
        f"NumPy {np.__version__} on {blas()}"
    )
    print(f"{'workload':20} {'call':8} {'batch':>5} {'NumPy, us':>11} {'nncore, us':>11} {'ratio':>7}")
    slowest = float("inf")
    for name in WORKLOADS:
        for rows in BATCHES:
            for call, sides in make(name, rows).items():
                theirs, ours = measure(sides, options.rounds, options.seconds)
                slowest = min(slowest, theirs / ours)
                print(
                    f"{name:20} {call:8} {rows:5} {theirs:11.1f} {ours:11.1f} {theirs / ours:7.2f}",
                    flush=True,
                )
    print(f"least ratio: {slowest:.2f}")
    return 1 if options.check and slowest < 1 else 0


if __name__ == "__main__":
    sys.exit(main())
