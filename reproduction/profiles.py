"""Figures 1, 8 and 9 of source A: where networks keep entropy, beside random networks of the same architecture.

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks", sections 5, 5.4 and 5.5.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_entropy import ConvCornerEntropy, entropy_profile, models, resolve_placement
from keras_entropy.study import Arm, Study
from keras_entropy.study.records import RunRecord
from reproduction import image_folders, profile_page, segmentation, trained_weights
from reproduction.entries import Entry, Outcome, Settings
from reproduction.networks import RESIDUAL, classifier
from reproduction.photograph_page import BASELINE, METRIC
from reproduction.profile_page import Case
from reproduction.protocol import less, scaled
from reproduction.segmentation_page import METRIC as IOU
from reproduction.study_runs import trained as records_of

ARCHIVES = (".h5", ".keras", ".npz")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """How profiles are taken, and the networks trained that no file of weights is there for."""

    measures: tuple[str, ...] = scaled("Measures", ours=True)
    twins: int = scaled("Random networks of each architecture", ours=True)
    largest: int | None = scaled("Weights up to which volumes are measured", ours=True)
    seeds: int = scaled("Networks that are trained where there are no weights", ours=True)
    side: int = scaled("Pixels of a side of the photographs they are trained on", ours=True)
    images: int | None = scaled("Photographs they are trained on at most", ours=True)
    epochs: int = scaled("Epochs they are trained", ours=True)


FULL = Protocol(
    measures=("corner", "log_volume"), twins=3, largest=None, seeds=3, side=96, images=None, epochs=100
)  # fmt: skip
SMALL = dataclasses.replace(FULL, largest=5_000_000, side=32, images=1000, epochs=15)


@dataclasses.dataclass(frozen=True)
class Figure:
    """What a figure shows.

    Attributes:
        network: its architecture, by name.
        stand_in: what is trained, or read from a file, where there are no weights of that.
        pattern: the contrast between layers that the paper describes, of `profile_pages.PATTERNS`.
    """

    network: str
    stand_in: str
    pattern: str


FIGURES = {
    "a-fig1": Figure("vgg16", "squeezenet", "early"),
    "a-fig8": Figure("resnet50", RESIDUAL, "pre-skip"),
}


def reproduced(name: str, settings: Settings, protocol: Protocol) -> Outcome:
    """Figure 1 or 8 by a protocol."""
    protocol = dataclasses.replace(protocol, seeds=settings.seeds or protocol.seeds)
    figure, reduced = FIGURES[name], []
    weights = image_folders.archive(settings.data, figure.network, (".h5", ".keras"))
    cases = []
    if weights is not None:
        cases += _cases(figure, protocol, [models.by_name(figure.network, weights=weights)], figure.network)
    else:
        model = models.by_name(figure.network, (32, 32, 3), 10)  # the convolutions do not depend on it
        cases += _cases(figure, protocol, [], figure.network, model)
        stand_in, networks, trained = _stand_in(figure, settings, protocol)
        reduced.append(
            f"There are no trained weights of {figure.network} on this machine (they are looked for in the folder of "
            f"the data, its folder {image_folders.WEIGHTS}, and Keras's folder of models): its random profile is "
            f"shown, and what training does is seen in {stand_in}."
        )
        if not trained:  # nothing of the protocol of training is used
            protocol = dataclasses.replace(protocol, side=FULL.side, images=FULL.images, epochs=FULL.epochs)
        cases += _cases(figure, protocol, networks, stand_in)
    reduced += less(protocol, dataclasses.replace(FULL, seeds=protocol.seeds))
    return _outcome(name, cases, reduced, figure.pattern)


def unets(settings: Settings, protocol: Protocol, training: segmentation.Protocol) -> Outcome:
    """Figure 9 by protocols of the profiles and of training."""
    count = settings.seeds or protocol.seeds
    protocol, training = dataclasses.replace(protocol, seeds=count), dataclasses.replace(training, seeds=count)
    trained = segmentation.train(settings, training, factors=())
    networks = [model for record in trained.records if (model := trained.model(record)) is not None]
    unused = {name: getattr(segmentation.FULL, name) for name in ("factors", "patience", "min_delta")}
    whole = dataclasses.replace(segmentation.FULL, seeds=count)
    reduced = [*less(dataclasses.replace(training, **unused), whole), *trained.reduced]
    name = f"the U-Net, trained here ({_count(networks)}, {_reached(trained.records, IOU)})"
    cases = _cases(Figure("unet", "unet", "ends"), protocol, networks, name, trained.build())
    return _outcome("a-fig9", cases, reduced, "ends")


def _outcome(name: str, cases: Sequence[Case], reduced: Sequence[str], pattern: str) -> Outcome:
    return Outcome(
        reduced=tuple(reduced),
        blocks=tuple(profile_page.blocks(cases, pattern)),
        verdicts=tuple(profile_page.verdicts(name, cases, pattern)),
    )


def _stand_in(figure: Figure, settings: Settings, protocol: Protocol) -> tuple[str, list[Any], bool]:
    """Trained networks in the place of those without weights: what they are, and whether they are trained here."""
    weights = (
        image_folders.archive(settings.data, figure.stand_in, ARCHIVES) if figure.stand_in in models.names() else None
    )
    if weights is not None:
        network = models.by_name(figure.stand_in, weights=weights)
        return f"{figure.stand_in} with the weights of {weights.name}", [network], False
    name = figure.stand_in if figure.stand_in == RESIDUAL else "cnn"
    networks, reached = _trained(name, settings, protocol)
    return f"{name}, trained here ({_count(networks)}, {reached})", networks, True


def _trained(name: str, settings: Settings, protocol: Protocol) -> tuple[list[Any], str]:
    """Train a classifier of photographs with several seeds; and how well it does in the end."""
    folder = image_folders.find(settings, image_folders.PHOTOGRAPHS)
    data = functools.partial(
        image_folders.photographs, None if folder is None else str(folder), protocol.side, protocol.images
    )
    build = functools.partial(classifier, name, protocol.side, len(data().class_names))
    place = settings.output / trained_weights.FOLDER
    study = Study(
        build,
        [Arm(BASELINE)],
        range(protocol.seeds),
        data=data,
        output=settings.output / "study",
        epochs=protocol.epochs,
        metric=METRIC,
        callbacks=trained_weights.Keeping(place),
    )
    records = records_of(study, settings)
    restored = [trained_weights.restored(build(), record, place) for record in records]
    return [m.layers[-1] for m in restored if m is not None], _reached(records, METRIC)  # without what is around it


def _reached(records: Sequence[RunRecord], metric: str) -> str:
    """The mean of a metric of finished runs, in words."""
    values = [record.value(metric) for record in records if record.ok]
    return f"{metric} {sum(values) / len(values):.2f}" if values else "none finished"


def _cases(figure: Figure, protocol: Protocol, networks: Sequence[Any], said: str, fresh: Any = None) -> list[Case]:
    """A case for each measure: the trained networks, and random ones of the same architecture."""
    networks = [convolutions(network) for network in networks]
    if not networks and fresh is None:
        return []
    model = networks[0] if networks else convolutions(fresh)
    marked = _marked(model, figure.pattern)
    found = []
    for measure in protocol.measures:
        if measure == "log_volume" and protocol.largest is not None and model.count_params() > protocol.largest:
            continue
        found.append(
            Case(
                said,
                measure,
                tuple(entropy_profile(network, measure) for network in networks),
                tuple(entropy_profile(model, measure, randomize=seed) for seed in range(protocol.twins)),
                marked,
            )
        )
    return found


def _marked(model: Any, pattern: str) -> frozenset[str]:
    """The paths of the layers that a pattern is about, where the architecture says it."""
    if pattern != "pre-skip":
        return frozenset()
    return frozenset(w.path for w in resolve_placement(model, "pre_skip", regularizer=ConvCornerEntropy(1.0)))


def convolutions(model: Any) -> Any:
    """A functional model up to what its first Dense layer reads; another one as it is."""
    dense = next((layer for layer in model.layers if isinstance(layer, keras.layers.Dense)), None)
    return model if dense is None else keras.Model(model.inputs, dense.input, name=model.name)


def _count(networks: Sequence[Any]) -> str:
    return f"{len(networks)} network{'' if len(networks) == 1 else 's'}"


def _run(name: str) -> Callable[[Settings], Outcome]:
    def run(settings: Settings) -> Outcome:
        return reproduced(name, settings, FULL if settings.scale == "full" else SMALL)

    return run


def _run_unets(settings: Settings) -> Outcome:
    if settings.scale == "full":
        return unets(settings, FULL, segmentation.FULL)
    return unets(settings, SMALL, segmentation.SMALL)


ENTRIES = {
    "a-fig1": Entry(
        name="a-fig1",
        title="Entropy profile of VGG-16, trained and random",
        claim="A trained VGG-16 keeps most of its entropy in the early layers (about -2.2 nats per filter in the "
        "first, -5.5 late), which a random network does less; it has few outliers, a random one far more (figure 1, "
        "section 5).",
        run=_run("a-fig1"),
    ),
    "a-fig8": Entry(
        name="a-fig8",
        title="Entropy profile of ResNet-50",
        claim="ResNet-50 preserves entropy before its skip connections (figure 8, sections 5.4 and 6).",
        run=_run("a-fig8"),
    ),
    "a-fig9": Entry(
        name="a-fig9",
        title="Entropy profile of a U-Net trained on masks",
        claim='The entropy change of a trained U-Net has a distinct "U" shape: it keeps entropy at the beginning and '
        "the end (figure 9, sections 5.5 and 6).",
        run=_run_unets,
    ),
}
