"""A convolutional net that reads handwritten digits: scikit-learn's 1797 scans of 8 x 8 pixels.

    python examples/digits.py                  trains to at least 98 % on a held-out fifth, under two minutes
    python examples/digits.py --quick          one epoch, to see that everything runs

Net and settings were chosen by cross-validation within the other four fifths.

Writes digits.png: the loss curve and the digits that the net got wrong. Exits with status 1 when a full run stays
below 98 %.
"""

import argparse
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from fad import losses, optim, random, train
from fad.stax import BatchNorm, Conv, Dense, Dropout, Flatten, MaxPool, Relu, serial

GOAL = 0.98
BATCH = 64

net = serial(
    Conv(16), BatchNorm(), Relu,
    Conv(32), BatchNorm(), Relu,
    MaxPool(), Flatten,
    Dropout(0.3), Dense(64), Relu,
    Dropout(0.3), Dense(10),
)  # fmt: skip


def load_data():
    """((images, labels) to train on, (images, labels) held out): float32 images (n, 8, 8, 1) in [0, 1]."""
    digits = load_digits()
    images = (digits.images[..., None] / 16).astype(np.float32)
    x, x_test, y, y_test = train_test_split(images, digits.target, test_size=0.2, stratify=digits.target, random_state=0)
    return (x, y), (x_test, y_test)


def with_shifts(images, labels):
    """The images and their copies moved by one pixel up, down, left and right: handwriting sits where it likes."""
    padded = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)])
    moved = [padded[:, i : i + 8, j : j + 8] for i, j in ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))]
    return np.concatenate(moved), np.tile(labels, len(moved))


def draw(result, images, labels, predicted, path):
    """The loss curve of every step and epoch on the left, the misclassified digits on the right."""
    history = result.history
    wrong = np.flatnonzero(predicted != labels)
    figure = plt.figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1.15, 1])

    axes = left.subplots()
    steps = np.arange(1, len(history["batch_loss"]) + 1)
    epoch_ends = steps[-1] / len(history["loss"]) * np.arange(1, len(history["loss"]) + 1)
    axes.semilogy(steps, history["batch_loss"], color="0.8", linewidth=0.8, label="training, each minibatch")
    axes.semilogy(epoch_ends, history["loss"], color="C0", label="training, mean of each epoch")
    axes.semilogy(epoch_ends, history["validation_loss"], color="C3", label="held-out digits")
    axes.set(xlabel="step", ylabel="cross-entropy", xlim=(0, steps[-1]))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)

    correct = len(labels) - len(wrong)
    right.suptitle(f"{correct} of {len(labels)} held-out digits read correctly; misread:")
    columns = max(4, int(np.ceil(np.sqrt(len(wrong)))))
    shown = wrong[: columns**2]
    grid = right.subplots(-(-max(len(shown), 1) // columns), columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes, i in zip(grid.flat, shown):
        axes.imshow(images[i, :, :, 0], cmap="gray_r")
        axes.set_title(f"{labels[i]} read as {predicted[i]}", fontsize=9)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="one epoch and no demand on the accuracy")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for digits.png")
    options = parser.parse_args()

    data, held_out = load_data()
    data = with_shifts(*data)
    epochs = 1 if options.quick else options.epochs
    steps = epochs * -(-len(data[0]) // BATCH)
    result = train.fit(
        net,
        losses.cross_entropy,
        optim.adam(lambda step: 1.5e-3 * (1 + np.cos(np.pi * step / steps))),  # from 0.003 down to 0
        data,
        key=random.key(options.seed),
        epochs=epochs,
        batch_size=BATCH,
        validation=held_out,
    )
    images, labels = held_out
    predicted = np.argmax(train.predict(net, result.params, result.state, images), axis=-1)
    accuracy = np.mean(predicted == labels)

    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "digits.png"
    draw(result, images, labels, predicted, path)
    print(result)
    print(f"held-out accuracy {accuracy:.2%}, picture in {path}")
    if accuracy < GOAL and not options.quick:
        sys.exit(f"below {GOAL:.0%}")


if __name__ == "__main__":
    main()
