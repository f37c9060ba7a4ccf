"""Figures 3 to 6 of source A: autoencoders with the reciprocal of a determinant in the loss, stopped early.

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks", section 5.2.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_entropy import DenseEntropy, models
from keras_entropy._checks import EntropyWarning
from keras_entropy._files import PARTIAL
from keras_entropy.study import Arm, Study
from keras_entropy.study.records import RunRecord
from reproduction import autoencoder_page, published
from reproduction.entries import Entry, Outcome, Settings
from reproduction.image_data import Images, images
from reproduction.protocol import choices, less, scaled
from reproduction.study_runs import trained as records_of

NONE, RECIPROCAL, CONSTANT, LOG = "none", "eq. 24", "constant", "eq. 21"
MONITORS = ("val_loss", "val_task_loss")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """How the autoencoders are trained [A, section 5.2]."""

    train: int = scaled("Training images")
    test: int = scaled("Validation images")
    side: int = scaled("Pixels of a side")
    widths: tuple[int, ...] = scaled("Latent widths")
    factors: tuple[float, ...] = scaled("Values of lambda besides 0")
    seeds: int = scaled("Seeds")
    patience: int = scaled("Patience of early stopping")
    epochs: int = scaled("Limit of epochs", ours=True)
    batch_size: int = scaled("Batch size", ours=True)
    learning_rate: float = scaled("Learning rate of Adam", ours=True)
    epsilon: float = scaled("Epsilon of eq. 24 (the paper: below 0.001)", ours=True)
    log_factors: tuple[float, ...] = scaled("Values of lambda for eq. 21, stopped on the task alone", ours=True)


FULL = Protocol(
    train=60000, test=10000, side=28, widths=published.WIDTHS, factors=published.FACTORS, seeds=10, patience=7,
    epochs=200, batch_size=32, learning_rate=1e-3, epsilon=1e-7, log_factors=(1e-4, 1e-3, 1e-2),
)  # fmt: skip
SMALL = Protocol(
    train=2000, test=500, side=28, widths=(20, 60, 180), factors=(1e-4, 1e-2, 1.0), seeds=3, patience=7, epochs=40,
    batch_size=64, learning_rate=3e-3, epsilon=1e-7, log_factors=(1e-4,),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Case:
    """One data set, with the names of its prepared sets."""

    sets: tuple[str, ...]
    full: Protocol
    small: Protocol


CASES = {
    "MNIST": Case(("mnist",), FULL, SMALL),
    "CIFAR-10": Case(
        ("cifar10", "cifar10_small"),
        dataclasses.replace(FULL, train=50000, side=32),
        dataclasses.replace(SMALL, side=16),
    ),
}
PARTNERS = {"a-fig3": "a-fig4", "a-fig4": "a-fig3", "a-fig5": "a-fig6", "a-fig6": "a-fig5"}
"""The figures that show other numbers of the same runs."""


def build(shape: Sequence[int], learning_rate: float, width: int) -> Any:
    """The compiled autoencoder."""
    model = models.autoencoder(shape, width)
    model.compile(keras.optimizers.Adam(learning_rate), "mse")
    return model


def reciprocal(epsilon: float) -> Callable[[float], Any]:
    """Eq. 24 of a factor."""
    return functools.partial(DenseEntropy, epsilon=epsilon, form="reciprocal", block="leading", reduction="sum")


def arms(protocol: Protocol, monitor: str) -> list[Arm]:
    """No term and eq. 24; stopped on all of the loss also its number as a constant, stopped on the task also eq. 21.

    Stopped on the task a constant is no term at all; stopped on all of the loss, eq. 21 never ends, since it has no
    minimum.
    """
    term, factors = reciprocal(protocol.epsilon), {"factor": protocol.factors}
    found = [Arm(NONE), Arm(RECIPROCAL, "first", term, grid=factors)]
    if monitor == "val_loss":
        return [*found, Arm(CONSTANT, "first", term, constant=True, grid=factors)]
    log = functools.partial(DenseEntropy, block="leading", reduction="sum")
    return [*found, *([Arm(LOG, "first", log, grid={"factor": protocol.log_factors})] if protocol.log_factors else [])]


def study(protocol: Protocol, data: Images, monitor: str, output: Path) -> tuple[Study, tuple[str, ...]]:
    """The study with early stopping on `monitor`, and what it warns of, which belongs on the page."""
    x, x_val = data.data.x_train, data.data.x_test
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", EntropyWarning)
        made = Study(
            functools.partial(build, data.shape, protocol.learning_rate),
            arms(protocol, monitor),
            range(protocol.seeds),
            data=(x, x, x_val, x_val),
            grid={"width": protocol.widths},
            epochs=protocol.epochs,
            batch_size=protocol.batch_size,
            patience=protocol.patience,
            monitor=monitor,
            output=output,
        )
    for warning in caught:
        if not issubclass(warning.category, EntropyWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return made, tuple(str(w.message) for w in caught if issubclass(w.category, EntropyWarning))


def trained(
    protocol: Protocol, data: Images, settings: Settings, partner: str = ""
) -> tuple[dict[str, list[RunRecord]], tuple[str, ...]]:
    """The records by what early stopping watched, and the warnings of the studies."""
    records: dict[str, list[RunRecord]] = {}
    said: list[str] = []
    for monitor in MONITORS:
        made, warned = study(protocol, data, monitor, settings.output / monitor)
        said += warned
        if partner:
            borrow(made, settings.output.resolve().parent / partner / monitor)
        records[monitor] = records_of(made, settings)
    return records, tuple(said)


def borrow(made: Study, source: Path) -> bool:
    """Copy the records of the same study from another folder; True if there were any.

    Figures 3 and 4, and 5 and 6, show two numbers of the same runs: the second takes them from the folder of the first
    where both stand side by side.
    """
    target, runs = made.output, source / "runs.jsonl"
    if target is None or target.exists() or not runs.exists():
        return False
    try:
        described = json.loads((source / "study.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if described != json.loads(json.dumps(made.describe())):
        return False
    partial = target.with_name(f"{PARTIAL}{target.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name in ("runs.jsonl", "study.json"):
        shutil.copyfile(source / name, partial / name)
    partial.rename(target)
    return True


def run(settings: Settings, *, name: str, case: str, protocol: Protocol | None = None) -> Outcome:
    """Train, or take the runs of the partner figure, and write the page of a figure."""
    chosen = CASES[case]
    own = protocol or (chosen.small if settings.scale == "small" else chosen.full)
    own = dataclasses.replace(own, seeds=settings.seeds or own.seeds)
    data = images(settings, chosen.sets, own.train, own.test, own.side)
    records, warned = trained(own, data, settings, PARTNERS[name])
    findings = autoencoder_page.Findings(
        name=name,
        data=case if data.name == chosen.sets[0] else data.name,
        records=records,
        factors=own.factors,
        widths=own.widths,
        epsilon=own.epsilon,
        epochs=own.epochs,
        warned=warned,
        chosen=choices(own),
    )
    return Outcome(
        reduced=(*less(own, chosen.full), *data.reduced),
        blocks=autoencoder_page.blocks(findings),
        verdicts=autoencoder_page.verdicts(findings),
    )


def _entry(name: str, title: str, case: str) -> Entry:
    return Entry(name=name, title=title, claim=published.CLAIMS[name], run=functools.partial(run, name=name, case=case))


ENTRIES = {
    entry.name: entry
    for entry in (
        _entry("a-fig3", "validation MSE of MNIST autoencoders by latent width and lambda", "MNIST"),
        _entry("a-fig4", "stopping epochs of MNIST autoencoders by latent width and lambda", "MNIST"),
        _entry("a-fig5", "validation MSE of CIFAR-10 autoencoders by latent width and lambda", "CIFAR-10"),
        _entry("a-fig6", "stopping epochs of CIFAR-10 autoencoders by latent width and lambda", "CIFAR-10"),
    )
}
