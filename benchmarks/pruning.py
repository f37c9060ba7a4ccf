"""Which units to remove from a trained network: by entropy, by size, by Taylor expansion, or by chance.

    KERAS_BACKEND=torch python benchmarks/pruning.py digits --output runs/pruning
    KERAS_BACKEND=torch python benchmarks/pruning.py squeezenet --output runs/pruning --weights FILE --images FOLDER
    python benchmarks/pruning.py --report --output runs/pruning

Every layer but the last loses the same part of its units or filters, once. The kernel and the bias of a removed unit
are zero, so with a ReLU whatever reads it reads nothing: the network computes the same as a smaller one. "digits"
trains a CNN on scikit-learn's digits for each of eight seeds, and measures the accuracy on its test images without
retraining and after one epoch. "squeezenet" takes trained weights and Imagenette: a test image counts as correct if
its class has the largest output of the ten. One epoch of retraining is measured there for two parts alone. The Taylor
expansion (Molchanov et al., 2017) needs gradients, which are those of torch here.

Decided before the first run: the entropy is worth a function of the library if, for one network, part and retraining,
it is better than the size and chance, which need no data either, and not worse than the Taylor expansion, all at
p < 0.05 after Holm's adjustment over all tests.
"""

import argparse
import json
import math
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from keras import layers
from redundancy import redundant_units, transfer_matrices

from keras_entropy import datasets, models
from keras_entropy.stats import holm, paired_t

SEEDS = range(100, 108)
PARTS = (0.1, 0.2, 0.3, 0.5, 0.7)
RETRAINED = (0.1, 0.3)  # of SqueezeNet, whose retraining takes a minute
DRAWS = 3  # random orders of a seed, whose accuracies are averaged; one for SqueezeNet
SIDES = 160, 160  # of the images for SqueezeNet, which have 96 pixels a side in their files
ENTROPY = ("log-volume", "log-volume, unfolded")
RIVALS = ("magnitude", "random", "Taylor")
RETRAINING = ("no", "one epoch")
EPOCHS, RATE = 15, 1e-3
CLASSES = {  # of Imagenette, in the alphabetical order of its folders: numbers of ImageNet
    "cassette_player": 482, "chain_saw": 491, "church": 497, "english_springer": 217, "french_horn": 566,
    "garbage_truck": 569, "gas_pump": 571, "golf_ball": 574, "parachute": 701, "tench": 0,
}  # fmt: skip


# Orders: the units to remove first come first


def orders(model, names, x, y, seed, draws):
    """The orders of the units of each layer, by method."""
    found = {method: {} for method in (*ENTROPY, "magnitude")}
    for name in names:
        layer = model.get_layer(name)
        kernel = layer.get_weights()[0]
        matrix = kernel.reshape(-1, kernel.shape[-1]).astype(float)
        whole = matrix if kernel.ndim == 2 else transfer_matrices(kernel, layer.strides[0])
        found["log-volume"][name] = redundant_units(whole)[0]
        found["log-volume, unfolded"][name] = redundant_units(matrix)[0]
        found["magnitude"][name] = np.argsort(np.linalg.norm(matrix, axis=0))
    found["Taylor"] = {name: np.argsort(values) for name, values in taylor(model, names, x, y).items()}
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        sizes = {name: model.get_layer(name).get_weights()[0].shape[-1] for name in names}
        found[f"random {draw}"] = {name: rng.permutation(size) for name, size in sizes.items()}
    return found


def taylor(model, names, x, y, batch=50):
    """|gradient times output|: the mean over positions, its absolute value, and the mean over images."""
    import torch

    parts = keras.Model(model.inputs, [*[model.get_layer(name).output for name in names], *model.outputs])
    total = dict.fromkeys(names, 0.0)
    for i in range(0, len(x), batch):
        *outputs, probabilities = parts(keras.ops.convert_to_tensor(x[i : i + batch]), training=False)
        target = keras.ops.convert_to_tensor(y[i : i + batch])
        loss = keras.losses.sparse_categorical_crossentropy(target, probabilities).sum()
        for name, z, gradient in zip(names, outputs, torch.autograd.grad(loss, outputs), strict=True):
            product = (z * gradient).detach().cpu().numpy().astype(float)
            means = product.mean(axis=tuple(range(1, product.ndim - 1)))
            total[name] = total[name] + np.abs(means).sum(axis=0)
    return total


def prune(model, weights, order, part):
    """Set the weights, without the given part of the units of each layer; return the units that are removed."""
    model.set_weights(weights)
    removed = {}
    for name, units in order.items():
        layer = model.get_layer(name)
        kernel, bias = layer.get_weights()
        removed[name] = np.asarray(units[: round(part * len(bias))])
        kernel[..., removed[name]] = 0
        bias[removed[name]] = 0
        layer.set_weights([kernel, bias])
    return removed


# Networks


def digits_network():
    hidden = [
        layers.Conv2D(16, 3, padding="same", activation="relu", name="conv1"),
        layers.MaxPooling2D(),
        layers.Conv2D(32, 3, padding="same", activation="relu", name="conv2"),
        layers.MaxPooling2D(),
        layers.Flatten(),
        layers.Dense(64, "relu", name="hidden"),
    ]
    return keras.Sequential([keras.Input((8, 8, 1)), *hidden, layers.Dense(10, "softmax", name="head")])


def train(model, x, y, epochs, seed, rate=RATE):
    keras.utils.set_random_seed(seed)
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy")
    if epochs:
        model.fit(x, y, 32, epochs=epochs, verbose=0)


def accuracy(model, x, y):
    return float((model.predict(x, 512, verbose=0).argmax(-1) == y).mean())


def run_digits(seed):
    """Accuracies by method, part and number of epochs after pruning."""
    x, y, x_test, y_test = datasets.digits()
    keras.utils.set_random_seed(seed)
    model = digits_network()
    train(model, x, y, EPOCHS, seed)
    weights = model.get_weights()
    rows = [("unpruned", 0.0, 0, accuracy(model, x_test, y_test))]
    train(model, x, y, 1, seed)
    rows.append(("unpruned", 0.0, 1, accuracy(model, x_test, y_test)))
    model.set_weights(weights)
    for method, order in orders(model, ("conv1", "conv2", "hidden"), x, y, seed, DRAWS).items():
        for part in PARTS:
            removed = prune(model, weights, order, part)
            rows.append((method, part, 0, accuracy(model, x_test, y_test)))
            train(model, x, y, 1, seed)
            for name, units in removed.items():  # the gradient of a ReLU at 0 is 0
                kernel, bias = model.get_layer(name).get_weights()
                assert not kernel[..., units].any()
                assert not bias[units].any()
            rows.append((method, part, 1, accuracy(model, x_test, y_test)))
    return rows


def run_squeezenet(output, weights, images, epochs):
    """Whether each test image is classified correctly among the ten classes, by method and part."""
    data = datasets.image_folder(images, SIDES)
    labels = np.array([CLASSES[name] for name in data.class_names])
    x, x_test = (models.squeezenet_input(255 * part) for part in (data.x_train, data.x_test))
    y = labels[data.y_train]
    model = models.squeezenet((*SIDES, 3), weights=weights)
    names = [layer.name for layer in model.layers if layer.weights and layer.name != "conv10"]
    original = model.get_weights()
    file = output / f"squeezenet-{epochs}.json"
    found = json.loads(file.read_text()) if file.exists() else {}
    for method, order in {"unpruned": {}, **orders(model, names, x[::5], y[::5], 0, 1)}.items():
        for part in (0.0,) if method == "unpruned" else RETRAINED if epochs else PARTS:
            key = f"{method} {part}"
            if key not in found:
                prune(model, original, order, part)
                train(model, x, y, epochs, 0, 1e-4)
                scores = model.predict(x_test, 50, verbose=0)[:, labels]
                found[key] = (scores.argmax(-1) == data.y_test).astype(int).tolist()
                file.write_text(json.dumps(found))
                print(key, np.mean(found[key]), flush=True)


# Report


def records(output):
    """One row per network, epochs, part, method and pair: a seed, or an image of SqueezeNet."""
    rows = []
    for file in sorted(output.glob("digits-*.json")):
        seed = int(file.stem.split("-")[1])
        rows += [
            ("digits", epochs, part, method, seed, value)
            for method, part, epochs, value in json.loads(file.read_text())
        ]
    for file in sorted(output.glob("squeezenet-*.json")):
        epochs = int(file.stem.split("-")[1])
        for key, values in json.loads(file.read_text()).items():
            method, part = key.rsplit(" ", 1)
            rows += [("squeezenet", epochs, float(part), method, image, value) for image, value in enumerate(values)]
    frame = pd.DataFrame(rows, columns=["network", "epochs", "part", "method", "pair", "accuracy"])
    frame["method"] = frame.method.str.replace(r"random \d", "random", regex=True)
    return frame.groupby(["network", "epochs", "part", "method", "pair"], sort=False).accuracy.mean().reset_index()


def report(output):
    """Write pruning.csv and pruning.png, and print the tables."""
    frame = records(output)
    rows = []
    for (network, epochs, part), cell in frame.groupby(["network", "epochs", "part"]):
        values = {m: group.sort_values("pair").accuracy.to_numpy() for m, group in cell.groupby("method", sort=False)}
        for method, own in values.items():
            base = {"network": network, "epochs": epochs, "part": part, "method": method, "pairs": len(own)}
            rivals = [rival for rival in RIVALS if method in ENTROPY]
            rows += [base | {"accuracy": own.mean()} | compared(own, values[rival], rival) for rival in rivals]
            rows += [base | {"accuracy": own.mean()}] * (not rivals)
    table = pd.DataFrame(rows)
    tested = table.p.notna()
    table.loc[tested, "p_holm"] = holm(list(table.p[tested]))
    table.to_csv(output / "pruning.csv", index=False, lineterminator="\n", float_format="%.5g")
    print(f"Holm over {tested.sum()} tests\n", *accuracies(table), "", *differences(table), sep="\n")
    figure(table, output / "pruning.png")


def compared(own, other, rival):
    if np.ptp(own - other) == 0:  # no variation, no test
        return {"against": rival, "difference": (own - other).mean(), "low": math.nan, "high": math.nan, "p": math.nan}
    found = paired_t(own, other)
    return {"against": rival, "difference": found.estimate, "low": found.low, "high": found.high, "p": found.p}


def accuracies(table):
    """A table of the accuracies in percent, by network, retraining and removed part."""
    methods = (*ENTROPY, *RIVALS)
    yield f"| network | retrained | removed | {' | '.join(methods)} |"
    yield "|---|---|---:|" + "---:|" * len(methods)
    for (network, epochs, part), cell in table[table.part > 0].groupby(["network", "epochs", "part"]):
        means = [f"{100 * cell[cell.method == method].accuracy.iloc[0]:.1f}" for method in methods]
        yield f"| {network} | {RETRAINING[epochs]} | {part:.0%} | {' | '.join(means)} |"


def differences(table):
    """A table of the differences of the entropy from its rivals, in points."""
    yield f"| network | retrained | removed | method | minus {' | minus '.join(RIVALS)} |"
    yield "|---|---|---:|---|" + "---:|" * len(RIVALS)
    keys = ["network", "epochs", "part", "method"]
    for (network, epochs, part, method), cell in table[table.against.notna()].groupby(keys):
        cells = [difference(row) for row in cell.to_dict("records")]
        yield f"| {network} | {RETRAINING[epochs]} | {part:.0%} | {method} | {' | '.join(cells)} |"


def difference(row):
    """A difference in points with its interval, and the conclusion after Holm's adjustment."""
    if math.isnan(row["p"]):
        return f"{100 * row['difference']:+.1f}"
    conclusion = "" if row["p_holm"] >= 0.05 else " better" if row["difference"] > 0 else " worse"
    return "{:+.1f} ({:+.1f} to {:+.1f})".format(*(100 * row[k] for k in ("difference", "low", "high"))) + conclusion


def figure(table, path):
    """Draw the accuracies by part that is removed."""
    import matplotlib.pyplot as plt

    panels = list(table.groupby(["network", "epochs"], sort=False))
    canvas, axes = plt.subplots(1, len(panels), figsize=(4 * len(panels), 3.4), layout="constrained")
    styles = dict(zip((*ENTROPY, *RIVALS), ("C0o-", "C0s--", "C1^-", "C7x:", "C2D-"), strict=True))
    for axis, ((network, epochs), rows) in zip(np.atleast_1d(axes), panels, strict=True):
        whole = rows[rows.method == "unpruned"].accuracy.iloc[0]
        for method, style in styles.items():
            means = rows[(rows.method == method) & (rows.part > 0)].groupby("part").accuracy.first()
            axis.plot([0, *100 * means.index], [whole, *means], style, label=method, markersize=4)
        title = {"digits": "CNN on digits", "squeezenet": "SqueezeNet on Imagenette"}[network]
        axis.set(title=f"{title},\n{'no retraining' if not epochs else 'one epoch'}")
        axis.set(xlabel="removed units (%)", ylabel="test accuracy")
    np.atleast_1d(axes)[0].legend(fontsize=8)
    canvas.savefig(path, dpi=100)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="digits, squeezenet")
    parser.add_argument("--output", type=Path, default=Path("runs/pruning"))
    parser.add_argument("--weights", help="squeezenet_v1.1.npz")
    parser.add_argument("--images", help="folder of Imagenette, with train/<class> and test/<class>")
    parser.add_argument("--report", action="store_true")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS if "digits" in arguments.networks else ():
        file = arguments.output / f"digits-{seed}.json"
        if not file.exists():
            file.write_text(json.dumps(run_digits(seed)))
            print(file, flush=True)
    if "squeezenet" in arguments.networks:
        for epochs in (0, 1):
            run_squeezenet(arguments.output, arguments.weights, arguments.images, epochs)
    if arguments.report:
        report(arguments.output)


if __name__ == "__main__":
    main()
