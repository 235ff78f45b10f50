"""nncore against NumPy: training steps and predictions, side by side in one run.

Both sides compute the same thing in float32, on one thread, and are checked against each other first. NumPy
gets its best practice: buffers allocated once, results in place, Adam over one flat array. Rounds alternate;
the medians and their ratio (above 1: nncore is faster) are printed.

    python bench/compare.py [--check]    with --check, exit status 1 where a ratio is below 1
"""

import argparse
import os
import statistics
import sys
import time

SINGLE = dict.fromkeys(
    ("NNCORE_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"), "1"
)
OVERRIDES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")  # would keep NumPy from its best kernels

wanted = {name: value for name, value in os.environ.items() if name not in OVERRIDES} | SINGLE
if __name__ == "__main__" and wanted != dict(os.environ):
    os.execve(sys.executable, [sys.executable, *sys.argv], wanted)

import numpy as np  # noqa: E402 - its threads are decided by the environment

import nncore as nc  # noqa: E402 - likewise

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


ZERO, ONE = np.zeros((), np.float32), np.ones((), np.float32)  # faster to give to NumPy than Python's numbers
BLOCK = 1 << 14  # parameters whose values, gradients and moments stay in the cache during an update


class NumpyNet:
    """The same net in NumPy, as fast as we can write it.

    np.dot was faster than np.matmul, several times for one row; the update runs in blocks that fit the cache.
    """

    def __init__(self, model, activation, loss, rows):
        self.loss, self.tanh, self.steps = loss, activation == "tanh", 0
        self.flat = np.empty(model.parameters.size, np.float32)
        self.grad, self.m, self.v = (np.zeros_like(self.flat) for _ in range(3))
        self.scratch = np.empty((2, BLOCK), np.float32)
        self.ones, self.rows = np.ones(rows, np.float32), np.arange(rows)
        self.layers, start = [], 0
        for layer in (layer for layer in model if isinstance(layer, nc.Dense)):
            out, width = layer.weight.shape
            end = start + out * width
            weight, grad_weight = (array[start:end].reshape(width, out) for array in (self.flat, self.grad))
            bias, grad_bias = (array[end : end + out] for array in (self.flat, self.grad))
            weight[...], bias[...] = layer.weight.T, layer.bias
            value, delta, slope = (np.empty((rows, out), np.float32) for _ in range(3))
            self.layers.append((weight, bias, grad_weight, grad_bias, value, delta, slope))
            start = end + out

    def forward(self, x):
        """The output before the loss."""
        for number, (weight, bias, _, _, value, _, _) in enumerate(self.layers, 1):
            np.dot(x, weight, value)
            np.add(value, bias, value)
            if number < len(self.layers):
                np.tanh(value, value) if self.tanh else np.maximum(value, ZERO, out=value)
            x = value
        return x

    def loss_and_delta(self, output, y, delta, scratch):
        """The loss, and its gradient in delta."""
        rows = len(output)
        if self.loss == "mean_squared_error":
            np.subtract(output, y, delta)
            value = float(np.vdot(delta, delta)) / delta.size
            np.multiply(delta, np.float32(2 / delta.size), delta)
            return value
        if self.loss == "sigmoid_cross_entropy":
            np.abs(output, scratch)
            np.exp(np.negative(scratch, scratch), scratch)
            value = float(np.log1p(scratch).sum() + np.maximum(output, ZERO).sum() - np.vdot(output, y))
            np.exp(np.negative(output, delta), delta)
            np.divide(ONE, np.add(delta, ONE, delta), delta)
            np.subtract(delta, y, delta)
        else:
            np.subtract(output, output.max(axis=1, keepdims=True), delta)
            value = -float(delta[self.rows, y].sum())
            np.exp(delta, delta)
            total = delta.sum(axis=1, keepdims=True)
            value += float(np.log(total).sum())
            np.divide(delta, total, delta)
            delta[self.rows, y] -= ONE
        np.multiply(delta, np.float32(1 / rows), delta)
        return value / rows

    def step(self, x, y):
        """Forward, loss, backward, Adam."""
        output = self.forward(x)
        value = self.loss_and_delta(output, y, *self.layers[-1][5:])
        for number in range(len(self.layers) - 1, -1, -1):
            weight, _, grad_weight, grad_bias, _, delta, _ = self.layers[number]
            below = self.layers[number - 1][4] if number else x
            np.dot(below.T, delta, grad_weight)
            np.dot(self.ones, delta, grad_bias)
            if number:
                back, slope = self.layers[number - 1][5:]
                np.dot(delta, weight.T, back)
                if self.tanh:
                    np.subtract(ONE, np.multiply(below, below, slope), slope)
                else:
                    np.greater(below, ZERO, slope)
                np.multiply(back, slope, back)
        self.adam()
        return value

    def adam(self):
        """One update, in place."""
        self.steps += 1
        rate = np.float32(LEARNING_RATE / (1 - BETA1**self.steps))
        correction = np.float32(1 / np.sqrt(1 - BETA2**self.steps))
        rest1, rest2, epsilon = np.float32(1 - BETA1), np.float32(1 - BETA2), np.float32(EPSILON)
        for start in range(0, self.flat.size, BLOCK):
            p, g, m, v = (array[start : start + BLOCK] for array in (self.flat, self.grad, self.m, self.v))
            change, root = self.scratch[:, : p.size]
            np.subtract(g, m, change)
            np.multiply(change, rest1, change)
            np.add(m, change, m)
            np.multiply(g, g, change)
            np.subtract(change, v, change)
            np.multiply(change, rest2, change)
            np.add(v, change, v)
            np.multiply(np.sqrt(v, root), correction, root)
            np.add(root, epsilon, root)
            np.divide(m, root, change)
            np.multiply(change, rate, change)
            np.subtract(p, change, p)


def make(name, rows):
    """The two sides of a workload, as a dict of (NumPy's call, nncore's call), checked against each other."""
    sizes, activation, loss = WORKLOADS[name]
    random = np.random.default_rng(0)
    x = random.standard_normal((rows, sizes[0])).astype(np.float32)
    if loss == "softmax_cross_entropy":
        y = random.integers(0, sizes[-1], rows)
    else:
        y = random.random((rows, sizes[-1])).astype(np.float32)
    model = nc.mlp(sizes, activation=activation, seed=0)
    peer = NumpyNet(model, activation, loss, rows)
    trainer = nc.Trainer(model, loss, nc.Adam(LEARNING_RATE, BETA1, BETA2, EPSILON))
    check(model, peer, x, y, trainer)
    out = np.empty((rows, sizes[-1]), np.float32)
    return {
        "step": (lambda: peer.step(x, y), lambda: trainer.step(x, y)),
        "predict": (lambda: peer.forward(x), lambda: model.predict(x, out)),
    }


def check(model, peer, x, y, trainer):
    """Both sides compute the same: outputs, losses and gradients of three steps, and what these change."""
    dense = [layer for layer in model if isinstance(layer, nc.Dense)]
    before = [layer.weight.copy() for layer in dense]
    same("outputs", model.predict(x), peer.forward(x), 1e-5)
    for _ in range(3):
        model.loss_and_gradients(x, y, peer.loss)
        gradients = [layer.grad_weight.copy() for layer in dense]
        same("losses", trainer.step(x, y), peer.step(x, y), 1e-5)
        for gradient, (_, _, grad_weight, *_) in zip(gradients, peer.layers, strict=True):
            same("gradients", gradient, grad_weight.T, 1e-4)
    for layer, weight, (theirs, *_) in zip(dense, before, peer.layers, strict=True):
        same("changes", layer.weight - weight, theirs.T - weight, 0.05)  # near 0 gradients differ in sign


def same(what, ours, theirs, tolerance):
    """Ends the program where two arrays differ by more than a fraction of their length."""
    difference = np.linalg.norm(np.subtract(ours, theirs)) / np.linalg.norm(theirs)
    if not difference <= tolerance:
        sys.exit(f"the two sides differ: {what} by {difference:.1e}, more than {tolerance:.0e}")


def measure(sides, rounds, seconds):
    """Median microseconds a call of each side, in alternating rounds of about `seconds` each."""
    counts = []
    for side in sides:
        begin, calls = time.perf_counter(), 0
        while time.perf_counter() - begin < seconds:
            side()
            calls += 1
        counts.append(calls)
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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
