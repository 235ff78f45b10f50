"""Balances a pole on a cart by deep double Q-learning, with the physics written inline.

Shows the pieces for reinforcement learning: a custom gradient through forward and backward, an optimizer
step, and a target network (soft_update). The reward is -1 for a fall. Eight carts start anywhere and explore,
because the replay memory needs states near the ends of the track. Eight start near the middle and follow the
network; the program prints how many of 500 steps their last attempts lasted. `--seed 3` changes the seed."""

import sys

import numpy as np
from matplotlib.figure import Figure

import nncore as nc

CARTS, BATCH, EXPLORES = 16, 512, np.arange(16) < 8
SCALE, WIDTH = np.array([2.4, 3.0, 0.21, 3.0]), np.where(EXPLORES, 1, 0.05)[:, None]


def move(state: np.ndarray, action: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pushes carts left (0) or right (1) for 20 ms. Returns the new states and which carts failed."""
    _, speed, angle, spin = (state * SCALE).T
    push = (np.where(action == 1, 10.0, -10.0) + 0.05 * spin**2 * np.sin(angle)) / 1.1
    turn = (9.8 * np.sin(angle) - np.cos(angle) * push) / (0.5 * (4 / 3 - 0.1 * np.cos(angle) ** 2 / 1.1))
    state = state + 0.02 * np.array([speed, push - 0.05 * turn * np.cos(angle) / 1.1, spin, turn]).T / SCALE
    return state, (abs(state[:, 0]) > 1) | (abs(state[:, 2]) > 1)


def learn(steps: int, seed: int) -> list[int]:
    """Trains a Q-network; explorers reverse 1 action in 20. Returns the lengths of other carts' attempts."""
    model, optimizer, rng = nc.mlp([4, 64, 64, 2], seed=seed), nc.Adam(), np.random.default_rng(seed)
    target, memory, batch = model.copy(), np.empty((steps * CARTS, 10), "f4"), np.arange(BATCH)
    state, age, lasted = rng.uniform(-WIDTH, WIDTH, (CARTS, 4)), np.zeros(CARTS, int), []
    for step in range(steps):
        optimizer.learning_rate = 1e-3 * (1 - step / steps)
        action = model.predict(state).argmax(axis=1) ^ (EXPLORES & (rng.random(CARTS) < 0.05))
        after, fell = move(state, action)
        memory[step * CARTS : (step + 1) * CARTS] = np.column_stack([state, after, action, fell])
        age += 1
        over = fell | (age == 500)
        lasted += age[over & ~EXPLORES].tolist()
        age[over], after[over] = 0, rng.uniform(-WIDTH, WIDTH, (CARTS, 4))[over]
        state, rows = after, memory[rng.integers((step + 1) * CARTS, size=BATCH)]
        action, fell = rows[:, 8].astype(int), rows[:, 9]
        best = target.predict(rows[:, 4:8])[batch, model.predict(rows[:, 4:8]).argmax(axis=1)]
        q, gradient = model.forward(rows[:, :4]), np.zeros((BATCH, 2), "f4")
        gradient[batch, action] = (q[batch, action] - np.where(fell, -1, 0.99 * best)) / BATCH
        model.backward(gradient)
        optimizer.step(model)
        target.soft_update(model, 0.05)
    return lasted


if __name__ == "__main__":
    seed = int(sys.argv[sys.argv.index("--seed") + 1]) if "--seed" in sys.argv else 0
    lasted = learn(8000, seed)
    figure = Figure(figsize=(6, 4), layout="constrained")
    figure.add_subplot(xlabel="attempt", ylabel="steps until it ended").plot(lasted, ".")
    figure.savefig("cartpole_dqn.png", dpi=120)
    print(f"mean steps of the last 20 attempts: {np.mean(lasted[-20:]):.1f}; picture: cartpole_dqn.png")
