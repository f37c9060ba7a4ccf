"""Table 3 and figure 10 of source A: U-Nets that find a mask, with the corner term on the layers before concatenations.

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks", section 5.5.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_entropy import ConvCornerEntropy, models
from keras_entropy.study import Arm, Study
from keras_entropy.study.records import RunRecord
from reproduction import image_folders, segmentation_page, trained_weights
from reproduction.entries import Entry, Outcome, Settings
from reproduction.protocol import choices, less, scaled
from reproduction.segmentation_page import BASELINE, METRIC, TERM, Stopping, Tried
from reproduction.study_runs import trained

COCO = (60000, 10000)
"""Images to train and to validate on in the paper."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Protocol:
    """How the U-Nets are trained [A, section 5.5]."""

    height: int = scaled("Pixels in height")
    width: int = scaled("Pixels in width")
    images: int | None = scaled("Training images at most")
    filters: tuple[int, ...] = scaled("Filters of the levels")
    factors: tuple[float, ...] = scaled("Values of lambda besides 0")
    seeds: int = scaled("Seeds")
    min_delta: float = scaled("Smallest change of the loss that counts as an improvement")
    patience: int = scaled("Patience in epochs")
    epochs: int = scaled("Epochs that are trained", ours=True)
    batch_size: int = scaled("Batch size", ours=True)
    learning_rate: float = scaled("Learning rate of Adam", ours=True)
    epsilon: float = scaled("Epsilon of eq. 25 (the paper: below 0.001)", ours=True)


FULL = Protocol(
    height=256, width=256, images=None, filters=(64, 128, 256, 512), factors=(1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0),
    seeds=1, min_delta=0.01, patience=10, epochs=60, batch_size=32, learning_rate=1e-3, epsilon=1e-4,
)  # fmt: skip
SMALL = dataclasses.replace(
    FULL, height=48, width=64, images=150, filters=(8, 16, 32), factors=(1e-3, 1e-1, 10.0), seeds=4, min_delta=0.002,
    patience=5, epochs=30, batch_size=8,
)  # fmt: skip


def network(height: int, width: int, filters: Sequence[int], learning_rate: float) -> Any:
    """A compiled U-Net for one mask, with the squared error as its loss."""
    model = models.unet((height, width, 3), 1, filters)
    metrics = [
        keras.metrics.BinaryAccuracy(name="accuracy"),
        keras.metrics.BinaryIoU(target_class_ids=[1], threshold=0.5, name="iou"),
    ]
    model.compile(keras.optimizers.Adam(learning_rate), "mse", metrics=metrics)
    return model


def run(settings: Settings) -> Outcome:
    """Train and compare at the scale of the settings."""
    return reproduced(settings, FULL if settings.scale == "full" else SMALL)


def reproduced(settings: Settings, protocol: Protocol) -> Outcome:
    """Train and compare by a protocol."""
    protocol = dataclasses.replace(protocol, seeds=settings.seeds or protocol.seeds)
    trained = train(settings, protocol)
    stopping = Stopping(protocol.patience, protocol.min_delta)
    tried = Tried(tuple(trained.records), stopping, protocol.factors)
    return Outcome(
        reduced=(*less(protocol, dataclasses.replace(FULL, seeds=protocol.seeds)), *trained.reduced),
        blocks=tuple(segmentation_page.blocks(tried, trained.masks(), choices(protocol))),
        verdicts=tuple(segmentation_page.verdicts(tried)),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """A study of U-Nets and its kept weights.

    Attributes:
        records: of the runs.
        build: makes the network.
        data: gives images and masks.
        folder: of the weights.
        reduced: what the data are less than the paper's, each a sentence.
    """

    records: list[RunRecord]
    build: Callable[[], Any]
    data: Callable[[], Any]
    folder: Path
    reduced: tuple[str, ...]

    def model(self, record: RunRecord) -> Any:
        """The network that a run ended with; None for one that did not finish."""
        return trained_weights.restored(self.build(), record, self.folder)

    def masks(self, images: int = 3) -> list[tuple[str, Any]]:
        """Figure 10: images, true masks, and those of the first seed's networks at each lambda."""
        data = self.data()
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


def train(settings: Settings, protocol: Protocol, factors: Sequence[float] | None = None) -> Trained:
    """Train the U-Nets of a protocol, or of it with other values of lambda."""
    folder = image_folders.find(settings, image_folders.MASKS)
    data = functools.partial(
        image_folders.masks, None if folder is None else str(folder), protocol.height, protocol.width, protocol.images
    )
    counts = (len(data().x_train), len(data().x_test))  # bad data are an error now, not one of each run
    build = functools.partial(network, protocol.height, protocol.width, protocol.filters, protocol.learning_rate)
    weights = settings.output / trained_weights.FOLDER
    arms = [Arm(BASELINE)]
    values = protocol.factors if factors is None else tuple(factors)
    if values:
        term = functools.partial(ConvCornerEntropy, epsilon=protocol.epsilon, reduction="sum", form="reciprocal")
        arms.append(Arm(TERM, "pre_concat", term, grid={"factor": values}))
    study = Study(
        build,
        arms,
        range(protocol.seeds),
        data=data,
        output=settings.output / "study",
        epochs=protocol.epochs,
        batch_size=protocol.batch_size,
        metric=METRIC,
        callbacks=trained_weights.Keeping(weights),
    )
    records = trained(study, settings)
    reduced: tuple[str, ...] = ()
    if folder is None:
        reduced = (
            f"No folder of masks was named: the images are {counts[0]} and {counts[1]} handwritten digits of "
            "scikit-learn, enlarged, and the masks their strokes.",
        )
    elif counts < COCO:
        reduced = (
            f"Images: {counts[0]} to train and {counts[1]} to validate on; the paper has {COCO[0]} and {COCO[1]} "
            "(COCO).",
        )
    return Trained(records=records, build=build, data=data, folder=weights, reduced=reduced)


ENTRIES = {
    "a-table3": Entry(
        name="a-table3",
        title="U-Net with the corner term before its concatenations",
        claim="With the term the accuracy is always greater and the intersection over union nearly always; at one "
        "lambda training takes about 10 % less; too large a lambda takes far longer (table 3, section 5.5).",
        run=run,
    )
}
