"""Classifiers of photographs with the corner term at several placements (Meni et al., 2023, section 5.4, table 2)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import keras

from keras_entropy import ConvCornerEntropy, entropy_profile, models, resolve_placement
from keras_entropy.study import Arm, Study, compare
from reproduction import photograph_page
from reproduction.entries import Outcome, Settings
from reproduction.image_folders import FolderData, photograph_data
from reproduction.networks import RESIDUAL, STRATEGIES, classifier, corner_term, network
from reproduction.paper_numbers import meni
from reproduction.photograph_page import BASELINE, METRIC, Found
from reproduction.protocol import differences, own_choices, parameter, select
from reproduction.study_runs import run_study
from reproduction.trained_weights import KEPT, WeightSaving, pretrained, restored

IMAGENETTE = (9469, 3925)
"""Numbers of training and test images of the whole set."""
REFERENCE_SEED = 1000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """How the classifiers are trained."""

    networks: tuple[str, ...] = parameter("Networks")
    strategies: tuple[str, ...] = parameter("Strategies")
    factors: tuple[float, ...] = parameter("Values of lambda besides 0")
    side: int = parameter("Pixels of a side", ours=True)
    images: int | None = parameter("Training images at most")
    seeds: int = parameter("Runs a cell")
    stale: int = parameter("Epochs without improvement after which the learning rate is divided by 10")
    patience: int = parameter("Epochs without improvement after which a run stops")
    learning_rate: float = parameter("Learning rate")
    epochs: int = parameter("Limit of epochs", ours=True)
    batch_size: int = parameter("Batch size", ours=True)
    epsilon: float = parameter("Epsilon of eq. 25 (the paper: below 0.001)", ours=True)
    empirical: int = parameter("Layers of the empirical placement", ours=True)


FULL = Protocol(
    networks=("vgg16", "resnet50"), strategies=STRATEGIES, factors=tuple(meni("a-table2")["factors"][1:]), side=224,
    images=None, seeds=1, stale=10, patience=25, learning_rate=0.01, epochs=300, batch_size=32, epsilon=1e-4,
    empirical=5,
)  # fmt: skip
SMALL = dataclasses.replace(
    FULL, networks=("cnn", RESIDUAL), strategies=(STRATEGIES[0], STRATEGIES[2]), factors=(1e-3, 1e-1), side=32,
    images=500, seeds=3, stale=6, patience=9, epochs=10, empirical=3,
)  # fmt: skip


def schedule(stale: int) -> list[Any]:
    """The callbacks of a run: the learning rate is divided by 10 after epochs without improvement."""
    return [keras.callbacks.ReduceLROnPlateau(METRIC, factor=0.1, patience=stale, mode="max")]


def run(name: str, settings: Settings) -> Outcome:
    """Train all networks at all placements, and analyse the gains."""
    protocol = select(settings, SMALL, FULL)
    data = photograph_data(settings, protocol.side, protocol.images)
    reduced = [*differences(protocol, dataclasses.replace(FULL, seeds=protocol.seeds)), *_fewer_images(data)]
    found = []
    for architecture in protocol.networks:
        one, said = _trained(architecture, settings, protocol, data)
        found.append(one)
        reduced += said
    return Outcome(
        reduced=tuple(reduced),
        blocks=tuple(photograph_page.blocks(found, own_choices(protocol))),
        conclusions=tuple(photograph_page.conclusions(found, data.counts[1])),
    )


def _fewer_images(data: FolderData) -> list[str]:
    train, test = data.counts
    if data.folder is None:
        return [
            f"No folder of photographs was named. The images are {train} and {test} handwritten digits of "
            "scikit-learn, 8 x 8, enlarged."
        ]
    if data.counts < IMAGENETTE:
        return [
            f"Images: {train} to train and {test} to validate on, of {len(data.load().class_names)} classes; "
            f"Imagenette has {IMAGENETTE[0]} and {IMAGENETTE[1]}, of 10."
        ]
    return []


def _trained(name: str, settings: Settings, protocol: Protocol, data: FolderData) -> tuple[Found, list[str]]:
    """The comparison of one network, and sentences on what is reduced."""
    classes = len(data.load().class_names)
    build = functools.partial(classifier, name, protocol.side, classes, protocol.learning_rate)
    placements: dict[str, Any] = {"first": "first", "first two": "first:2"}
    said: list[str] = []
    if any(isinstance(layer, keras.layers.Add) for layer in network(name, (protocol.side, protocol.side, 3), 2).layers):
        placements["pre-skip"] = "pre_skip"
        placements["empirical"], said = _empirical(name, settings, protocol, data, build)
    term, grid = corner_term(protocol.epsilon), {"factor": protocol.factors}
    study = Study(
        build,
        [Arm(BASELINE), *(Arm(p, placement, term, grid=grid) for p, placement in placements.items())],
        range(protocol.seeds),
        output=settings.output / name.replace(" ", "_") / "study",
        grid={"strategy": protocol.strategies},
        callbacks=functools.partial(schedule, protocol.stale),
        **_training(protocol, data),
    )
    comparison = compare(run_study(study, settings), METRIC, BASELINE, epoch="best")
    placed = {name: where if isinstance(where, str) else ", ".join(where) for name, where in placements.items()}
    return Found(name=name, comparison=comparison, placements=placed, classes=classes), said


def _training(protocol: Protocol, data: FolderData) -> dict[str, Any]:
    return {
        "data": data.load,
        "epochs": protocol.epochs,
        "batch_size": protocol.batch_size,
        "patience": protocol.patience,
        "monitor": METRIC,
        "metric": METRIC,
    }


def _empirical(
    name: str, settings: Settings, protocol: Protocol, data: FolderData, build: Callable[..., Any]
) -> tuple[list[str], list[str]]:
    """The layers that keep entropy in a trained network of the architecture (Meni et al., 2023, figure 7).

    Without pretrained weights, a network is trained on the same images with a seed of its own.

    Returns:
        Paths of the weights, and sentences on what is reduced.
    """
    term, placement = ConvCornerEntropy(1.0), f"empirical:{protocol.empirical}"
    weights = pretrained(settings.data, name) if name in models.names() else None
    model = build()
    if weights is not None:
        reference, own = models.by_name(name, weights=weights), network(name, (protocol.side, protocol.side, 3), 10)
        chosen = resolve_placement(own, placement, entropy_profile(reference), regularizer=term)
        names = {weight.layer.name for weight in chosen}
        everything = resolve_placement(model, "all", regularizer=term)
        return [weight.path for weight in everything if weight.layer.name in names], []
    folder = settings.output / name.replace(" ", "_") / KEPT
    study = Study(
        build,
        [Arm(BASELINE)],
        [REFERENCE_SEED],
        output=folder.parent / "reference",
        callbacks=WeightSaving(folder),
        **_training(protocol, data),
    )
    record = run_study(study, settings)[0]
    if restored(model, record, folder) is None:
        raise ValueError(
            f"The reference network of the empirical placement did not finish: {record.reason}. Use other images "
            "(`data`)."
        )
    chosen = resolve_placement(model, placement, entropy_profile(model), regularizer=term)
    accuracy = record.value(METRIC, "best", lower_is_better=False)
    return [weight.path for weight in chosen], [
        f"Empirical placement of {name}: this machine has no pretrained weights of it, so the placement comes from a "
        f"network trained here on the same images (seed {REFERENCE_SEED}, accuracy {accuracy:.3f})."
    ]
