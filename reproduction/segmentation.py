"""U-Nets with the corner term before their concatenations (Meni et al., 2023, section 5.5, table 3, figure 10)."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_entropy import models
from keras_entropy.study import Arm, RunRecord, Study
from reproduction import segmentation_page
from reproduction.entries import Outcome, Settings
from reproduction.image_folders import FolderData, mask_data
from reproduction.networks import corner_term
from reproduction.paper_numbers import meni
from reproduction.protocol import differences, own_choices, parameter, select
from reproduction.segmentation_page import BASELINE, METRIC, TERM, Stopping, Table3
from reproduction.study_runs import run_study
from reproduction.trained_weights import KEPT, WeightSaving, restored


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """How the U-Nets are trained."""

    height: int = parameter("Pixels in height")
    width: int = parameter("Pixels in width")
    images: int | None = parameter("Training images at most")
    filters: tuple[int, ...] = parameter("Filters of the levels")
    factors: tuple[float, ...] = parameter("Values of lambda besides 0")
    seeds: int = parameter("Seeds")
    min_delta: float = parameter("Smallest change of the loss that counts as an improvement")
    patience: int = parameter("Patience in epochs")
    epochs: int = parameter("Epochs that are trained", ours=True)
    batch_size: int = parameter("Batch size", ours=True)
    learning_rate: float = parameter("Learning rate of Adam", ours=True)
    epsilon: float = parameter("Epsilon of eq. 25 (the paper: below 0.001)", ours=True)


_PAPER = meni("a-table3")
FULL = Protocol(
    height=256, width=256, images=None, filters=(64, 128, 256, 512),
    factors=tuple(row["factor"] for row in _PAPER["rows"][1:]), seeds=1, min_delta=0.01, patience=10, epochs=60,
    batch_size=32, learning_rate=1e-3, epsilon=1e-4,
)  # fmt: skip
SMALL = dataclasses.replace(
    FULL, height=48, width=64, images=150, filters=(8, 16, 32), factors=(1e-3, 1e-1, 10.0), seeds=4, min_delta=0.002,
    patience=5, epochs=30, batch_size=8,
)  # fmt: skip


def network(height: int, width: int, filters: Sequence[int], learning_rate: float) -> Any:
    """A compiled U-Net for one mask, with the mean squared error as its loss."""
    model = models.unet((height, width, 3), 1, filters)
    metrics = [
        keras.metrics.BinaryAccuracy(name="accuracy"),
        keras.metrics.BinaryIoU(target_class_ids=[1], threshold=0.5, name="iou"),
    ]
    model.compile(keras.optimizers.Adam(learning_rate), "mse", metrics=metrics)
    return model


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """A study of U-Nets and its final weights.

    Attributes:
        records: Records of the runs.
        build: Makes the network.
        data: Images and masks.
        folder: Folder of the weights.
        reduced: Sentences that say how the data differ from the paper's.
    """

    records: list[RunRecord]
    build: Callable[[], Any]
    data: FolderData
    folder: Path
    reduced: tuple[str, ...]

    def model(self, record: RunRecord) -> Any:
        """The network that a run ended with; None if it did not finish."""
        return restored(self.build(), record, self.folder)

    def masks(self, images: int = 3) -> list[tuple[str, Any]]:
        """Columns of figure 10: test images, true masks, and masks of the first seed's network at each lambda."""
        data = self.data.load()
        at = [(2 * i + 1) * len(data.x_test) // (2 * images) for i in range(images)]
        x = data.x_test[at]
        columns: list[tuple[str, Any]] = [("image", x), ("true mask", data.y_test[at][..., 0])]
        first = min(record.seed for record in self.records)
        for record in sorted(self.records, key=lambda r: r.point.get("factor", 0.0)):
            model = self.model(record) if record.seed == first else None
            if model is not None:
                found = keras.ops.convert_to_numpy(model(keras.ops.convert_to_tensor(x), training=False))
                columns.append((f"lambda {record.point.get('factor', 0):g}", found[..., 0] > 0.5))
        return columns


def run(name: str, settings: Settings) -> Outcome:
    """Train the U-Nets and analyse when training would stop, and what it has reached then."""
    protocol = select(settings, SMALL, FULL)
    trained = train(settings, protocol)
    table = Table3(tuple(trained.records), Stopping(protocol.patience, protocol.min_delta), protocol.factors)
    return Outcome(
        reduced=(*differences(protocol, dataclasses.replace(FULL, seeds=protocol.seeds)), *trained.reduced),
        blocks=tuple(segmentation_page.blocks(table, trained.masks(), own_choices(protocol))),
        conclusions=tuple(segmentation_page.conclusions(table)),
    )


def train(settings: Settings, protocol: Protocol) -> Trained:
    """Train the U-Nets of a protocol."""
    data = mask_data(settings, protocol.height, protocol.width, protocol.images)
    reduced = _fewer_images(data)  # reads the data: faulty ones raise here, not in each run
    build = functools.partial(network, protocol.height, protocol.width, protocol.filters, protocol.learning_rate)
    weights = settings.output / KEPT
    arms = [Arm(BASELINE)]
    if protocol.factors:
        arms.append(Arm(TERM, "pre_concat", corner_term(protocol.epsilon), grid={"factor": protocol.factors}))
    study = Study(
        build,
        arms,
        range(protocol.seeds),
        data=data.load,
        output=settings.output / "study",
        epochs=protocol.epochs,
        batch_size=protocol.batch_size,
        metric=METRIC,
        callbacks=WeightSaving(weights),
    )
    records = run_study(study, settings)
    return Trained(records=records, build=build, data=data, folder=weights, reduced=reduced)


def _fewer_images(data: FolderData) -> tuple[str, ...]:
    train, test = data.counts
    paper = (_PAPER["train_images"], _PAPER["validation_images"])
    if data.folder is None:
        return (
            f"No folder of masks was named. The images are {train} and {test} handwritten digits of scikit-learn, "
            "enlarged, and the masks are their strokes.",
        )
    if data.counts < paper:
        return (f"Images: {train} to train and {test} to validate on; the paper has {paper[0]} and {paper[1]} (COCO).",)
    return ()
