"""Table 2 of source A: deep classifiers of photographs with the corner term at several places.

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks", section 5.4.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras

from keras_entropy import ConvCornerEntropy, entropy_profile, models, resolve_placement
from keras_entropy.study import Arm, Study, compare
from reproduction import image_folders, photograph_page, trained_weights
from reproduction.entries import Entry, Outcome, Settings
from reproduction.networks import RESIDUAL, STRATEGIES, classifier, network
from reproduction.photograph_page import BASELINE, METRIC, Found
from reproduction.protocol import choices, less, scaled
from reproduction.study_runs import trained

IMAGENETTE = (9469, 3925)
"""Images to train and to test on in the whole set."""
REFERENCE_SEED = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """How the classifiers are trained [A, section 5.4]."""

    networks: tuple[str, ...] = scaled("Networks")
    strategies: tuple[str, ...] = scaled("Strategies")
    factors: tuple[float, ...] = scaled("Values of lambda besides 0")
    side: int = scaled("Pixels of a side", ours=True)
    images: int | None = scaled("Training images at most")
    seeds: int = scaled("Runs a cell")
    stale: int = scaled("Epochs without improvement after which the learning rate is divided by 10")
    patience: int = scaled("Epochs without improvement after which a run stops")
    learning_rate: float = scaled("Learning rate")
    epochs: int = scaled("Limit of epochs", ours=True)
    batch_size: int = scaled("Batch size", ours=True)
    epsilon: float = scaled("Epsilon of eq. 25 (the paper: below 0.001)", ours=True)
    empirical: int = scaled("Layers of the empirical placement", ours=True)


FULL = Protocol(
    networks=("vgg16", "resnet50"), strategies=STRATEGIES, factors=(1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0), side=224,
    images=None, seeds=1, stale=10, patience=25, learning_rate=0.01, epochs=300, batch_size=32, epsilon=1e-4,
    empirical=5,
)  # fmt: skip
SMALL = dataclasses.replace(
    FULL, networks=("cnn", RESIDUAL), strategies=(STRATEGIES[0], STRATEGIES[2]), factors=(1e-3, 1e-1), side=32,
    images=500, seeds=3, stale=6, patience=9, epochs=10, empirical=3,
)  # fmt: skip


def schedule(stale: int) -> list[Any]:
    """The callbacks of a run: the learning rate is divided by 10 where the accuracy has gone stale."""
    return [keras.callbacks.ReduceLROnPlateau(METRIC, factor=0.1, patience=stale, mode="max")]


def run(settings: Settings) -> Outcome:
    """Train and compare at the scale of the settings."""
    return reproduced(settings, FULL if settings.scale == "full" else SMALL)


def reproduced(settings: Settings, protocol: Protocol) -> Outcome:
    """Train and compare by a protocol."""
    protocol = dataclasses.replace(protocol, seeds=settings.seeds or protocol.seeds)
    folder = image_folders.find(settings, image_folders.PHOTOGRAPHS)
    data = functools.partial(
        image_folders.photographs, None if folder is None else str(folder), protocol.side, protocol.images
    )
    images = data()
    reduced = list(less(protocol, dataclasses.replace(FULL, seeds=protocol.seeds)))
    counts = (len(images.x_train), len(images.x_test))
    if folder is None:
        reduced.append(
            f"No folder of photographs was named: the images are {counts[0]} and {counts[1]} handwritten digits of "
            "scikit-learn, 8 x 8, enlarged."
        )
    elif counts < IMAGENETTE:
        reduced.append(
            f"Images: {counts[0]} to train and {counts[1]} to validate on, of {len(images.class_names)} classes; "
            f"Imagenette has {IMAGENETTE[0]} and {IMAGENETTE[1]}, of 10."
        )
    found = []
    for name in protocol.networks:
        one, said = _network(name, settings, protocol, data, len(images.class_names))
        found.append(one)
        reduced += said
    return Outcome(
        reduced=tuple(reduced),
        blocks=tuple(photograph_page.blocks(found, choices(protocol))),
        verdicts=tuple(photograph_page.verdicts(found, counts[1])),
    )


def _network(
    name: str, settings: Settings, protocol: Protocol, data: Callable[[], Any], classes: int
) -> tuple[Found, list[str]]:
    """Train one network at all placements, with all strategies."""
    output = settings.output / name.replace(" ", "_")
    build = functools.partial(classifier, name, protocol.side, classes, protocol.learning_rate)
    term = functools.partial(
        ConvCornerEntropy, epsilon=protocol.epsilon, reduction="sum", form="reciprocal"
    )  # eq. 25 is a sum over filters
    rules: dict[str, Any] = {"first": "first", "first two": "first:2"}
    said: list[str] = []
    if any(isinstance(layer, keras.layers.Add) for layer in network(name, (protocol.side, protocol.side, 3), 2).layers):
        rules["pre-skip"] = "pre_skip"
        rules["empirical"], said = _empirical(name, settings, protocol, data, build)
    study = Study(
        build,
        [Arm(BASELINE), *(Arm(p, rule, term, grid={"factor": protocol.factors}) for p, rule in rules.items())],
        range(protocol.seeds),
        data=data,
        output=output / "study",
        grid={"strategy": protocol.strategies},
        metric=METRIC,
        callbacks=functools.partial(schedule, protocol.stale),
        **_training(protocol),
    )
    records = trained(study, settings)
    comparison = compare(records, METRIC, BASELINE, epoch="best")
    placed = {p: rule if isinstance(rule, str) else ", ".join(rule) for p, rule in rules.items()}
    return Found(name=name, comparison=comparison, placements=placed, classes=classes), said


def _training(protocol: Protocol) -> dict[str, Any]:
    return {
        "epochs": protocol.epochs,
        "batch_size": protocol.batch_size,
        "patience": protocol.patience,
        "monitor": METRIC,
    }


def _empirical(
    name: str, settings: Settings, protocol: Protocol, data: Callable[[], Any], build: Callable[..., Any]
) -> tuple[list[str], list[str]]:
    """The layers that keep entropy in a trained network of the same architecture [A, fig. 7], and what is reduced.

    Where this machine has no trained weights of it, one is trained on the same images with a seed of its own.
    """
    term = ConvCornerEntropy(1.0)
    weights = image_folders.archive(settings.data, name, (".h5", ".keras")) if name in models.names() else None
    model = build()
    if weights is not None:
        reference, own = models.by_name(name, weights=weights), network(name, (protocol.side, protocol.side, 3), 10)
        profile = entropy_profile(reference, "corner")
        chosen = resolve_placement(own, f"empirical:{protocol.empirical}", profile, regularizer=term)
        names = {weight.layer.name for weight in chosen}
        everything = resolve_placement(model, "all", regularizer=term)
        return [weight.path for weight in everything if weight.layer.name in names], []
    folder = settings.output / name.replace(" ", "_") / trained_weights.FOLDER
    study = Study(
        build,
        [Arm(BASELINE)],
        [REFERENCE_SEED],
        data=data,
        output=folder.parent / "reference",
        metric=METRIC,
        callbacks=trained_weights.Keeping(folder),
        **_training(protocol),
    )
    record = trained(study, settings)[0]
    if trained_weights.restored(model, record, folder) is None:
        raise ValueError(
            f"The network that the empirical placement is read off did not finish: {record.reason}. Use other images "
            "(`data`)."
        )
    profile = entropy_profile(model, "corner")
    chosen = resolve_placement(model, f"empirical:{protocol.empirical}", profile, regularizer=term)
    accuracy = record.value(METRIC, "best", lower_is_better=False)
    return [weight.path for weight in chosen], [
        f"Empirical placement of {name}: there are no trained weights of it on this machine, so it is read off one "
        f"trained here on the same images (seed {REFERENCE_SEED}, accuracy {accuracy:.3f})."
    ]


ENTRIES = {
    "a-table2": Entry(
        name="a-table2",
        title="VGG-16 and ResNet-50 on Imagenette with the corner term",
        claim="In 17 of 18 rows the best validation accuracy is at lambda > 0, most often at lambda >= 0.001; the term "
        "improves accuracy by 2-3 %, most where trained networks of the architecture keep entropy (table 2, sections "
        "5.4 and 6).",
        run=run,
    )
}
