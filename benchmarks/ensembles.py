"""Ensembles whose members are guided differently by entropy terms, beside ensembles whose members differ by seed alone.

    KERAS_BACKEND=torch python benchmarks/ensembles.py --output runs/ensembles

An MLP (64-64-64-10) learns scikit-learn's digits from ten labelled images of each class, which every ensemble draws
anew. An ensemble has five members, and predicts the mean of their probabilities. Guided members have a log-volume term
with another placement and sign each. One seed chooses the learning rate and L2 of each member by its validation loss,
and then one factor for all members by the validation loss of the ensemble; the member without a term has as many
settings. Six ensembles of each kind on other seeds are compared in pairs on the test images.
"""

import argparse
import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from keras import layers

from keras_entropy import DenseEntropy, datasets
from keras_entropy.stats import holm, paired_t
from keras_entropy.study import Arm, Study, fingerprint

ENSEMBLES = 6
TUNE_SEEDS = (0,)  # a seed is 10 * the number of its draw of labelled images + the number of a member
FIRST = 100  # the first draw that is compared
EPOCHS, BATCH = 30, 50
RATES, FACTORS = [3e-3, 8e-3, 2e-2], [0.01, 0.1]
ALONE = "no term"
GUIDES = {
    "first layer, more entropy": ("first", 1),
    "first layer, less entropy": ("first", -1),
    "second layer, more entropy": ("second", 1),
    "second layer, less entropy": ("second", -1),
    "all layers, more entropy": ("all", 1),
}


def network(learning_rate, l2):
    def dense(units, activation, name):
        return layers.Dense(units, activation, kernel_regularizer=keras.regularizers.L2(l2), name=name)

    hidden = [layers.Flatten(), dense(64, "relu", "hidden"), dense(64, "relu", "second"), dense(10, "softmax", "head")]
    model = keras.Sequential([keras.Input((8, 8, 1)), *hidden])
    model.compile(keras.optimizers.Adam(learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


@functools.cache
def images():
    """Images to draw from, to validate on and to test on: 1,077, 360 and 360."""
    x, y, x_test, y_test = datasets.digits()
    return (x[:1077], y[:1077]), (x[1077:], y[1077:]), (x_test, y_test)


def data(seed):
    """Ten labelled images of each class, and a few to validate on: the predictions that are saved validate."""
    (x, y), (x_val, y_val), _ = images()
    rng = np.random.default_rng(seed // 10)
    rows = np.concatenate([rng.permutation(np.flatnonzero(y == c))[:10] for c in range(10)])
    return x[rows], y[rows], x_val[:BATCH], y_val[:BATCH]


class SavePredictions(keras.callbacks.Callback):
    """Save the probabilities of validation and test images, under the fingerprint that the run's record has too."""

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_train_end(self, logs=None):
        """Write one file."""
        found = [self.model.predict(x, 512, verbose=0) for x, _ in images()[1:]]
        np.save(self.folder / f"{fingerprint(self.model)}.npy", np.stack(found))


def run(arms, seeds, output, name, **options):
    """Train the arms of one study in this process; return their records."""
    (output / "predictions").mkdir(parents=True, exist_ok=True)
    study = Study(
        network,
        arms,
        seeds,
        data=data,
        epochs=EPOCHS,
        batch_size=BATCH,
        callbacks=functools.partial(callbacks, output / "predictions"),
        output=output / name,
        **options,
    )
    with ThreadPoolExecutor(1) as executor:
        return study.run(executor, progress=False).records


def callbacks(folder):
    return [SavePredictions(folder)]


def probabilities(output, record):
    """Of the images to validate on, and of those to test on."""
    return np.load(output / "predictions" / f"{record.final_weights}.npy")


def negative(factor):
    return DenseEntropy(-factor)


def term(sign):
    return DenseEntropy if sign > 0 else negative


def choose(output):
    """The learning rate and L2 of each member, and the factor of all guided ones."""
    tune = {"learning_rate": RATES, "l2": [0.0, 1e-3], "factor": FACTORS}
    arms = [Arm(ALONE, tune={"learning_rate": RATES, "l2": [0.0, 3e-4, 1e-3, 3e-3]})]
    arms += [Arm(name, place, term(sign), tune=tune) for name, (place, sign) in GUIDES.items()]
    records = [r for r in run(arms, [20], output, "choice", tune_seeds=TUNE_SEEDS) if r.role == "tune"]
    labels = images()[1][1]
    best = {}
    for factor in FACTORS:
        chosen = {
            name: best_of(output, [r for r in records if r.arm == name and r.tuned["factor"] == factor])
            for name in GUIDES
        }
        members = [[probabilities(output, r)[0] for r in found] for found in chosen.values()]
        loss = np.mean([nll(np.mean(seed, axis=0), labels) for seed in zip(*members, strict=True)])
        best[factor] = loss, {name: found[0].tuned for name, found in chosen.items()}
    factor = min(best, key=lambda f: best[f][0])
    alone = best_of(output, [r for r in records if r.arm == ALONE])[0].tuned
    print({f: loss for f, (loss, _) in best.items()}, alone, best[factor][1], sep="\n", flush=True)
    return factor, {ALONE: alone, **best[factor][1]}


def best_of(output, records):
    """The records, one per seed, of the values with the lowest mean loss on the images to validate on."""
    groups = {}
    for record in records:
        groups.setdefault(str(sorted(record.tuned.items())), []).append(record)
    labels = images()[1][1]
    return min(groups.values(), key=lambda found: np.mean([nll(probabilities(output, r)[0], labels) for r in found]))


def nll(predicted, labels):
    return float(-np.log(predicted[np.arange(len(labels)), labels] + 1e-12).mean())


def report(output):
    """Train what is left, write ensembles.csv, and print the table."""
    factor, chosen = choose(output)
    values = {name: {k: tuned[k] for k in ("learning_rate", "l2")} for name, tuned in chosen.items()}
    found = {"seed alone": {}, "guided": {}}
    for k, (name, (place, sign)) in enumerate(GUIDES.items()):
        arms = [Arm(ALONE, **values[ALONE]), Arm(name, place, term(sign)(factor), **values[name])]
        seeds = [10 * (FIRST + ensemble) + k for ensemble in range(ENSEMBLES)]
        for record in run(arms, seeds, output, f"member-{k}"):
            kind = "seed alone" if record.arm == ALONE else "guided"
            found[kind].setdefault(record.seed // 10, []).append(probabilities(output, record)[1])
    labels = images()[2][1]
    metrics = {kind: [scores(members, labels) for members in of.values()] for kind, of in found.items()}
    rows, compared = [], {}
    for metric in ("accuracy", "NLL", "accuracy of a member", "NLL of a member", "disagreement"):
        guided, alone = ([m[metric] for m in metrics[kind]] for kind in ("guided", "seed alone"))
        compared[metric] = paired_t(guided, alone)
        test = compared[metric]
        rows.append((metric, len(guided), np.mean(alone), np.mean(guided), test.estimate, test.low, test.high, test.p))
    table = pd.DataFrame(rows, columns=["metric", "n", "seed_alone", "guided", "difference", "low", "high", "p"])
    table["p_holm"] = holm(list(table.p))
    table.to_csv(output / "ensembles.csv", index=False, lineterminator="\n", float_format="%.5g")
    print("| metric | seed alone | guided | guided minus seed alone |\n|---|---:|---:|---:|")
    for row in table.to_dict("records"):
        print(line(row))


def line(row):
    """One row of the table."""
    interval = "{difference:+.4f} ({low:+.4f} to {high:+.4f})".format(**row)
    return f"| {row['metric']} | {row['seed_alone']:.4f} | {row['guided']:.4f} | {interval}, p = {row['p_holm']:.2g} |"


def scores(members, labels):
    """Of an ensemble and its members; disagreement is the part of pairs of predictions that differ."""
    members = np.stack(members)
    mean, classes = members.mean(axis=0), members.argmax(-1)
    pairs = [(classes[i] != classes[j]).mean() for i in range(len(members)) for j in range(i)]
    return {
        "accuracy": (mean.argmax(-1) == labels).mean(),
        "NLL": nll(mean, labels),
        "accuracy of a member": (classes == labels).mean(),
        "NLL of a member": np.mean([nll(member, labels) for member in members]),
        "disagreement": np.mean(pairs),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/ensembles"))
    report(parser.parse_args().output)


if __name__ == "__main__":
    main()
