"""Regression with correlated noise: CorrelatedRegressor beside its rivals, with the same number of steps.

    KERAS_BACKEND=torch python benchmarks/correlated_regression.py [PROBLEM ...] [--seeds 3] [--steps 300]
        [--learning-rates 0.01] [--l2 0.001] [--penalties 0.1] [--tune-seeds 2] [--output results.json]
    KERAS_BACKEND=jax python benchmarks/correlated_regression.py --full [--output results.json]

--full is the whole comparison, which takes hours: nine problems, 10 seeds, 3000 steps, and for each arm three learning
rates, three values of L2 and four of the penalty, chosen on 3 tuning seeds.

A problem nN-dD-rR has N training rows, 10 inputs, D outputs of a random tanh network with variance 0.5, and noise of
variance 1, whose outputs share two causes with R of the variance. Real problems ship with scikit-learn and statsmodels,
and are split anew for each seed (60 % training, 20 % validation, 20 % test):

* linnerud: 3 physiological values from 3 exercises, 20 rows;
* breast_cancer: the 10 "worst" values from the 10 means of a tumour, 569 rows;
* macrodata: growth, inflation, interest and unemployment (7 series) of a quarter from those of the quarter before, 201
  rows (rows are exchanged between the parts at random, which is easier than a forecast).

The network has one hidden layer of 32 tanh units (8 for linnerud). Each arm takes the same number of steps of Adam,
with a linear decay of the learning rate; arms in two phases share them equally. If an arm has several settings, the
validation likelihood on the tuning seeds chooses; the comparison uses other seeds. "error" is the mean squared error
against the function without noise (on real data: against the targets of the test rows), "NLL" the negative
log-likelihood of a test row in nats. Behind each stands how much CorrelatedRegressor changes it against the arm, with a
paired 95 % interval, not adjusted for their number: of the error in % (from the mean of the logarithms), of the NLL in
nats.
"""

import argparse
import functools
import itertools
import json
import re
import time
import warnings

import keras
import numpy as np
from keras import ops

from keras_entropy import CorrelatedRegressor, EntropyWarning
from keras_entropy.stats import paired_t

REFERENCE = "CorrelatedRegressor"
SMALL = ["n300-d12-r0.9", "n300-d12-r0", "linnerud", "macrodata"]
FIRST_TUNING_SEED = 1000
FULL = {
    "problems": [
        *("n100-d4-r0.9", "n300-d4-r0.9", "n300-d12-r0", "n300-d12-r0.5", "n300-d12-r0.9", "n1000-d12-r0.9"),
        *("linnerud", "breast_cancer", "macrodata"),
    ],
    "seeds": 10,
    "steps": 3000,
    "learning_rates": [0.001, 0.003, 0.01],
    "l2": [0.0003, 0.003, 0.03],
    "penalties": [0.03, 0.1, 0.3, 1.0],
    "tune_seeds": 3,
}


# Data: (x, y) for training, validation and test; the function without noise on the test rows; the true covariance


def synthetic(rows, outputs, share, seed):
    rng = np.random.default_rng(seed)
    hidden, readout = rng.normal(size=(10, 20)) / np.sqrt(10), rng.normal(size=(20, outputs))
    causes = rng.normal(size=(outputs, 2))
    causes /= np.linalg.norm(causes, axis=1, keepdims=True)
    covariance = (1 - share) * np.eye(outputs) + share * causes @ causes.T
    scale = np.sqrt(0.5) / (np.tanh(rng.normal(size=(5000, 10)) @ hidden * 1.5) @ readout).std(0)
    mixing = np.linalg.cholesky(covariance)
    parts = []
    for size in (rows, rows, 2000):
        x = rng.normal(size=(size, 10))
        clean = np.tanh(x @ hidden * 1.5) @ readout * scale
        parts.append((x, clean + rng.normal(size=clean.shape) @ mixing.T, clean))
    (x, y, _), (xv, yv, _), (xt, yt, clean) = parts
    return {"train": (x, y), "validation": (xv, yv), "test": (xt, yt), "clean": clean, "covariance": covariance}


def linnerud():
    from sklearn.datasets import load_linnerud

    return load_linnerud(return_X_y=True)


def breast_cancer():
    from sklearn.datasets import load_breast_cancer

    x, _ = load_breast_cancer(return_X_y=True)
    return x[:, :10], x[:, 20:]


def macrodata():
    from statsmodels.datasets import macrodata

    table = macrodata.load_pandas().data
    growth = [np.diff(np.log(table[name])) for name in ("realgdp", "realcons", "realinv", "m1")]
    levels = [table[name].to_numpy()[1:] for name in ("infl", "tbilrate", "unemp")]
    series = np.stack([*growth, *levels], axis=1)
    return series[:-1], series[1:]


def split(load, seed):
    x, y = load()
    order = np.random.default_rng(seed).permutation(len(x))
    train, validation, test = np.split(order, [int(0.6 * len(x)), int(0.8 * len(x))])
    x = (x - x[train].mean(0)) / x[train].std(0)
    y = (y - y[train].mean(0)) / y[train].std(0)
    parts = {"train": train, "validation": validation, "test": test}
    return {**{name: (x[rows], y[rows]) for name, rows in parts.items()}, "clean": y[test], "covariance": None}


def problem(name):
    """Return a function of the seed that makes the data, and the number of hidden units."""
    real = {"linnerud": (linnerud, 8), "breast_cancer": (breast_cancer, 32), "macrodata": (macrodata, 32)}
    if name in real:
        load, hidden = real[name]
        return functools.partial(split, load), hidden
    match = re.fullmatch(r"n(\d+)-d(\d+)-r(0?\.?\d+)", name)
    if match is None:
        raise SystemExit(f"PROBLEM should be nN-dD-rR or one of {', '.join(real)}. Received: {name}.")
    return functools.partial(synthetic, int(match[1]), int(match[2]), float(match[3])), 32


# Arms: each trains a network and returns it with the covariance that it estimates


class Likelihood(keras.Model):
    """A rival: Gaussian noise with standard deviations, or with a Cholesky factor of the covariance."""

    def __init__(self, network, outputs, correlated):
        super().__init__()
        self.network = network
        self.log_scale = self.add_weight(shape=(outputs,), initializer="zeros")
        self.below = self.add_weight(shape=(outputs, outputs), initializer="zeros") if correlated else None

    def call(self, x, training=None):
        """Predict the mean."""
        return self.network(x, training=training)

    def factor(self):
        """Return the Cholesky factor of the covariance."""
        diagonal = ops.diag(ops.exp(self.log_scale))
        return diagonal if self.below is None else diagonal + ops.tril(self.below, -1)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """Compute the negative log-likelihood without its constant, and the penalties of the network."""
        residuals = ops.transpose(ops.cast(y, y_pred.dtype) - y_pred)
        white = ops.solve_triangular(self.factor(), residuals, lower=True)
        loss = 0.5 * ops.mean(ops.sum(ops.square(white), axis=0)) + ops.sum(self.log_scale)
        return loss + sum(self.losses)


class Training:
    """Data, network and budget of a run."""

    def __init__(self, data, hidden, seed, options):
        self.x, self.y = data["train"]
        self.outputs, self.covariance = self.y.shape[1], data["covariance"]
        self.options = options
        keras.utils.set_random_seed(seed)
        l2 = keras.regularizers.L2(options["l2"])
        self.network = keras.Sequential([
            keras.Input((self.x.shape[1],)),
            keras.layers.Dense(hidden, "tanh", kernel_regularizer=l2),
            keras.layers.Dense(self.outputs, kernel_regularizer=l2),
        ])  # fmt: skip

    def fit(self, model, part=1.0, loss=None):
        """Train a model for a part of the steps."""
        steps = int(self.options["steps"] * part)
        batch = min(100, len(self.x))
        epochs = max(1, round(steps / -(-len(self.x) // batch)))
        rate = keras.optimizers.schedules.PolynomialDecay(self.options["learning_rate"], steps, 0.0)
        model.compile(keras.optimizers.Adam(rate), **({} if loss is None else {"loss": loss}))
        model.fit(self.x, self.y, batch_size=batch, epochs=epochs, verbose=0)

    def regressor(self, whitening=None, **options):
        """Return a CorrelatedRegressor around the network."""
        model = CorrelatedRegressor(self.network, self.outputs, **options)
        if whitening is not None:
            model.whitening.assign(whitening)
        return model


def half_squared_norm(y, mean):
    """The squared error in the scale of the likelihoods, so that one L2 means the same for all arms."""
    return 0.5 * ops.sum(ops.square(y - mean), axis=-1)


def squared_error(run):
    run.fit(run.network, loss=half_squared_norm)
    residuals = run.y - run.network.predict(run.x, verbose=0)
    return residuals.T @ residuals / len(residuals)


def likelihood(run, correlated):
    model = Likelihood(run.network, run.outputs, correlated)
    run.fit(model)
    factor = ops.convert_to_numpy(model.factor()).astype(float)
    return factor @ factor.T


def correlated(run, penalty=0.0):
    model = run.regressor(correlation_penalty=penalty)
    run.fit(model)
    return model.noise_covariance()


def two_phases(run, trained):
    """Half the steps with the squared error; then W starts at the residual covariance, and is trained or not."""
    run.fit(run.network, 0.5, half_squared_norm)
    model = run.regressor(warm_start=(run.x, run.y))
    model.whitening.trainable = trained
    run.fit(model, 0.5)
    return model.noise_covariance()


def oracle(run):
    model = run.regressor(np.linalg.inv(np.linalg.cholesky(run.covariance)))
    model.whitening.trainable = False
    run.fit(model)
    return run.covariance


ARMS = {
    REFERENCE: correlated,
    "with a penalty": correlated,
    "with a warm start": functools.partial(two_phases, trained=True),
    "mean squared error": squared_error,
    "diagonal likelihood": functools.partial(likelihood, correlated=False),
    "two-step GLS": functools.partial(two_phases, trained=False),
    "Cholesky likelihood": functools.partial(likelihood, correlated=True),
    "oracle covariance": oracle,
}


# Runs


def run(name, make, hidden, seed, options):
    data = make(seed)
    training = Training(data, hidden, seed, options)
    start = time.perf_counter()
    covariance = ARMS[name](training, **({"penalty": options["penalty"]} if options["penalty"] else {}))
    seconds = time.perf_counter() - start

    def nll(part):
        x, y = data[part]
        white = np.linalg.solve(np.linalg.cholesky(covariance), (y - training.network.predict(x, verbose=0)).T)
        log_det = np.linalg.slogdet(covariance)[1]
        return float(0.5 * (np.square(white).sum(0).mean() + log_det + y.shape[1] * np.log(2 * np.pi)))

    error = np.square(data["clean"] - training.network.predict(data["test"][0], verbose=0)).mean()
    return {"arm": name, "seed": seed, **options, "error": float(error), "nll": nll("test"),
            "validation": nll("validation"), "seconds": seconds}  # fmt: skip


def settings(arm, arguments):
    penalties = arguments.penalties if arm == "with a penalty" else [0.0]
    for rate, l2, penalty in itertools.product(arguments.learning_rates, arguments.l2, penalties):
        yield {"learning_rate": rate, "l2": l2, "penalty": penalty, "steps": arguments.steps}


def chosen(arm, make, hidden, arguments):
    """Return the setting of an arm with the highest validation likelihood on the tuning seeds."""
    candidates = list(settings(arm, arguments))
    if len(candidates) == 1:
        return candidates[0]
    seeds = range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + arguments.tune_seeds)
    return min(candidates, key=lambda c: np.mean([run(arm, make, hidden, s, c)["validation"] for s in seeds]))


def compare(name, arguments):
    make, hidden = problem(name)
    arms = [arm for arm in ARMS if arm != "oracle covariance" or make(0)["covariance"] is not None]
    results = {}
    print(f"\n{name}\n{'':22}{'error':>8}  {REFERENCE + ' against it':32}{'NLL':>8}  {'against it':28}{'s':>6}  chosen")
    for arm in arms:
        options = chosen(arm, make, hidden, arguments)
        results[arm] = [run(arm, make, hidden, seed, options) for seed in range(arguments.seeds)]
        print(row(arm, results[arm], results[REFERENCE]), flush=True)
    return [{"problem": name, **result} for runs in results.values() for result in runs]


def row(arm, runs, reference):
    error, nll, seconds = (np.mean([r[key] for r in runs]) for key in ("error", "nll", "seconds"))
    changes = ["", ""]
    if runs is not reference and len(runs) > 1:
        logs = [[np.log(r["error"]) for r in side] for side in (reference, runs)]
        difference = paired_t(*logs)
        values = [100 * np.expm1(v) for v in (difference.estimate, difference.low, difference.high)]
        changes[0] = "{:+.1f} % ({:+.1f} to {:+.1f})".format(*values)
        difference = paired_t(*([r["nll"] for r in side] for side in (reference, runs)))
        changes[1] = f"{difference.estimate:+.3f} ({difference.low:+.3f} to {difference.high:+.3f})"
    options = " ".join(f"{key}={runs[0][key]:g}" for key in ("learning_rate", "l2", "penalty") if runs[0][key])
    return f"{arm:22}{error:8.4f}  {changes[0]:32}{nll:8.3f}  {changes[1]:28}{seconds:6.1f}  {options}"


def numbers(text):
    return [float(number) for number in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", default=SMALL, metavar="PROBLEM")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--learning-rates", type=numbers, default=[0.01])
    parser.add_argument("--l2", type=numbers, default=[0.001])
    parser.add_argument("--penalties", type=numbers, default=[0.1])
    parser.add_argument("--tune-seeds", type=int, default=2)
    parser.add_argument("--full", action="store_true", help="the whole comparison, whatever the other options")
    parser.add_argument("--output", help="JSON file for the results")
    arguments = parser.parse_args()
    if arguments.full:
        vars(arguments).update(FULL)
    warnings.simplefilter("ignore", EntropyWarning)  # of intervals of arms that do not differ
    results = [result for name in arguments.problems for result in compare(name, arguments)]
    if arguments.output:
        with open(arguments.output, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)


if __name__ == "__main__":
    main()
