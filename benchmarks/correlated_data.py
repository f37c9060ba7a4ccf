"""The problems of correlated_regression.py: synthetic ones, and data that scikit-learn and statsmodels ship.

`problem` gives the data of a seed: (x, y) for training and test, the function without noise on the test rows, and the
covariance of the noise.
"""

import functools
import re

import numpy as np

FIRST_TUNING_SEED = 1000
"""The seeds from here on choose settings: they get other rows."""


def synthetic(rows, outputs, share, seed):
    rng = np.random.default_rng(seed)
    hidden, readout = rng.normal(size=(10, 20)) / np.sqrt(10), rng.normal(size=(20, outputs))
    causes = rng.normal(size=(outputs, 2))
    causes /= np.linalg.norm(causes, axis=1, keepdims=True)
    covariance = (1 - share) * np.eye(outputs) + share * causes @ causes.T
    scale = np.sqrt(0.5) / (np.tanh(rng.normal(size=(5000, 10)) @ hidden * 1.5) @ readout).std(0)
    mixing = np.linalg.cholesky(covariance)
    parts = []
    for size in (rows, 2000 if seed < FIRST_TUNING_SEED else rows):
        x = rng.normal(size=(size, 10))
        clean = np.tanh(x @ hidden * 1.5) @ readout * scale
        parts.append((x, clean + rng.normal(size=clean.shape) @ mixing.T, clean))
    (x, y, _), (x_test, y_test, clean) = parts
    return {"train": (x, y), "test": (x_test, y_test), "clean": clean, "covariance": covariance}


def linnerud():
    from sklearn.datasets import load_linnerud

    return load_linnerud(return_X_y=True)


def breast_cancer():
    from sklearn.datasets import load_breast_cancer

    x, _ = load_breast_cancer(return_X_y=True)
    return x[:, :10], x[:, 20:]


def fertility():
    from statsmodels.datasets import fertility

    rates = fertility.load_pandas().data[[str(year) for year in range(1960, 2011, 5)]].dropna().to_numpy()
    return rates[:, :7], rates[:, 7:]


def macrodata():
    from statsmodels.datasets import macrodata

    table = macrodata.load_pandas().data
    growth = [np.diff(np.log(table[name])) for name in ("realgdp", "realcons", "realinv", "m1")]
    levels = [table[name].to_numpy()[1:] for name in ("infl", "tbilrate", "unemp")]
    series = np.stack([*growth, *levels], axis=1)
    return series[:-1], series[1:]


def elnino():
    from statsmodels.datasets import elnino

    months = elnino.load_pandas().data.to_numpy()[:, 1:]
    return months[:-1], months[1:]


def random_rows(rows, seed, seeds):
    return np.split(np.random.default_rng(seed).permutation(rows), [int(0.75 * rows)])


def later_rows(first, length, rows, seed, seeds):
    """A test period and all rows before it; `first` is the first row of the compared seeds' periods."""
    if seed >= FIRST_TUNING_SEED:
        start = first - length * (seed - FIRST_TUNING_SEED + 1)
        return np.arange(start), np.arange(start, start + length)
    test = np.array_split(np.arange(first, rows), seeds)[seed]
    return np.arange(test[0]), test


def real(load, split, seed, seeds):
    x, y = load()
    train, test = split(len(x), seed, seeds)
    x = (x - x[train].mean(0)) / x[train].std(0)
    y = (y - y[train].mean(0)) / y[train].std(0)
    return {"train": (x[train], y[train]), "test": (x[test], y[test]), "clean": y[test], "covariance": None}


REAL = {  # data, split, hidden units, batch
    "linnerud": (linnerud, random_rows, 8, 15),
    "breast_cancer": (breast_cancer, random_rows, 32, 100),
    "fertility": (fertility, random_rows, 32, 100),
    "macrodata": (macrodata, functools.partial(later_rows, 125, 15), 32, 64),
    "elnino": (elnino, functools.partial(later_rows, 36, 6), 8, 16),
}


def problem(name, seeds):
    """Return a function of the seed that makes the data, the number of hidden units, and the batch size."""
    if name in REAL:
        load, split, hidden, batch = REAL[name]
        return functools.partial(real, load, split, seeds=seeds), hidden, batch
    match = re.fullmatch(r"n(\d+)-d(\d+)-r(0?\.?\d+)", name)
    if match is None:
        raise SystemExit(f"PROBLEM should be nN-dD-rR or one of {', '.join(REAL)}. Received: {name}.")
    return functools.partial(synthetic, int(match[1]), int(match[2]), float(match[3])), 32, min(100, int(match[1]))
