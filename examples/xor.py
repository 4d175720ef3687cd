"""Exclusive or: the smallest function that no linear model computes, learned by a net with one hidden layer.

    python examples/xor.py

Prints the table that the net has learned and draws what it does between the four points (xor.png). The training
loop is written out: a step is three lines.
"""

import argparse
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import fad
from fad import losses, nn, optim, random
from fad.stax import Dense, Tanh, serial

inputs = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
targets = np.array([[0], [1], [1], [0]], np.float32)

init_fun, net = serial(Dense(8), Tanh, Dense(1))


def loss(params):
    return losses.binary_cross_entropy(net(params, inputs), targets)


def learn(steps=300):
    """The trained parameters and the loss before every step."""
    _, params = init_fun(random.key(0), inputs.shape)
    optimizer = optim.adam(0.05)
    state, history = optimizer.init(params), []
    for _ in range(steps):
        value, grads = fad.value_and_grad(loss)(params)
        updates, state = optimizer.update(grads, state, params)
        params = optim.apply_updates(params, updates)
        history.append(value)
    return params, history


def draw(params, history, path):
    """The probability of 1 over the plane on the left, the loss on the right."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    side = np.linspace(-0.5, 1.5, 200, dtype=np.float32)
    plane = np.stack(np.meshgrid(side, side), axis=-1)
    probability = nn.sigmoid(net(params, plane))[..., 0]
    filled = left.contourf(side, side, probability, levels=np.linspace(0, 1, 21), cmap="RdBu_r")
    left.contour(side, side, probability, levels=[0.5], colors="k")
    left.scatter(*inputs.T, c=targets[:, 0], cmap="RdBu_r", edgecolors="k", s=120, zorder=2)
    left.set(aspect="equal", xlabel="a", ylabel="b", title="probability of a xor b")
    figure.colorbar(filled, ax=left, ticks=[0, 0.5, 1])
    right.semilogy(history)
    right.set(xlabel="step", ylabel="cross-entropy")
    right.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(), help="folder for xor.png")
    options = parser.parse_args()

    params, history = learn()
    probabilities = nn.sigmoid(net(params, inputs))
    for (a, b), p in zip(inputs, probabilities[:, 0]):
        print(f"{a:.0f} xor {b:.0f}: {p:.3f}")
    options.out.mkdir(parents=True, exist_ok=True)
    draw(params, history, options.out / "xor.png")
    print(f"loss {history[0]:.3f} -> {history[-1]:.4f}, picture in {options.out / 'xor.png'}")
    if not np.array_equal(probabilities > 0.5, targets > 0.5):
        sys.exit("the net did not learn exclusive or")


if __name__ == "__main__":
    main()
