"""Entropy profiles of trained and of random networks (Meni et al., 2023, figures 1, 8 and 9)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import keras

from keras_entropy import ConvCornerEntropy, entropy_profile, models, resolve_placement
from keras_entropy.study import Arm, RunRecord, Study
from reproduction import profile_page, segmentation
from reproduction.entries import Outcome, Settings
from reproduction.estimates import mean, plural
from reproduction.image_folders import photograph_data
from reproduction.networks import RESIDUAL, classifier
from reproduction.photograph_page import BASELINE, METRIC
from reproduction.profile_page import Case
from reproduction.protocol import differences, parameter, select
from reproduction.segmentation_page import METRIC as IOU
from reproduction.study_runs import run_study
from reproduction.trained_weights import FORMATS, KEPT, PRETRAINED, WeightSaving, pretrained, restored


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """How profiles are measured, and how networks without pretrained weights are trained."""

    measures: tuple[str, ...] = parameter("Measures", ours=True)
    random: int = parameter("Random networks of each architecture", ours=True)
    largest: int | None = parameter("Weights of a network, at most, for the log-volume", ours=True)
    seeds: int = parameter("Networks that are trained if there are no weights", ours=True)
    side: int = parameter("Pixels of a side of the photographs they are trained on", ours=True)
    images: int | None = parameter("Photographs they are trained on at most", ours=True)
    epochs: int = parameter("Epochs they are trained", ours=True)


FULL = Protocol(
    measures=("corner", "log_volume"), random=3, largest=None, seeds=3, side=96, images=None, epochs=100
)  # fmt: skip
SMALL = dataclasses.replace(FULL, largest=5_000_000, side=32, images=1000, epochs=15)


@dataclasses.dataclass(frozen=True)
class Figure:
    """What a figure shows.

    Attributes:
        network: Name of its architecture.
        stand_in: Network that is shown, trained, if there are no pretrained weights of that architecture.
        pattern: Contrast between layers that the paper describes, one of `profile_page.PATTERNS`.
    """

    network: str
    stand_in: str
    pattern: str


FIGURES = {
    "a-fig1": Figure("vgg16", "squeezenet", "early"),
    "a-fig8": Figure("resnet50", RESIDUAL, "pre-skip"),
    "a-fig9": Figure("unet", "unet", "ends"),
}


def run(name: str, settings: Settings) -> Outcome:
    """Measure the networks of a figure, after training those that are missing."""
    protocol, figure = select(settings, SMALL, FULL), FIGURES[name]
    cases, reduced = _unets(figure, settings, protocol) if name == "a-fig9" else _networks(figure, settings, protocol)
    return Outcome(
        reduced=tuple(reduced),
        blocks=tuple(profile_page.blocks(cases, figure.pattern)),
        conclusions=tuple(profile_page.conclusions(name, cases, figure.pattern)),
    )


def _networks(figure: Figure, settings: Settings, protocol: Protocol) -> tuple[list[Case], list[str]]:
    """The profiles of figure 1 or 8, and sentences on what is reduced."""
    full, reduced = dataclasses.replace(FULL, seeds=protocol.seeds), []
    weights = pretrained(settings.data, figure.network)
    if weights is not None:
        network = models.by_name(figure.network, weights=weights)
        cases = _cases(figure, protocol, [network], figure.network)
    else:
        fresh = models.by_name(figure.network, (32, 32, 3), 10)  # the size of the input does not change the kernels
        cases = _cases(figure, protocol, [], figure.network, fresh)
        stand_in, networks, trained = _stand_in(figure, settings, protocol)
        reduced.append(
            f"This machine has no pretrained weights of {figure.network} (neither in the folder of the data, nor in "
            f"its folder {PRETRAINED}, nor in Keras's folder of models). Its random profile is shown, and {stand_in} "
            "shows what training does."
        )
        if not trained:  # then the protocol of training was not used
            protocol = dataclasses.replace(protocol, side=FULL.side, images=FULL.images, epochs=FULL.epochs)
        cases += _cases(figure, protocol, networks, stand_in)
    return cases, [*reduced, *differences(protocol, full)]


def _unets(figure: Figure, settings: Settings, protocol: Protocol) -> tuple[list[Case], list[str]]:
    """The profiles of figure 9, and sentences on what is reduced."""
    training = dataclasses.replace(select(settings, segmentation.SMALL, segmentation.FULL), seeds=protocol.seeds)
    trained = segmentation.train(settings, dataclasses.replace(training, factors=()))
    networks = [model for record in trained.records if (model := trained.model(record)) is not None]
    unused = {name: getattr(segmentation.FULL, name) for name in ("factors", "patience", "min_delta")}
    full = dataclasses.replace(segmentation.FULL, seeds=protocol.seeds)
    name = f"the U-Net, trained here ({plural(len(networks), 'network')}, {_reached(trained.records, IOU)})"
    cases = _cases(figure, protocol, networks, name, trained.build())
    return cases, [*differences(dataclasses.replace(training, **unused), full), *trained.reduced]


def _stand_in(figure: Figure, settings: Settings, protocol: Protocol) -> tuple[str, list[Any], bool]:
    """Trained networks that replace those without weights: what they are, the models, whether they are trained here."""
    name = figure.stand_in
    weights = pretrained(settings.data, name, (*FORMATS, ".npz")) if name in models.names() else None
    if weights is not None:
        return f"{name} with the weights of {weights.name}", [models.by_name(name, weights=weights)], False
    name = name if name == RESIDUAL else "cnn"
    networks, reached = _trained(name, settings, protocol)
    return f"{name}, trained here ({plural(len(networks), 'network')}, {reached})", networks, True


def _trained(name: str, settings: Settings, protocol: Protocol) -> tuple[list[Any], str]:
    """Classifiers of photographs, trained with several seeds, and their accuracy in words."""
    data = photograph_data(settings, protocol.side, protocol.images)
    build = functools.partial(classifier, name, protocol.side, len(data.load().class_names))
    folder = settings.output / KEPT
    study = Study(
        build,
        [Arm(BASELINE)],
        range(protocol.seeds),
        data=data.load,
        output=settings.output / "study",
        epochs=protocol.epochs,
        metric=METRIC,
        callbacks=WeightSaving(folder),
    )
    records = run_study(study, settings)
    trained = [restored(build(), record, folder) for record in records]
    return [m.layers[-1] for m in trained if m is not None], _reached(records, METRIC)  # the architecture alone


def _reached(records: Sequence[RunRecord], metric: str) -> str:
    """Mean of a metric over the finished runs, in words."""
    values = [record.value(metric) for record in records if record.ok]
    return f"{metric} {mean(values):.2f}" if values else "none finished"


def _cases(figure: Figure, protocol: Protocol, networks: Sequence[Any], said: str, fresh: Any = None) -> list[Case]:
    """One case for each measure: the trained networks, and random ones of the same architecture."""
    networks = [convolutions(network) for network in networks]
    if not networks and fresh is None:
        return []
    model = networks[0] if networks else convolutions(fresh)
    marked = _marked(model, figure.pattern)
    found = []
    for measure in protocol.measures:
        if measure == "log_volume" and protocol.largest is not None and model.count_params() > protocol.largest:
            continue
        trained = tuple(entropy_profile(network, measure) for network in networks)
        random = tuple(entropy_profile(model, measure, randomize=seed) for seed in range(protocol.random))
        found.append(Case(said, measure, trained, random, marked))
    return found


def _marked(model: Any, pattern: str) -> frozenset[str]:
    """Paths of the layers that a pattern is about, if the architecture defines them."""
    if pattern != "pre-skip":
        return frozenset()
    return frozenset(w.path for w in resolve_placement(model, "pre_skip", regularizer=ConvCornerEntropy(1.0)))


def convolutions(model: Any) -> Any:
    """A functional model up to the input of its first Dense layer; the model itself if it has none."""
    dense = next((layer for layer in model.layers if isinstance(layer, keras.layers.Dense)), None)
    return model if dense is None else keras.Model(model.inputs, dense.input, name=model.name)
