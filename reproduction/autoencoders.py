"""Autoencoders with the determinant term and early stopping (Meni et al., 2023, section 5.2, figures 3 to 6)."""

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

from keras_entropy import DenseEntropy, EntropyWarning, models
from keras_entropy.study import Arm, RunRecord, Study
from reproduction import autoencoder_page
from reproduction.autoencoder_page import CONSTANT, LOG, NONE, RECIPROCAL
from reproduction.entries import Outcome, Settings
from reproduction.image_data import Images, images
from reproduction.output_folder import PARTIAL
from reproduction.paper_numbers import meni
from reproduction.protocol import differences, own_choices, parameter, select
from reproduction.study_runs import run_study

MONITORS = ("val_loss", "val_task_loss")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """How the autoencoders are trained."""

    train: int = parameter("Training images")
    test: int = parameter("Validation images")
    side: int = parameter("Pixels of a side")
    widths: tuple[int, ...] = parameter("Latent widths")
    factors: tuple[float, ...] = parameter("Values of lambda besides 0")
    seeds: int = parameter("Seeds")
    patience: int = parameter("Patience of early stopping")
    epochs: int = parameter("Limit of epochs", ours=True)
    batch_size: int = parameter("Batch size", ours=True)
    learning_rate: float = parameter("Learning rate of Adam", ours=True)
    epsilon: float = parameter("Epsilon of eq. 24 (the paper: below 0.001)", ours=True)
    log_factors: tuple[float, ...] = parameter("Values of lambda for eq. 21, stopped on the task alone", ours=True)


_PAPER = meni("autoencoders")
FULL = Protocol(
    train=60000, test=10000, side=28, widths=tuple(_PAPER["widths"]), factors=tuple(_PAPER["factors"]), seeds=10,
    patience=7, epochs=200, batch_size=32, learning_rate=1e-3, epsilon=1e-7, log_factors=(1e-4, 1e-3, 1e-2),
)  # fmt: skip
SMALL = Protocol(
    train=2000, test=500, side=28, widths=(20, 60, 180), factors=(1e-4, 1e-2, 1.0), seeds=3, patience=7, epochs=40,
    batch_size=64, learning_rate=3e-3, epsilon=1e-7, log_factors=(1e-4,),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Case:
    """A data set.

    Attributes:
        data: Its name on the page.
        sets: Names of its prepared sets, the whole one first.
        full: Protocol of the paper.
        small: Protocol of the small scale.
    """

    data: str
    sets: tuple[str, ...]
    full: Protocol
    small: Protocol


MNIST = Case("MNIST", ("mnist",), FULL, SMALL)
CIFAR10 = Case(
    "CIFAR-10",
    ("cifar10", "cifar10_small"),
    dataclasses.replace(FULL, train=50000, side=32),
    dataclasses.replace(SMALL, side=16),
)
CASES = {"a-fig3": MNIST, "a-fig4": MNIST, "a-fig5": CIFAR10, "a-fig6": CIFAR10}
PARTNERS = {"a-fig3": "a-fig4", "a-fig4": "a-fig3", "a-fig5": "a-fig6", "a-fig6": "a-fig5"}
"""Figures that show another number of the same runs."""


def build(shape: Sequence[int], learning_rate: float, width: int) -> Any:
    """The compiled autoencoder of a latent width."""
    model = models.autoencoder(shape, width)
    model.compile(keras.optimizers.Adam(learning_rate), "mse")
    return model


def determinant_term(epsilon: float) -> Callable[[float], Any]:
    """Makes the reciprocal term of a factor (Meni et al., 2023, eq. 24)."""
    return functools.partial(DenseEntropy, epsilon=epsilon, form="reciprocal", block="leading", reduction="sum")


def arms(protocol: Protocol, monitor: str) -> list[Arm]:
    """The baseline, eq. 24, and one more arm.

    Stopped on the whole loss, the third arm is a constant of the size of eq. 24; stopped on the task alone, such a
    constant would equal the baseline, and the third arm is eq. 21. Stopped on the whole loss, eq. 21 would train to the
    limit of epochs, because it has no minimum.
    """
    term, factors = determinant_term(protocol.epsilon), {"factor": protocol.factors}
    found = [Arm(NONE), Arm(RECIPROCAL, "first", term, grid=factors)]
    if monitor == "val_loss":
        return [*found, Arm(CONSTANT, "first", term, constant=True, grid=factors)]
    log = functools.partial(DenseEntropy, block="leading", reduction="sum")
    return [*found, *([Arm(LOG, "first", log, grid={"factor": protocol.log_factors})] if protocol.log_factors else [])]


def study(protocol: Protocol, data: Images, monitor: str, output: Path | None) -> tuple[Study, tuple[str, ...]]:
    """The study of one monitor of early stopping, and its warnings, which the page prints."""
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


def borrow(made: Study, source: Path) -> bool:
    """Copy the records of the same study from another folder.

    Args:
        made: The study. Its own records, if there are any, stay.
        source: Folder with `study.json` and `runs.jsonl`.

    Returns:
        Whether records were copied.
    """
    target, runs = made.output, source / "runs.jsonl"
    if target is None or target.exists() or not runs.exists():
        return False
    try:
        described = json.loads((source / "study.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    own = json.loads(json.dumps(made.describe()))
    if {name: described.get(name) for name in own} != own:  # the file has its schema and checksum too
        return False
    partial = target.with_name(f"{PARTIAL}{target.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name in ("runs.jsonl", "study.json"):
        shutil.copyfile(source / name, partial / name)
    partial.rename(target)
    return True


def run(name: str, settings: Settings) -> Outcome:
    """Train the runs of a figure, or take those of its partner from the folder beside it, and analyse them."""
    case = CASES[name]
    protocol = select(settings, case.small, case.full)
    data = images(settings, case.sets, protocol.train, protocol.test, protocol.side)
    records: dict[str, list[RunRecord]] = {}
    warned: list[str] = []
    for monitor in MONITORS:
        made, said = study(protocol, data, monitor, settings.output / monitor)
        warned += said
        borrow(made, settings.output.resolve().parent / PARTNERS[name] / monitor)
        records[monitor] = run_study(made, settings)
    findings = autoencoder_page.Findings(
        name=name,
        data=case.data if data.name == case.sets[0] else data.name,
        records=records,
        factors=protocol.factors,
        widths=protocol.widths,
        epsilon=protocol.epsilon,
        epochs=protocol.epochs,
        warned=tuple(warned),
        choices=own_choices(protocol),
    )
    return Outcome(
        reduced=(*differences(protocol, case.full), *data.reduced),
        blocks=autoencoder_page.blocks(findings),
        conclusions=autoencoder_page.conclusions(findings),
    )
