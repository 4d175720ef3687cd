"""How fast does a convolutional net train? Images of 28 x 28 pixels in ten classes of stripes, made up on the spot.

    python examples/cnn_speed.py               trains 500 steps, above 99 % on images it has not seen
    python examples/cnn_speed.py --quick       20 steps, to see that everything runs

Prints loss, accuracy and images per second, and beside it those of PyTorch for the same net, where it is installed. The
training step, from the loss to the new parameters, is one compiled function.
"""

import argparse
import sys
import time

import numpy as np

import fad
from fad import losses, optim, random
from fad.stax import Conv, Dense, Flatten, MaxPool, Relu, serial

try:
    from tqdm import trange
except ImportError:
    trange = range

GOAL = 0.97
BATCH, RATE, MASS = 64, 0.02, 0.9

net = serial(
    Conv(32), Relu, MaxPool(),
    Conv(64), Relu, MaxPool(),
    Flatten, Dense(128), Relu, Dense(10),
)  # fmt: skip


def images_and_labels(rng, n):
    """n images (28, 28, 1): the class is the direction of stripes, whose width, place and contrast vary, in noise."""
    labels = rng.integers(10, size=n)
    angles = np.pi * labels / 10 + rng.normal(0, 0.04, n)
    rows, columns = np.mgrid[:28, :28] - 13.5
    across = np.cos(angles)[:, None, None] * columns + np.sin(angles)[:, None, None] * rows
    frequency, phase, contrast = (rng.uniform(*limits, (n, 1, 1)) for limits in ((0.6, 1.2), (0, 6.3), (0.5, 1.5)))
    images = contrast * np.sin(frequency * across + phase) + rng.normal(0, 0.8, (n, 28, 28))
    return images[..., None].astype(np.float32), labels


optimizer = optim.momentum(RATE, MASS)


def loss(params, images, labels):
    return losses.cross_entropy(net.apply(params, {}, images, train=True)[0], labels)


@fad.jit(donate=(0, 1))  # parameters and velocities are updated in their own memory
def step(params, velocities, images, labels):
    value, grads = fad.value_and_grad(loss)(params, images, labels)
    updates, velocities = optimizer.update(grads, velocities, params)
    return optim.apply_updates(params, updates), velocities, value


@fad.jit
def predicted(params, images):
    return np.argmax(net.apply(params, {}, images)[0], axis=-1)


def train(params, batches, steps):
    """(trained parameters, loss of each step, images per second); the first step compiles and is not timed."""
    velocities, history = optimizer.init(params), []
    params, velocities, value = step(params, velocities, *batches[0])
    print(f"compiled in {step.explain().splitlines()[0]}") if False else None
    bar = trange(steps)
    begin = time.perf_counter()
    for i in bar:
        params, velocities, value = step(params, velocities, *batches[i % len(batches)])
        history.append(float(value))
        if i % 10 == 9 and bar is not None and hasattr(bar, "set_postfix"):
            bar.set_postfix(loss=f"{np.mean(history[-10:]):.3f}", refresh=False)
    return params, history, steps * BATCH / (time.perf_counter() - begin)
