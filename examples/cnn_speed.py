"""How fast does a convolutional net train? Images of 28 x 28 pixels in ten classes of stripes, made up on the spot.

    python examples/cnn_speed.py               trains 500 steps, to above 99 % on images it has not seen
    python examples/cnn_speed.py --quick       20 steps, to see that everything runs

Prints loss, accuracy and images per second, and beside it those of PyTorch for the same net, where it is installed. The
training step, from the loss to the new parameters, is one compiled function.
"""

import argparse
import sys
import time
from contextlib import nullcontext

import numpy as np

import fad
from fad import losses, optim, random
from fad.stax import Conv, Dense, Flatten, MaxPool, Relu, serial

try:
    from tqdm import tqdm
except ImportError:
    tqdm = None

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


# The net, its training step, and what it reads in an image

optimizer = optim.momentum(RATE, MASS)


def loss(params, images, labels):
    return losses.cross_entropy(net.apply(params, {}, images, train=True)[0], labels)


@fad.jit(donate=(0, 1))  # new parameters and velocities take the memory of the old ones
def step(params, velocities, images, labels):
    value, grads = fad.value_and_grad(loss)(params, images, labels)
    updates, velocities = optimizer.update(grads, velocities, params)
    return optim.apply_updates(params, updates), velocities, value


@fad.jit
def logits(params, images):
    return net.apply(params, {}, images)[0]


def train(params, batches, steps):
    """(trained parameters, loss of every step, images per second)."""
    velocities = optimizer.init(params)

    def advance(images, labels):
        nonlocal params, velocities
        params, velocities, value = step(params, velocities, images, labels)
        return float(value)

    history, speed = run("fad", advance, batches, steps)
    return params, history, speed


def run(name, advance, batches, steps):
    """(loss of every step, images per second) of `advance(images, labels)`; its first call, which compiles, is not timed."""
    begin = time.perf_counter()
    history = [advance(*batches[0])]
    print(f"{name}: first step after {time.perf_counter() - begin:.2f} s")
    ready = time.perf_counter()
    with tqdm(total=steps, desc=name, unit="step", dynamic_ncols=True) if tqdm else nullcontext() as bar:
        for i in range(1, steps + 1):
            history.append(advance(*batches[i % len(batches)]))
            if bar is not None:
                bar.set_postfix(loss=f"{np.mean(history[-20:]):.3f}", refresh=False)
                bar.update()
        return history, steps * BATCH / (time.perf_counter() - ready)


# The same in PyTorch


def torch_speed(torch, batches, steps, channels_last):
    """Images per second of PyTorch's eager mode with images in this memory format."""
    nn = torch.nn
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    model = nn.Sequential(
        nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(64 * 7 * 7, 128), nn.ReLU(), nn.Linear(128, 10),
    ).to(memory_format=memory_format)  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), RATE, MASS)
    batches = [
        (torch.from_numpy(x).permute(0, 3, 1, 2).contiguous(memory_format=memory_format), torch.from_numpy(y)) for x, y in batches
    ]

    def advance(images, labels):
        optimizer.zero_grad()
        value = nn.functional.cross_entropy(model(images), labels)
        value.backward()
        optimizer.step()
        return value.item()

    time.sleep(0.3)  # until the threads that other libraries left spinning have gone to sleep
    return run("PyTorch, channels last" if channels_last else "PyTorch", advance, batches, steps)[1]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--quick", action="store_true", help="20 steps and no demand on the accuracy")
    options = parser.parse_args()
    steps = 20 if options.quick else options.steps

    rng = np.random.default_rng(0)
    batches = [images_and_labels(rng, BATCH) for _ in range(min(steps, 200))]
    unseen, labels = images_and_labels(rng, 500 if options.quick else 2000)
    params, _ = net.init(random.key(0), (-1, 28, 28, 1))

    params, history, speed = train(params, batches, steps)
    accuracy = np.mean(np.argmax(logits(params, unseen), axis=-1) == labels)
    print(f"fad: loss {history[0]:.3f} -> {np.mean(history[-10:]):.3f}, accuracy {accuracy:.1%}, {speed:,.0f} images/s")
    try:
        import torch
    except ImportError:
        print("PyTorch is not installed: no comparison")
    else:
        speeds = [torch_speed(torch, batches, min(steps, 100), channels_last) for channels_last in (False, True)]
        print(f"PyTorch {torch.__version__}: {speeds[0]:,.0f} images/s, channels last {speeds[1]:,.0f} images/s")
        print(f"fad trains {speed / max(speeds):.2f} times as fast as the better of the two")
    if accuracy < GOAL and not options.quick:
        sys.exit(f"accuracy below {GOAL:.0%}")


if __name__ == "__main__":
    main()
