"""CNNs with the corner term of each filter in the loss (Meni et al., 2023, section 5.3, table 1)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import keras

from keras_entropy import models
from keras_entropy.study import Arm, Study
from reproduction import classifier_page
from reproduction.classifier_page import BASELINE, VALIDATION
from reproduction.entries import Outcome, Settings
from reproduction.image_data import Images, images
from reproduction.networks import corner_term
from reproduction.paper_numbers import meni
from reproduction.protocol import differences, own_choices, parameter, select
from reproduction.study_runs import run_study

FORMS = {"eq. 25": "reciprocal", "eq. 23": "log"}
PLACEMENTS = ("first", "all")
TUNE_FROM = 1000
"""The first of the seeds that choose lambda; the compared seeds start at 0."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """How the CNNs are trained."""

    train: int = parameter("Training images")
    test: int = parameter("Validation images")
    side: int = parameter("Pixels of a side")
    architectures: tuple[str, ...] = parameter("Filters of the blocks")
    factors: tuple[float, ...] = parameter("Values of lambda besides 0")
    seeds: int = parameter("Seeds")
    tune_seeds: int = parameter("Further seeds that choose lambda", ours=True)
    epochs: int = parameter("Epochs", ours=True)
    batch_size: int = parameter("Batch size", ours=True)
    learning_rate: float = parameter("Learning rate of Adam", ours=True)
    epsilon: float = parameter("Epsilon of eq. 25 (the paper: below 0.001)", ours=True)


_PAPER = meni("a-table1")
FULL = Protocol(
    train=50000, test=10000, side=32, architectures=tuple(_PAPER["architectures"]), factors=tuple(_PAPER["factors"]),
    seeds=10, tune_seeds=5, epochs=20, batch_size=32, learning_rate=1e-3, epsilon=1e-4,
)  # fmt: skip
SMALL = Protocol(
    train=1500, test=1000, side=16, architectures=("32", "32 32", "32 32 32"), factors=(1e-3, 1e-1, 10.0), seeds=4,
    tune_seeds=2, epochs=5, batch_size=50, learning_rate=3e-3, epsilon=1e-4,
)  # fmt: skip


def build(shape: Sequence[int], classes: int, learning_rate: float, filters: str) -> Any:
    """The compiled CNN; `filters` are those of its blocks, such as "32 32"."""
    model = models.cnn(shape, classes, [int(count) for count in filters.split()])
    model.compile(keras.optimizers.Adam(learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def arms(protocol: Protocol) -> list[Arm]:
    """The baseline, and both forms of the term on the first layer and on all layers."""
    grid = {"factor": protocol.factors}
    found = [Arm(BASELINE)]
    for equation, form in FORMS.items():
        term = corner_term(protocol.epsilon, form)
        found += [Arm(f"{equation} on {placement}", placement, term, grid=grid) for placement in PLACEMENTS]
    return found


def study(protocol: Protocol, data: Images, settings: Settings) -> Study:
    """The study: every lambda on every seed, so that lambda can be chosen in both ways."""
    tune = range(TUNE_FROM, TUNE_FROM + protocol.tune_seeds)
    return Study(
        functools.partial(build, data.shape, int(data.data.y_train.max()) + 1, protocol.learning_rate),
        arms(protocol),
        [*range(protocol.seeds), *tune],
        data=tuple(data.data),
        grid={"filters": protocol.architectures},
        epochs=protocol.epochs,
        batch_size=protocol.batch_size,
        metric=VALIDATION,
        output=settings.output / "cnn",
    )


def run(name: str, settings: Settings) -> Outcome:
    """Train the CNNs, choose lambda in both ways, and analyse the gains."""
    protocol = select(settings, SMALL, FULL)
    data = images(settings, ("cifar10", "cifar10_small"), protocol.train, protocol.test, protocol.side)
    findings = classifier_page.Findings(
        records=tuple(run_study(study(protocol, data, settings), settings)),
        data=data.name,
        tune_from=TUNE_FROM,
        architectures=protocol.architectures,
        factors=protocol.factors,
        choices=own_choices(protocol),
    )
    return Outcome(
        reduced=(*differences(protocol, FULL), *data.reduced),
        blocks=classifier_page.blocks(findings),
        conclusions=classifier_page.conclusions(findings),
    )
