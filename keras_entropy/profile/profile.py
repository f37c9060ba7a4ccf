"""The entropy profile of a model: what every weight does to entropy, kept, compared and drawn.

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks".
"""

from __future__ import annotations

import dataclasses
import json
import math
import numbers
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_entropy import _checks, _files, _optional
from keras_entropy.profile import random_copy
from keras_entropy.profile.comparison import Comparison, compare, frame_of
from keras_entropy.profile.measure import MEASURES, measure_weight
from keras_entropy.profile.weights import MeasurableWeight, SkippedWeight, inventory

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SCHEMA = "keras-entropy/profile/1"


@dataclasses.dataclass(frozen=True)
class ProfileRecord:
    """One weight of a model.

    Attributes:
        path: names of the layers from the model down, joined by "/"; the weight's name too where a layer has several.
        kind: class name of the layer.
        shape: of the weight.
        mean: of `values`, in nats; None where the weight is skipped.
        values: per filter, dimension or output, as `unit` says; for a weight of several pieces those of each in turn.
        unit: "nats per filter", "nats per dimension" or "nats per output"; None where the weight is skipped.
        pieces: the means of the heads of an attention projection, or of the gates of a recurrent kernel.
        skipped: the reason why the weight is not measured; None where it is.
    """

    path: str
    kind: str
    shape: tuple[int, ...]
    mean: float | None = None
    values: tuple[float, ...] = ()
    unit: str | None = None
    pieces: Mapping[str, float] = dataclasses.field(default_factory=dict)
    skipped: str | None = None


@dataclasses.dataclass(frozen=True)
class EntropyProfile:
    """The change of entropy that each weight of a model makes.

    Attributes:
        model: name of the model.
        measure: "corner", "log_volume" or "total_correlation".
        randomize: the seed of a random twin; None for the model as it is.
        records: one `ProfileRecord` for each weight, in the order of the layers.
    """

    model: str
    measure: str
    randomize: int | None
    records: tuple[ProfileRecord, ...]

    @property
    def measured(self) -> tuple[ProfileRecord, ...]:
        """The records of the weights that are measured."""
        return tuple(record for record in self.records if record.skipped is None)

    def __getitem__(self, path: str) -> ProfileRecord:
        """The record of a path; `KeyError` if there is none."""
        for record in self.records:
            if record.path == path:
                return record
        raise KeyError(f"{path!r}; the profile has {', '.join(record.path for record in self.records) or 'no records'}")

    def compare(self, other: EntropyProfile) -> Comparison:
        """This profile beside another one of the same architecture and measure, such as its random twin.

        Args:
            other: the profile that is subtracted.

        Returns:
            A `Comparison`. Weights that only one of the two has measured are listed with the reason.

        Raises:
            TypeError: if `other` is no `EntropyProfile`.
            ValueError: for profiles of different measures, or without a common path.

        Examples:
            >>> import keras
            >>> from keras_entropy import entropy_profile
            >>> model = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Conv2D(16, 3, name="a")])
            >>> comparison = entropy_profile(model).compare(entropy_profile(model, randomize=0))
            >>> [difference.path for difference in comparison.differences]
            ['a']
        """
        if not isinstance(other, EntropyProfile):
            raise TypeError(_checks.message("other", "an EntropyProfile", other))
        if self.measure != other.measure:
            raise ValueError(f"The profiles should have one measure. Received: {self.measure!r} and {other.measure!r}.")
        return compare(self, other)

    def to_frame(self) -> pd.DataFrame:
        """A pandas data frame, one row per weight: path, kind, shape, mean, values, unit, pieces, skipped."""
        return frame_of(ProfileRecord, self.records).astype({"mean": float})

    def plot(self, other: EntropyProfile | None = None, path: str | os.PathLike[str] | None = None) -> Figure:
        """Box plot of each weight's values [A, fig. 1, 8, 9]: dot mean, box quartiles, open dots outliers.

        Args:
            other: a profile for a second panel, such as the random twin's.
            path: a file to write the figure to, too; the suffix gives the format, PNG without one.

        Returns:
            A matplotlib figure.

        Raises:
            ValueError: for a suffix that matplotlib does not know.
        """
        from keras_entropy import plots

        _optional.require("matplotlib", extra="plot")
        suffix = None if path is None else plots.format_of(path)
        profiles = [self] if other is None else [self, other]
        figure = plots.entropy_panels([(profile.title, profile.measured) for profile in profiles])
        if path is not None:
            with _files.replacing(path) as temporary:
                figure.savefig(temporary, dpi=100, format=suffix)
        return figure

    @property
    def title(self) -> str:
        """What the profile is of, in words."""
        weights = "" if self.randomize is None else f", random weights (seed {self.randomize})"
        return f"{self.model}, measure {self.measure}{weights}"

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the profile as JSON, whole or not at all. Values that are not finite become strings, as "-inf"."""
        records = [
            {
                **dataclasses.asdict(record),
                "mean": None if record.mean is None else _to_json(record.mean),
                "values": [_to_json(value) for value in record.values],
                "pieces": {name: _to_json(value) for name, value in record.pieces.items()},
            }
            for record in self.records
        ]
        header = {"schema": SCHEMA, "model": self.model, "measure": self.measure, "randomize": self.randomize}
        _files.write_text(path, json.dumps({**header, "records": records}, indent=1, allow_nan=False) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> EntropyProfile:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: for a file that is no profile, or of another version.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            if not isinstance(data, dict) or "schema" not in data:
                raise TypeError("it has no schema")
            if data["schema"] != SCHEMA:
                raise TypeError(f"its schema is {data['schema']!r}, this version reads {SCHEMA!r}")
            _checks.one_of("measure", data["measure"], MEASURES)
            records = tuple(_record(record) for record in data["records"])
            if len({record.path for record in records}) < len(records):
                raise TypeError("two records have one path")
            if not isinstance(data["randomize"], int | None):
                raise TypeError("`randomize` is no seed")
            return cls(str(data["model"]), data["measure"], data["randomize"], records)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else error
            raise ValueError(f"{path} is no entropy profile: {what}. Write one with EntropyProfile.save.") from error


def entropy_profile(
    model: Any, measure: str = "log_volume", randomize: int | None = None, progress: bool = False
) -> EntropyProfile:
    """Measure every weight of a model: where it keeps entropy, and where it loses it.

    All is computed on the host in float64: the same weights give the same numbers on every backend. Nothing of the
    model is changed, and no data is needed.

    Args:
        model: a built Keras model, trained or not, of any kind: functional, sequential, subclassed, nested.
        measure: "log_volume" (default): the exact log-volume, per dimension; "corner" [A, eq. 5, 6, 18]: log|det| of
            the leading square block of a matrix per dimension, log|c11| per filter of a convolution;
            "total_correlation": total correlation of the outputs for white input, per output. Normalisations
            count with log|gamma / sigma| per channel where sigma is known (`BatchNormalization`, `Normalization`),
            with log|gamma| where it is the data's (`LayerNormalization` and the like).
        randomize: a seed, at least 0: the profile of the random twin instead, in which each weight is drawn anew by its
            own initialiser. It is the baseline that tells training from architecture. The same seed gives the same
            twin on the same backend.
        progress: whether to show a progress bar on standard error; it needs rich.

    Returns:
        An `EntropyProfile` with one record for each weight, also for those that cannot be measured; these say why.
        Biases and other shifts, which change no entropy, have none.

    Raises:
        ValueError: for a model that is not built, or an unknown measure.
        TypeError: for something that is no Keras layer or model, or a seed that is no integer.

    Examples:
        >>> import keras
        >>> from keras_entropy import entropy_profile
        >>> layers = [keras.layers.Embedding(10, 4, name="words"), keras.layers.LSTM(3, name="lstm")]
        >>> model = keras.Sequential([keras.Input((5,), dtype="int32"), *layers])
        >>> for record in entropy_profile(model, "log_volume", randomize=0).records:
        ...     print(record.path, record.shape, len(record.values), (record.skipped or "measured")[:12])
        words (10, 4) 0 an embedding
        lstm/lstm_cell/kernel (4, 12) 12 measured
        lstm/lstm_cell/recurrent_kernel (3, 12) 12 measured
    """
    _checks.one_of("measure", measure, MEASURES)
    if randomize is not None:
        if isinstance(randomize, bool) or not isinstance(randomize, numbers.Integral):
            raise TypeError(_checks.message("randomize", "a seed (an integer, at least 0) or None", randomize))
        randomize = int(_checks.non_negative("randomize", randomize))
    check_built(model)
    weights = inventory(model)
    records = tuple(
        _measured(weight, measure, randomize, index)
        for index, weight in enumerate(_tracked(weights) if progress else weights)
    )
    return EntropyProfile(model.name, measure, randomize, records)


def check_built(model: Any) -> None:
    """Raise `TypeError` for what is no Keras layer or model, `ValueError` for one that is not built."""
    import keras

    if not isinstance(model, keras.Layer):
        raise TypeError(_checks.message("model", "a Keras model", model))
    if not model.built:
        raise ValueError(
            "`model` should be built, so that its kernels exist. Received: a model that is not built. "
            "Give it an input shape (keras.Input) or call it once on data."
        )


def _measured(
    weight: MeasurableWeight | SkippedWeight, measure: str, randomize: int | None, index: int
) -> ProfileRecord:
    kind = type(weight.layer).__name__
    if isinstance(weight, SkippedWeight):
        return ProfileRecord(weight.path, kind, weight.shape, skipped=weight.reason)
    draw = None
    if randomize is None:
        reason = _not_finite(weight)
    else:
        draw = random_copy.drawing(weight, randomize, index)
        reason = f"no random twin: {kind} keeps no initialiser with a seed for this weight" if draw is None else None
    if reason is not None:
        return ProfileRecord(weight.path, kind, weight.shape, skipped=reason)
    found = measure_weight(weight, measure, values=True, draw=draw)
    if np.isnan(found.values).any():
        reason = "its value is not a number, as that of a negative variance"
        return ProfileRecord(weight.path, kind, weight.shape, skipped=reason)
    return ProfileRecord(weight.path, kind, found.shape, found.mean, found.values, found.unit, found.pieces)


def _not_finite(weight: MeasurableWeight) -> str | None:
    if weight.finite:
        return None
    values = np.concatenate([piece.reshape(-1) for piece in weight.pieces().values()])
    counts = {"NaN": int(np.isnan(values).sum()), "infinite": int(np.isinf(values).sum())}
    found = " and ".join(f"{count} {name}" for name, count in counts.items() if count)
    return f"not finite: it holds {found} of {values.size} values"


def _tracked(weights: list[Any]) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(weights, "Measuring", console=console, transient=True, disable=not console.is_terminal)


def _to_json(value: float) -> float | str:
    return value if math.isfinite(value) else repr(value)


def _record(data: Any) -> ProfileRecord:
    if not isinstance(data, dict):
        raise TypeError("a record is no object")
    texts = [data["unit"], data["skipped"]]
    if not isinstance(data["values"], list) or not all(isinstance(text, str | None) for text in texts):
        raise TypeError(f"the record of {data['path']!r} has another form")
    if (data["skipped"] is None) == (data["mean"] is None or data["unit"] is None):
        raise TypeError(f"the record of {data['path']!r} is neither measured nor skipped")
    return ProfileRecord(
        path=str(data["path"]),
        kind=str(data["kind"]),
        shape=tuple(int(size) for size in data["shape"]),
        mean=None if data["mean"] is None else float(data["mean"]),
        values=tuple(float(value) for value in data["values"]),
        unit=data["unit"],
        pieces={str(name): float(value) for name, value in data["pieces"].items()},
        skipped=data["skipped"],
    )
