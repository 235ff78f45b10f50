"""JAX: a jitted step, and a whole epoch in one jitted scan."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nncore._cli import workloads
from nncore._cli.numpy_net import BETA1, BETA2, EPSILON
from nncore._cli.workloads import Workload

from ..hidden import RATE, VARIANCE_EPSILON
from ..job import Job, Peer, batches, check_training, repeated, sample, versions

ACTIVATIONS = {
    "relu": lambda z: jnp.maximum(z, 0),
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "leaky_relu": jax.nn.leaky_relu,
    "gelu": partial(jax.nn.gelu, approximate=False),
    "silu": jax.nn.silu,
    "identity": lambda z: z,
}
LOSSES = {
    "mean_squared_error": lambda output, y: jnp.mean((output - y) ** 2),
    "half_squared_error": lambda output, y: jnp.sum((output - y) ** 2) / (2 * len(output)),
    "sigmoid_cross_entropy": lambda z, y: jnp.mean(jnp.logaddexp(0, z) - z * y),
    "softmax_cross_entropy": lambda z, y: jnp.mean(
        jax.nn.logsumexp(z, axis=1) - jnp.take_along_axis(z, y[:, None], axis=1)[:, 0]
    ),
}


def initial_parameters(workload: Workload) -> list[tuple[Any, Any]]:
    """(weight, bias) of every layer, as copies, because steps donate them."""
    pairs = zip(*workloads.initial_parameters(workload), strict=True)
    return [(jnp.array(weight), jnp.array(bias)) for weight, bias in pairs]


def forward(workload: Workload, parameters: Any, x: Any) -> Any:
    """The outputs."""
    for weight, bias in parameters[:-1]:
        x = ACTIVATIONS[workload.activation](x @ weight + bias)
    weight, bias = parameters[-1]
    return ACTIVATIONS[workload.output](x @ weight + bias)


def first_state(workload: Workload, parameters: Any) -> Any:
    """The initial state: the parameters, and for Adam also both moments and the number of steps."""
    if workload.optimizer == "sgd":
        return (parameters,)
    zeros = partial(jax.tree.map, jnp.zeros_like)
    return (parameters, zeros(parameters), zeros(parameters), jnp.zeros((), jnp.float32))


def updated(workload: Workload, state: Any, gradients: Any) -> Any:
    """The state after a step."""
    if workload.optimizer == "sgd":
        return (jax.tree.map(lambda p, g: p - workload.learning_rate * g, state[0], gradients),)
    parameters, m, v, t = state
    t += 1
    rate, correction = workload.learning_rate / (1 - BETA1**t), 1 / jnp.sqrt(1 - BETA2**t)
    m = jax.tree.map(lambda m, g: m + (1 - BETA1) * (g - m), m, gradients)
    v = jax.tree.map(lambda v, g: v + (1 - BETA2) * (g * g - v), v, gradients)
    parameters = jax.tree.map(
        lambda p, m, v: p - rate * m / (jnp.sqrt(v) * correction + EPSILON), parameters, m, v
    )
    return (parameters, m, v, t)


def make_step(workload: Workload) -> tuple[Any, Any]:
    """The function (state, x, y) -> (state, loss), and the initial state."""
    loss = LOSSES[workload.loss]

    def objective(parameters: Any, x: Any, y: Any) -> Any:
        return loss(forward(workload, parameters, x), y)

    def step(state: Any, x: Any, y: Any) -> Any:
        value, gradients = jax.value_and_grad(objective)(state[0], x, y)
        return updated(workload, state, gradients), value

    return step, first_state(workload, initial_parameters(workload))


def dropped(values: Any, key: Any) -> Any:
    """The values after dropout."""
    return jnp.where(jax.random.bernoulli(key, 1 - RATE, values.shape), values / (1 - RATE), 0)


def normalized(z: Any, parameters: Any, statistics: Any) -> Any:
    """The values after batch normalization, and the updated running statistics."""
    (scale, shift), (mean, variance), rows = parameters, (z.mean(0), z.var(0)), len(z)
    result = (z - mean) * jax.lax.rsqrt(variance + VARIANCE_EPSILON) * scale + shift
    unbiased = variance * rows / (rows - 1)
    return result, (0.9 * statistics[0] + 0.1 * mean, 0.9 * statistics[1] + 0.1 * unbiased)


class Training:
    """A state that jitted functions consume and replace."""

    def __init__(self, workload: Workload) -> None:
        self.workload = workload
        self.function, self.state = make_step(workload)
        self.jitted = jax.jit(self.function, donate_argnums=0)
        self.random = np.random.default_rng(0)
        self.loop = jax.jit(self.scan, donate_argnums=0)

    def scan(self, state: Any, x: Any, y: Any, order: Any) -> Any:
        """Makes one step for each batch of rows in `order` (batches, rows)."""

        def body(state: Any, rows: Any) -> Any:
            return self.function(state, jnp.take(x, rows, axis=0), jnp.take(y, rows, axis=0))

        # Gains 20 % if a step takes a few microseconds, and nothing otherwise.
        unroll = 4 if self.workload.step_flops < 1_000_000 else 1
        state, losses = jax.lax.scan(body, state, order, unroll=unroll)
        return state, jnp.mean(losses)

    def step(self, x: Any, y: Any) -> Any:
        """Makes one step."""
        self.state, loss = self.jitted(self.state, x, y)
        return loss

    def epoch(self, x: Any, y: Any) -> Any:
        """Makes all steps of an epoch in one call."""
        order = self.random.permutation(len(x)).astype(np.int32).reshape(-1, self.workload.batch)
        self.state, loss = self.loop(self.state, x, y, order)
        return loss

    def weights(self) -> list[Any]:
        """The weights, (I, O) each."""
        return [weight for weight, _ in self.state[0]]

    def finish(self) -> None:
        """Waits for the last step."""
        jax.block_until_ready(self.state)


def arrays(workload: Workload, rows: int) -> tuple[Any, Any]:
    """The data as JAX arrays."""
    x, y = workloads.data(workload, rows)
    return jnp.asarray(x), jnp.asarray(y.astype(np.int32) if y.ndim == 1 else y)


def epoch(workload: Workload) -> Job:
    """An epoch in one jitted scan."""
    x, y = arrays(workload, workload.batch * workload.batches)
    training = Training(workload)
    found = check_training((training.step(*batch) for batch in batches(workload, x, y)), training.weights)
    run = partial(training.epoch, x, y)
    found["epoch loss"] = [float(run())]
    return Job(run, workload.batches, finish=training.finish, check=found)


def step(workload: Workload) -> Job:
    """A jitted step."""
    x, y = arrays(workload, workload.batch)
    training = Training(workload)
    found = check_training((training.step(x, y) for _ in range(3)), training.weights)
    return Job(partial(training.step, x, y), finish=training.finish, check=found)


def layers(workload: Workload, hidden: str) -> Job:
    """A jitted step with other hidden layers."""
    x, y = arrays(workload, workload.batch)
    loss, activation = LOSSES[workload.loss], ACTIVATIONS.get(hidden, ACTIVATIONS["relu"])

    def objective(parameters: Any, extra: Any, key: Any) -> Any:
        output, found = x, []
        *hidden_layers, (last, last_bias) = parameters["dense"]
        for number, (weight, bias) in enumerate(hidden_layers):
            z = output @ weight + bias
            if hidden == "batch_norm":
                z, moved = normalized(z, parameters["scale"][number], extra[number])
                found.append(moved)
            output = activation(z)
            if hidden == "dropout":
                output = dropped(output, jax.random.fold_in(key, number))
        return loss(output @ last + last_bias, y), found

    def step(state: Any, extra: Any, key: Any) -> Any:
        key, now = jax.random.split(key)
        (value, extra), gradients = jax.value_and_grad(objective, has_aux=True)(state[0], extra, now)
        return updated(workload, state, gradients), extra, key, value

    jitted = jax.jit(step, donate_argnums=(0, 1))
    widths = workload.sizes[1:-1]
    parameters = {
        "dense": initial_parameters(workload),
        "scale": [(jnp.ones(n), jnp.zeros(n)) for n in widths if hidden == "batch_norm"],
    }
    extra = [(jnp.zeros(n), jnp.ones(n)) for n in widths if hidden == "batch_norm"]
    now = [first_state(workload, parameters), extra, jax.random.key(0, impl="unsafe_rbg")]  # the fastest

    def run() -> Any:
        *now[:], value = jitted(*now)
        return value

    first = float(run())
    return Job(
        run,
        finish=lambda: jax.block_until_ready(now[0]),
        check={} if hidden == "dropout" else {"losses": [first]},
    )


def predict(workload: Workload, rows: int) -> Job:
    """A jitted forward pass, from a JAX array until the result is ready."""
    x, _ = arrays(workload, rows)
    function = jax.jit(partial(forward, workload))
    parameters = initial_parameters(workload)

    def run() -> Any:
        return function(parameters, x).block_until_ready()

    return Job(run, check={"outputs": sample(run())})


def peer(variant: str, threads: int) -> Peer:
    """JAX. XLA_FLAGS sets its number of threads."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update(
        "jax_cpu_enable_async_dispatch", False
    )  # synchronous: small calls are up to three times as fast
    return Peer(
        versions("jax", "jaxlib"),
        {"epoch": epoch, "fit": partial(repeated, epoch), "step": step, "layers": layers, "predict": predict},
    )
