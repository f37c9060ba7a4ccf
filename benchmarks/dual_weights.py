"""Sigmoid entropy compared with cross-entropy, and two weight sets compared with one.

    python benchmarks/dual_weights.py

The first table measures the four points in which Mahi (2025) compares the method with cross-entropy. The second trains
DualDense and Dense from the same weights on the same batches of the digits (even or odd), with two optimizers, and with
regularizers on no, one or both sets. Float32 rounding is about 1e-6 here.
"""

import keras
import numpy as np

from keras_entropy import DualDense, datasets, functional

L2 = keras.regularizers.L2


def main():
    comparison()
    print(
        "\nWeights after 300 steps, largest difference of w + G from the kernel of a Dense, beside its largest weight"
    )
    for name, dual, dense in (
        ("SGD(0.1), and Dense with SGD(0.2)", {"optimizer": "SGD", "rate": 0.1}, {"optimizer": "SGD", "rate": 0.2}),
        ("SGD(0.1), and Dense with SGD(0.1)", {"optimizer": "SGD", "rate": 0.1}, {"optimizer": "SGD", "rate": 0.1}),
        ("Adam(0.001), and Dense with Adam(0.002)", {"rate": 1e-3}, {"rate": 2e-3}),
        ("Adam(0.001), and Dense with Adam(0.001)", {"rate": 1e-3}, {"rate": 1e-3}),
    ):
        a, b = trained(dual=True, steps=300, **dual), trained(dual=False, steps=300, **dense)
        print(f"  {name:42} {np.abs(a - b).max():.6f}   {np.abs(b).max():.3f}")
    print("\nRegularizers, after 20,000 full-batch steps: norm of w + G, and of the kernel of a Dense with one L2")
    print(f"  {'Dense':42} " + ", ".join(f"L2({f:g}) {norm(dual=False, w=f):.3f}" for f in (0.0, 0.002, 0.005, 0.01)))
    for w, g in ((0.0, 0.0), (0.01, 0.0), (0.0, 0.01), (0.01, 0.01), (0.01, 0.0025)):
        same = f"L2({w * g / (w + g):g}) on w + G" if w + g else "none"
        print(f"  {f'DualDense, L2({w:g}) on w, L2({g:g}) on G':42} {norm(dual=True, w=w, g=g):.3f}   as {same}")


def comparison():
    """The points of Mahi (2025) on entropy and cross-entropy."""
    x, y, w, b = *points(), np.random.default_rng(0).normal(size=64) / 8, 0.0
    z = x @ w + b
    d, tiny = 1 / (1 + np.exp(-z)), 1e-30
    h, c = -z * d * (1 - d) / np.log(2), (d - y) / np.log(2)  # dH/dz and d(cross-entropy)/dz, bits

    def turned(values, other):
        return values @ other / (np.linalg.norm(values) * np.linalg.norm(other) + tiny)

    wrong = np.random.default_rng(1).permutation(y)
    print(f"{'':52} {'H':>10} {'cross-entropy':>14}")
    rows = [
        (
            "gradient in w changes when labels are permuted by",
            0.0,
            np.abs(x.T @ (c - (d - wrong) / np.log(2))).max() / len(x),
        ),
        ("cosine of the gradient with the error D - y", turned(h, d - y), turned(c, d - y)),
        ("share of points pushed away from their label", np.mean(h * (d - y) < 0), np.mean(c * (d - y) < 0)),
    ]
    for at in (0.0, 0.5, 1.543, 4.0, 8.0):
        s = 1 / (1 + np.exp(-at))
        rows.append((f"size of the slope at z = {at:g}, label 0", at * s * (1 - s) / np.log(2), s / np.log(2)))
    for name, *values in rows:
        print(f"{name:52} " + "{:10.3f} {:14.3f}".format(*values))
    for steps in (0, 100, 1000, 5000):
        found = []
        for loss in ("entropy", "crossentropy"):
            v, e = descended(x, y, w, loss, steps)
            z = x @ v + e
            found.append((functional.sigmoid_entropy(z).mean(), np.mean((z > 0) == y)))
        said = "   ".join(f"H {entropy:.3f} bits, accuracy {accuracy:.3f}" for entropy, accuracy in found)
        print(f"after {steps:4} steps of descent on each: {said}")


def descended(x, y, w, loss, steps):
    """Full-batch gradient descent with rate 1 on one unit, in float64."""
    w, b = w.copy(), 0.0
    for _ in range(steps):
        z = x @ w + b
        d = 1 / (1 + np.exp(-z))
        slope = (-z * d * (1 - d) if loss == "entropy" else d - y) / np.log(2) / len(x)
        w, b = w - x.T @ slope, b - slope.sum()
    return w, b


def points():
    """The digits, centred, and whether they are odd."""
    data = datasets.digits()
    x = data.x_train.reshape(len(data.x_train), -1).astype("float64")
    return x - x.mean(0), data.y_train % 2


def model_of(dual, optimizer, rate, w=0.0, g=0.0):
    keras.utils.set_random_seed(0)
    terms = {"kernel_regularizer": L2(w) if w else None}
    if dual:
        layer = DualDense(1, dual_regularizer=L2(g) if g else None, use_bias=False, **terms)
    else:
        layer = keras.layers.Dense(1, "sigmoid", use_bias=False, **terms)
    model = keras.Sequential([keras.Input((64,)), layer])
    model.compile(getattr(keras.optimizers, optimizer)(rate), "binary_crossentropy")
    return model


def trained(dual, steps, optimizer="Adam", rate=1e-3):
    """The effective kernel after some steps of 64 points."""
    x, y = points()
    model = model_of(dual, optimizer, rate)
    model.fit(x[:1280], y[:1280], batch_size=64, epochs=steps // 20, shuffle=False, verbose=0)
    return sum(model.get_weights())


def norm(dual, w=0.0, g=0.0, steps=20000):
    """Of the effective kernel, by gradient descent in float64 on the mean cross-entropy in nats and the L2 terms."""
    x, y = points()
    model = model_of(dual, "SGD", 1.0, w, g)
    sets = [v.astype("float64")[:, 0] for v in model.get_weights()]
    for _ in range(steps):
        slope = x.T @ (1 / (1 + np.exp(-(x @ sum(sets)))) - y) / len(x)
        sets = [v - 0.5 * (slope + 2 * factor * v) for v, factor in zip(sets, (w, g), strict=False)]
    return np.linalg.norm(sum(sets))


if __name__ == "__main__":
    main()
