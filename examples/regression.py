"""Linear and logistic regression on real measurements, and the gradient perpendicular to the level sets of the loss.

    python examples/regression.py

Linear: progress of diabetes from body mass index and a blood value (442 patients). Logistic: malignant or benign
from the size and texture of cell nuclei (569 tumours). Both descend along fad's gradient and are compared with the
exact solution, found by other means. regression.png draws the losses; exits with status 1 on any disagreement.
"""

import argparse
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import root
from scipy.special import expit
from sklearn.datasets import load_breast_cancer, load_diabetes

import fad
from fad import losses


def standardised(a):
    return (a - a.mean(axis=0)) / a.std(axis=0)


def linear_problem():
    """(loss of two weights, exact solution): columns are standardised, so that no offset is needed."""
    data = load_diabetes()
    x = standardised(data.data[:, [data.feature_names.index("bmi"), data.feature_names.index("s5")]])
    y = standardised(data.target)
    return lambda w: losses.mean_squared_error(x @ w, y), np.linalg.lstsq(x, y, rcond=None)[0]


def logistic_problem():
    """(loss of two weights, exact solution): the solution is the root of the gradient worked out by hand."""
    data = load_breast_cancer()
    names = list(data.feature_names)
    x = standardised(data.data[:, [names.index("mean radius"), names.index("mean texture")]])
    y = 1 - data.target  # 1 is malignant
    exact = root(lambda w: x.T @ (expit(x @ w) - y), np.zeros(2), tol=1e-12).x
    return lambda w: losses.binary_cross_entropy(x @ w, y), exact


def descend(loss, w, rate, steps):
    """The path of gradient descent, shape (steps + 1, 2)."""
    gradient, path = fad.grad(loss), [w]
    for _ in range(steps):
        path.append(path[-1] - rate * gradient(path[-1]))
    return np.array(path)


def along_level_set(loss, w, length=1e-4):
    """A unit vector along the level set through w, found from values of the loss alone.

    The loss on a small circle about w crosses loss(w) in two points; the chord between them has the direction.
    """

    def excess(angle):
        return loss(w + length * np.array([np.cos(angle), np.sin(angle)])) - loss(w)

    angles = np.linspace(0, 2 * np.pi, 721)
    values = np.array([excess(a) for a in angles])
    k = np.flatnonzero(values[:-1] * values[1:] <= 0)[:2]
    crossings = angles[k] - values[k] * (angles[k + 1] - angles[k]) / (values[k + 1] - values[k])
    a, b = (np.array([np.cos(c), np.sin(c)]) for c in crossings)
    return (a - b) / np.linalg.norm(a - b)


def draw(axes, title, loss, path, exact, marks):
    """Level sets, the path of descent, and at each mark the gradient with its tangent; returns the cosines."""
    axes.set(aspect="equal", xlabel="weight 1", ylabel="weight 2", title=title)
    reach = 1.6 * max(np.abs(np.vstack([path, marks]) - exact).max(axis=0))
    sides = [np.linspace(c - reach, c + reach, 60) for c in exact]
    values = [[loss(np.array([a, b])) for a in sides[0]] for b in sides[1]]
    axes.contour(*sides, values, levels=18, cmap="Greys", linewidths=0.8)
    axes.contour(*sides, values, levels=sorted(loss(w) for w in marks), colors="C0", linewidths=1.2)
    axes.plot(*path.T, ".-", color="C1", markersize=4, linewidth=1, label="gradient descent")
    axes.plot(*exact, "k*", markersize=11, label="exact solution")
    cosines = []
    for w in marks:
        gradient, tangent = fad.grad(loss)(w), along_level_set(loss, w)
        direction = gradient / np.linalg.norm(gradient)
        cosines.append(abs(direction @ tangent))
        axes.plot(*(w + 0.2 * reach * np.outer([-1, 1], tangent)).T, "--", color="C2", linewidth=1)
        axes.annotate("", w + 0.22 * reach * direction, w, arrowprops={"arrowstyle": "-|>", "color": "C3", "lw": 1.5})
    axes.plot([], [], color="C3", label="gradient")
    axes.plot([], [], "--", color="C2", label="tangent of the level set")
    axes.legend(fontsize=8, loc="lower right")
    return cosines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(), help="folder for regression.png")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    problems = {
        "linear: squared error, diabetes": (*linear_problem(), 0.2, 60, np.array([-0.5, -0.4])),
        "logistic: cross-entropy, tumours": (*logistic_problem(), 4.0, 300, np.array([-1.0, 2.5])),
    }
    figure, panels = plt.subplots(1, 2, figsize=(11, 5.2), layout="constrained")
    failures = []
    for axes, (title, (loss, exact, rate, steps, start)) in zip(panels, problems.items()):
        path = descend(loss, start, rate, steps)
        radius = 0.8 * np.linalg.norm(start - exact)
        angles = np.deg2rad([60, 150, 240, 330])
        marks = exact + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        cosines = draw(axes, title, loss, path, exact, marks)
        print(f"{title}: weights {path[-1].round(4)}, exact {exact.round(4)}, loss {loss(path[-1]):.4f}")
        print(f"  largest |cosine| between gradient and level set: {max(cosines):.1e}")
        if not np.allclose(path[-1], exact, atol=1e-6):
            failures.append(f"{title}: descent did not reach the exact solution")
        if max(cosines) > 1e-3:
            failures.append(f"{title}: the gradient is not perpendicular to the level set")
    figure.savefig(options.out / "regression.png", dpi=120)
    print(f"picture in {options.out / 'regression.png'}")
    if failures:
        sys.exit("\n".join(failures))


if __name__ == "__main__":
    main()
