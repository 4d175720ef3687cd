"""Forward against reverse mode: what each costs for functions of different shapes, measured and drawn.

python examples/modes.py --out .
"""

import argparse
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import fad


def curve(t):
    """One number to 300 points of a spiral."""
    s = np.linspace(0.0, 10.0, 100)
    return np.concatenate([t * s * np.cos(s * t), t * s * np.sin(s * t), np.exp(-s * t)])


def energy(x):
    """300 coordinates to the energy of a chain of springs."""
    stretch = np.diff(x.reshape(100, 3), axis=0)
    return np.sum((np.sqrt(np.sum(stretch**2, axis=1)) - 1.0) ** 2)


def field(x):
    """60 numbers to 60 numbers."""
    return np.tanh(x[:, None] * x[None, :]).sum(axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("."), help="folder for modes.png")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    cases = [(curve, 0.7), (field, rng.normal(size=60)), (energy, rng.normal(size=300))]
    figure, grid = plt.subplots(len(cases), 2, figsize=(11, 4.0 * len(cases)), layout="constrained")
    for (f, x), axes in zip(cases, grid, strict=True):
        report = fad.compare_modes(f, x)
        print(report, end="\n\n")
        report.plot(axes)
        axes[0].set_title(f"{f.__name__}: {report.why}", fontsize=9)
        assert report.agree
    figure.savefig(out / "modes.png", dpi=110)
    print(f"wrote {out / 'modes.png'}")


if __name__ == "__main__":
    main()
