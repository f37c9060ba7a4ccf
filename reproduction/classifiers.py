"""Table 1 of source A: CNNs with the corner of each filter in the loss, and how their lambda is chosen.

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks", section 5.3.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import keras

from keras_entropy import ConvCornerEntropy, models
from keras_entropy.study import Arm, Study
from reproduction import classifier_page, published
from reproduction.entries import Entry, Outcome, Settings
from reproduction.image_data import Images, images
from reproduction.protocol import choices, less, scaled
from reproduction.study_runs import trained

FORMS = {"eq. 25": "reciprocal", "eq. 23": "log"}
PLACEMENTS = ("first", "all")
TUNE_FROM = 1000
"""The first of the seeds that choose a lambda; those that are compared start at 0."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """How the CNNs are trained [A, section 5.3]."""

    train: int = scaled("Training images")
    test: int = scaled("Validation images")
    side: int = scaled("Pixels of a side")
    architectures: tuple[str, ...] = scaled("Filters of the blocks")
    factors: tuple[float, ...] = scaled("Values of lambda besides 0")
    seeds: int = scaled("Seeds")
    tune_seeds: int = scaled("Further seeds that choose lambda", ours=True)
    epochs: int = scaled("Epochs", ours=True)
    batch_size: int = scaled("Batch size", ours=True)
    learning_rate: float = scaled("Learning rate of Adam", ours=True)
    epsilon: float = scaled("Epsilon of eq. 25 (the paper: below 0.001)", ours=True)


FULL = Protocol(
    train=50000, test=10000, side=32, architectures=published.ARCHITECTURES, factors=published.FACTORS, seeds=10,
    tune_seeds=5, epochs=20, batch_size=32, learning_rate=1e-3, epsilon=1e-4,
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
    """No term, and both forms on the first layer and on all."""
    grid = {"factor": protocol.factors}
    found = [Arm("none")]
    for equation, form in FORMS.items():
        term = functools.partial(ConvCornerEntropy, epsilon=protocol.epsilon, form=form, reduction="sum")
        found += [Arm(f"{equation} on {placement}", placement, term, grid=grid) for placement in PLACEMENTS]
    return found


def study(protocol: Protocol, data: Images, settings: Settings) -> Study:
    """Every lambda on every seed, so that it can be chosen in both ways."""
    tune = range(TUNE_FROM, TUNE_FROM + protocol.tune_seeds)
    return Study(
        functools.partial(build, data.shape, int(data.data.y_train.max()) + 1, protocol.learning_rate),
        arms(protocol),
        [*range(protocol.seeds), *tune],
        data=tuple(data.data),
        grid={"filters": protocol.architectures},
        epochs=protocol.epochs,
        batch_size=protocol.batch_size,
        metric="val_accuracy",
        output=settings.output / "cnn",
    )


def run(settings: Settings, *, protocol: Protocol | None = None) -> Outcome:
    """Train, choose lambda in both ways, and write the page of the table."""
    own = protocol or (SMALL if settings.scale == "small" else FULL)
    own = dataclasses.replace(own, seeds=settings.seeds or own.seeds)
    data = images(settings, ("cifar10", "cifar10_small"), own.train, own.test, own.side)
    replicas = 24 if keras.backend.backend() == "jax" else 1
    records = trained(study(own, data, settings), settings, replicas)
    found = classifier_page.Findings(
        records=tuple(records),
        data=data.name,
        tune_from=TUNE_FROM,
        architectures=own.architectures,
        factors=own.factors,
        chosen=choices(own),
    )
    return Outcome(
        reduced=(*less(own, FULL), *data.reduced),
        blocks=classifier_page.blocks(found),
        verdicts=classifier_page.verdicts(found),
    )


ENTRIES = {
    "a-table1": Entry(
        name="a-table1",
        title="CNNs on CIFAR-10: the best lambda, chosen on the tested seeds and on others",
        claim=published.CLAIMS["a-table1"],
        run=run,
    )
}
