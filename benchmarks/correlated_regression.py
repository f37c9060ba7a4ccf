"""Regression with correlated noise: CorrelatedRegressor beside its rivals, with equal numbers of steps and settings.

    KERAS_BACKEND=jax python benchmarks/correlated_regression.py [PROBLEM ...] [--seeds 3] [--tune-seeds 0]
        [--steps 300] [--output runs.jsonl]
    KERAS_BACKEND=jax python benchmarks/correlated_regression.py --full --output runs.jsonl [--csv results.csv]

--full is the whole comparison: all problems, 1500 steps, 20 seeds, and for each arm 11 settings on 3 tuning seeds. It
takes about 15 minutes of one core. The runs are appended to the file of --output; the same command resumes, and only
prints the report if all runs are there. Runs with equal shapes are trained side by side, with the `train_step` of
Keras on JAX; `Study` does not fit, because an arm has two phases, and its covariance is estimated after them.

A problem nN-dD-rR has N training rows, 10 inputs, D outputs of a random tanh network with variance 0.5, and noise of
variance 1, whose outputs share two causes with R of the variance. Each seed draws a new network, noise and data. Real
data ship with scikit-learn and statsmodels, and are standardised by their training rows:

* linnerud: 3 physiological values from 3 exercises, 20 rows;
* breast_cancer: the 10 "worst" values of a tumour from the 10 means, 569 rows;
* fertility: the birth rates of a country in 1995, 2000, 2005 and 2010 from those of 1960, 1965, ..., 1990, 193 rows;
* macrodata: growth, inflation, interest and unemployment (7 series) of a quarter from those of the quarter before, 201
  rows;
* elnino: the sea surface temperature of the 12 months of a year from that of the year before, 60 rows.

A seed splits the first three at random: 75 % training, 25 % test (which is the validation part of a tuning seed). The
last two are time series: the seeds are consecutive test periods, from quarter 125 or year 36 on, each with all rows
before it as training rows; the tuning seeds have earlier periods.

The network has one hidden layer of 32 tanh units (8 for linnerud and elnino). All arms take the same number of steps of
Adam with batches of 100 (fewer for small data), and the learning rate falls to 0; arms in two phases share the steps
equally. The tuning seeds choose among 2 learning rates times 4 values of L2; then among 3 more settings around the
best: half and twice the L2, and a lower learning rate; or, for the arm with a penalty, 3 penalties. The mean squared
error is chosen by itself, all other arms by the likelihood, on validation data with noise. The tuning seeds and the
compared ones are disjoint.

"error" is the mean squared error against the function without noise (real data: against the targets of the test rows),
"NLL" the negative log-likelihood of a test row in nats. The tables say how much an arm changes them against another,
with paired 95 % intervals: the error in % (from the mean of the logarithms), the NLL in nats. A star is p < 0.05 after
Holm's adjustment over all tests of this quantity.
"""

import argparse
import functools
import json
import warnings
from pathlib import Path

import keras
import numpy as np
from correlated_data import FIRST_TUNING_SEED, REAL, problem
from correlated_report import REFERENCE, comparisons, mean, report, write_csv
from keras import ops

from keras_entropy import CorrelatedRegressor, EntropyWarning

SMALL = ["n300-d12-r0.9", "linnerud"]
FULL = [
    *("n300-d12-r0.9", "n300-d12-r0", "n300-d12-r0.5", "n300-d4-r0.9", "n300-d4-r0", "n300-d4-r0.5"),
    *("linnerud", "breast_cancer", "fertility", "macrodata", "elnino"),
    *("n100-d12-r0.9", "n100-d12-r0", "n1000-d12-r0.9", "n1000-d12-r0", "n100-d4-r0.9", "n1000-d4-r0.9"),
    *("n100-d4-r0", "n1000-d4-r0", "n100-d12-r0.5", "n1000-d12-r0.5", "n100-d4-r0.5", "n1000-d4-r0.5"),
]
LEARNING_RATES = (0.003, 0.03)
L2 = {"synthetic": (0.01, 0.03, 0.1, 0.3), "real": (0.001, 0.01, 0.1, 1.0)}
L2_FACTOR = {"synthetic": 2, "real": 3}  # to refine the best of them
PENALTIES = (0.1, 0.3, 1.0)


# Models


class Likelihood(keras.Model):
    """A rival: Gaussian noise with standard deviations, or with a Cholesky factor of the covariance."""

    def __init__(self, model, outputs, correlated):
        super().__init__()
        self.model = model
        self.log_scale = self.add_weight(shape=(outputs,), initializer="zeros")
        self.below = self.add_weight(shape=(outputs, outputs), initializer="zeros") if correlated else None

    def call(self, x, training=None):
        """Predict the mean."""
        return self.model(x, training=training)

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

    def noise_covariance(self):
        """Compute the covariance of the noise."""
        factor = ops.convert_to_numpy(self.factor()).astype(float)
        return factor @ factor.T


def network(inputs, hidden, outputs):
    """A network whose L2 is a variable, so that runs with different values can be trained side by side."""
    strength = keras.Variable(0.0, trainable=False, name="l2")
    layers = [keras.layers.Dense(hidden, "tanh"), keras.layers.Dense(outputs)]
    for layer in layers:
        layer.kernel_regularizer = lambda kernel: strength * ops.sum(ops.square(kernel))
    model = keras.Sequential([keras.Input((inputs,)), *layers])
    model.l2 = strength
    return model


@functools.cache
def compiled(kind, shape, penalty):
    """A compiled model of a kind, and its first weights."""
    inner = network(*shape)
    if kind in ("diagonal", "Cholesky"):
        model = Likelihood(inner, shape[-1], kind == "Cholesky")
        model.build((None, shape[0]))
    else:
        model = CorrelatedRegressor(inner, shape[-1], correlation_penalty=penalty)
        model.whitening.trainable = kind == "learned"
    model.compile(keras.optimizers.Adam())
    model.optimizer.build(model.trainable_variables)
    return model, model.get_weights()


@functools.cache
def training(kind, shape, penalty):
    """Return a function that takes the steps of several runs side by side, each that of `fit` on JAX."""
    import jax

    model, _ = compiled(kind, shape, penalty)
    rate = [variable.name for variable in model.optimizer.variables].index("learning_rate")

    def train(state, x, y, rows, rates):
        def step(state, now):
            rows, state[2][rate] = now
            _, state = model.train_step(state, (x[rows], y[rows]))
            return [list(variables) for variables in state], None

        return jax.lax.scan(step, state, (rows, rates))[0]

    return jax.jit(jax.vmap(train))


class Run:
    """Data, settings and weights of a run."""

    def __init__(self, data, hidden, batch, seed, options):
        self.data, self.options = data, options
        self.x, self.y = (part.astype("float32") for part in data["train"])
        self.shape = self.x.shape[1], hidden, self.y.shape[1]
        rng = np.random.default_rng(seed)
        passes = [rng.permutation(len(self.x)) for _ in range(-(-batch * options["steps"] // len(self.x)))]
        self.rows = np.concatenate(passes)[: batch * options["steps"]].reshape(options["steps"], batch)
        keras.utils.set_random_seed(seed)
        self.weights = [ops.convert_to_numpy(v) for v in network(*self.shape).trainable_variables]

    def predict(self, x):
        """Compute the mean in float64."""
        hidden, first, readout, second = (weight.astype(float) for weight in self.weights)
        return np.tanh(x @ hidden + first) @ readout + second


def train(kind, runs, part=1.0, starts=None, penalty=0.0):
    """Train from the weights of the runs for a part of the steps, and return the covariances of the noise."""
    shape, steps = runs[0].shape, int(part * len(runs[0].rows))
    model, first = compiled(kind, shape, penalty)
    groups = [model.trainable_variables, model.non_trainable_variables]
    groups += [model.optimizer.variables, model.metrics_variables]
    states = []
    for run, start in zip(runs, starts or [{}] * len(runs), strict=True):
        model.set_weights(first)
        model.model.l2.assign(run.options["l2"])
        for variable, value in zip(model.model.trainable_variables, run.weights, strict=True):
            variable.assign(value)
        for name, value in start.items():
            getattr(model, name).assign(value)
        states.append([[np.array(ops.convert_to_numpy(v)) for v in group] for group in groups])
    state = [[np.stack(values) for values in zip(*group, strict=True)] for group in zip(*states, strict=True)]
    state[2] = [np.zeros_like(values) for values in state[2]]
    longest = max(len(run.x) for run in runs)
    x, y = (np.stack([np.resize(part, (longest, part.shape[1])) for part in parts])
            for parts in ([run.x for run in runs], [run.y for run in runs]))  # fmt: skip
    rates = np.stack([run.options["learning_rate"] * np.linspace(1, 0, steps, endpoint=False) for run in runs])
    rows = np.stack([run.rows[:steps] for run in runs])
    state = training(kind, shape, penalty)(state, x, y, rows, rates.astype("float32"))
    covariances = []
    for i, run in enumerate(runs):
        for variables, values in zip(groups, state, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value[i])
        run.weights = [ops.convert_to_numpy(v) for v in model.model.trainable_variables]
        covariances.append(model.noise_covariance())
    return covariances


# Arms: each trains runs and returns the covariances that it estimates


def squared_error(runs):
    """CorrelatedRegressor with W = 1: half the squared error, so that one L2 means the same for all arms."""
    train("fixed", runs)
    residuals = [run.y - run.predict(run.x) for run in runs]
    return [r.T @ r / len(r) for r in residuals]


def two_phases(runs, kind):
    """Half the steps with the squared error; then W starts at the residual covariance, and is trained or not."""
    train("fixed", runs, 0.5)
    starts = []
    inner, _ = compiled("fixed", runs[0].shape, 0.0)
    for run in runs:
        for variable, value in zip(inner.model.trainable_variables, run.weights, strict=True):
            variable.assign(value)
        start = CorrelatedRegressor(inner.model, run.shape[-1], warm_start=(run.x, run.y))
        starts.append({name: ops.convert_to_numpy(getattr(start, name)) for name in ("scale", "whitening")})
    return train(kind, runs, 0.5, starts)


def oracle(runs):
    covariances = [run.data["covariance"] for run in runs]
    train("fixed", runs, starts=[{"whitening": np.linalg.inv(np.linalg.cholesky(c))} for c in covariances])
    return covariances


ARMS = {
    REFERENCE: functools.partial(train, "learned"),
    "with a penalty": functools.partial(train, "learned"),
    "with a warm start": functools.partial(two_phases, kind="learned"),
    "mean squared error": squared_error,
    "diagonal likelihood": functools.partial(train, "diagonal"),
    "two-step GLS": functools.partial(two_phases, kind="fixed"),
    "Cholesky likelihood": functools.partial(train, "Cholesky"),
    "oracle covariance": oracle,
}


# Runs


def measured(run, covariance):
    """The errors and the likelihood on the test rows."""
    x, y = run.data["test"]
    mean = run.predict(x)
    with np.errstate(all="ignore"):
        sign, log_det = np.linalg.slogdet(covariance)
        squares = ((y - mean) * np.linalg.solve(covariance, (y - mean).T).T).sum(1).mean() if sign > 0 else np.inf
    nll = 0.5 * (squares + log_det + y.shape[1] * np.log(2 * np.pi))
    errors = {"error": run.data["clean"] - mean, "noisy": y - mean}
    return {**{name: float(np.square(error).mean()) for name, error in errors.items()}, "nll": float(nll)}


class Runs:
    """The runs of a file of JSON lines; a run that is in the file is not trained again."""

    def __init__(self, path):
        self.path, self.found = path, {}
        if path and path.exists():
            records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            self.found = {self.key(record): record for record in records}

    def key(self, record):
        """What tells a run from others."""
        return tuple(record[k] for k in ("problem", "arm", "seed", "learning_rate", "l2", "penalty", "steps"))

    def __call__(self, problem_name, arm, settings, seeds, of_all_seeds):
        """Return the runs of an arm, a list for each setting, and train those that are missing side by side."""
        make, hidden, batch = problem(problem_name, of_all_seeds)
        rows = [[{"problem": problem_name, "arm": arm, "seed": s, **options} for s in seeds] for options in settings]
        for row in rows:  # without a penalty, the arm with one is the reference
            for record in row:
                record["arm"] = arm if record["penalty"] or arm != "with a penalty" else REFERENCE
        missing = [record for row in rows for record in row if self.key(record) not in self.found]
        for penalty in dict.fromkeys(record["penalty"] for record in missing):
            records = [record for record in missing if record["penalty"] == penalty]
            runs = [Run(make(r["seed"]), hidden, batch, r["seed"], r) for r in records]
            covariances = ARMS[arm](runs, **({"penalty": penalty} if penalty else {}))
            for record, run, covariance in zip(records, runs, covariances, strict=True):
                self.add({**record, **measured(run, covariance)})
        return [[self.found[self.key(record)] for record in row] for row in rows]

    def add(self, record):
        """Keep a run, and append it to the file."""
        self.found[self.key(record)] = record
        if self.path:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")


def setting(learning_rate, l2, steps, penalty=0.0):
    return {"learning_rate": learning_rate, "l2": l2, "penalty": penalty, "steps": steps}


def chosen(arm, kind, train, arguments):
    """Return the setting of an arm that is best on the tuning seeds; `kind` is "synthetic" or "real"."""
    if not arguments.tune_seeds:
        return setting(0.01, 0.01, arguments.steps, 0.1 if arm == "with a penalty" else 0.0)
    seeds = range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + arguments.tune_seeds)
    criterion = "noisy" if arm == "mean squared error" else "nll"

    def best(settings):
        scores = [mean(runs, criterion) for runs in train(settings=settings, seeds=seeds)]
        return settings[int(np.argmin([score if np.isfinite(score) else np.inf for score in scores]))]

    first = best([setting(rate, l2, arguments.steps) for rate in LEARNING_RATES for l2 in L2[kind]])
    if arm == "with a penalty":
        more = [{**first, "penalty": penalty} for penalty in PENALTIES]
    else:
        more = [{**first, "l2": l2} for l2 in (first["l2"] / L2_FACTOR[kind], first["l2"] * L2_FACTOR[kind])]
        more.append({**first, "learning_rate": first["learning_rate"] / 3})
    return best([first, *more])


def compare(name, arguments, runs):
    """Return the runs of each arm on the compared seeds."""
    results = {}
    for arm in [arm for arm in ARMS if arm != "oracle covariance" or name not in REAL]:
        train = functools.partial(runs, name, arm, of_all_seeds=arguments.seeds)
        options = chosen(arm, "real" if name in REAL else "synthetic", train, arguments)
        (results[arm],) = train(settings=[options], seeds=range(arguments.seeds))
        print(f"{name:16} {arm:22} {mean(results[arm], 'error'):.4f} {mean(results[arm], 'nll'):.3f}", flush=True)
    return results


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", metavar="PROBLEM")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--tune-seeds", type=int, default=0)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--full", action="store_true", help="1500 steps, 20 seeds, 3 tuning seeds, all problems")
    parser.add_argument("--output", type=Path, help="file of JSON lines for the runs")
    parser.add_argument("--csv", type=Path, help="file for the table")
    arguments = parser.parse_args()
    if keras.backend.backend() != "jax":
        parser.error(f"the runs are trained side by side by JAX: set KERAS_BACKEND=jax, not {keras.backend.backend()}")
    if arguments.full:
        vars(arguments).update(seeds=20, tune_seeds=3, steps=1500)
    runs = Runs(arguments.output)
    names = arguments.problems or (FULL if arguments.full else SMALL)
    results = {name: compare(name, arguments, runs) for name in names}
    warnings.simplefilter("ignore", EntropyWarning)  # of intervals of runs that do not differ
    rows = comparisons(results)
    report(results, rows)
    if arguments.csv:
        write_csv(arguments.csv, rows)


if __name__ == "__main__":
    main()
