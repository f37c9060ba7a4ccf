"""How often `search` calls a term better that is not, and how often it finds one that is.

    python benchmarks/search_calibration.py [--searches 2000] [--real 20]

1. Simulated searches, through the functions that choose and conclude in `search`: 12 trials of 2 seeds for the term and
   for the baseline, and 5 held-out seeds. The metric is a parabola in the logarithm of the learning rate, plus noise
   of one standard deviation for each run and one for each seed. Its steepness is the metric at the ends of the range,
   in standard deviations. "as a learning rate": the term acts only as another learning rate would, so it should be
   called better in at most 5 % of the searches. "effect 1": the term improves the metric by one standard deviation.
2. Real searches on the digits, in which the term is a placebo: a constant, without gradient.
"""

import argparse
import tempfile
import warnings

import numpy as np

from keras_entropy import EntropyWarning, datasets, models
from keras_entropy.stats import holm_adjusted, paired_t
from keras_entropy.study import Constant
from keras_entropy.tuning import Duel, EntropyHyperModel, luck, search

TRIALS, SEEDS, HOLDOUT = 12, 2, 5
BEST = 0.7
"""Logarithm to base 2 of the best multiplier of the learning rate, in a range of -3 to 3."""


def simulate(searches, steepness, effect=0.0, *, as_rate=False, seed=0):
    """Return how often the term is called better and worse, and how often by the held-out seeds alone."""
    generator = np.random.default_rng(seed)
    found = {"better": 0, "worse": 0, "held-out seeds alone": 0}
    for _ in range(searches):
        rates = generator.uniform(-3, 3, (2, TRIALS))
        factors = generator.random(TRIALS)
        acting = rates[0] + 2 * (factors - 0.3) if as_rate else rates[0]
        means = steepness * ((np.stack([acting, rates[1]]) - BEST) / 3) ** 2 - np.array([[effect], [0.0]])

        def run(values, generator=generator):
            """Runs of both contenders on one seed."""
            return values + generator.normal() + generator.normal(size=np.shape(values))

        scores = np.mean([run(means) for _ in range(SEEDS)], axis=0)
        chosen = means[[0, 1], scores.argmin(axis=1)]
        term, baseline = np.transpose([run(chosen) for _ in range(HOLDOUT)])
        # A control that is as the baseline: Holm's adjustment is over two tests, as in the default search.
        control = np.transpose([run(chosen) for _ in range(HOLDOUT)])[1]
        difference = holm_adjusted([paired_t(term, baseline), paired_t(term, control)])[0]
        chance = None
        if difference.shown:
            pair = [scores[0], scores[1]] if difference.shown < 0 else [scores[1], scores[0]]
            chance = luck(*pair, lower_is_better=True)
        duel = Duel(rival="baseline", difference=difference, luck=chance, random=True, lower_is_better=True)
        found["better"] += duel.conclusion == "better"
        found["worse"] += duel.conclusion == "worse"
        found["held-out seeds alone"] += difference.shown < 0
    return {name: count / searches for name, count in found.items()}


def build():
    model = models.autoencoder((8, 8, 1), width=10)
    model.compile("adam", "mse")
    return model


def placebos(searches):
    """Return the conclusions of real searches."""
    x, _, x_val, _ = datasets.digits()
    conclusions = []
    for number in range(searches):
        with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(action="ignore", category=EntropyWarning):
            result = search(
                EntropyHyperModel(build, Constant, ["all"]),
                (x[:500], x[:500], x_val, x_val),
                max_trials=8,
                epochs=3,
                seeds=1,
                holdout_seeds=5,
                controls=(),
                seed=10_000 * number,
                output=f"{folder}/search",
                progress=False,
            )
        conclusions.append(result.conclusion)
        print(f"placebo {number + 1}: {result.duels[0].sentence('placebo', 'the tuned baseline')}", flush=True)
    return conclusions


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--searches", type=int, default=2000)
    parser.add_argument("--real", type=int, default=20)
    arguments = parser.parse_args()
    print(f"{'':30}{'better':>10}{'worse':>10}{'held-out seeds alone':>24}")
    for steepness in (3, 10, 30, 100):
        for effect, as_rate in ((0.0, True), (1.0, False), (2.0, False), (4.0, False)):
            rates = simulate(arguments.searches, steepness, effect, as_rate=as_rate)
            name = "as a learning rate" if as_rate else f"effect {effect:.0f}"
            print(f"steepness {steepness:>3}, {name:16}" + "".join(f"{rate:>10.1%}" for rate in rates.values()))
    conclusions = placebos(arguments.real)
    print({word: conclusions.count(word) for word in sorted(set(conclusions))})


if __name__ == "__main__":
    main()
