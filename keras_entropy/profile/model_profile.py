"""Measurement of all weights of a model.

Sources:
    Meni, White, Mayo, Pilkiewicz (2023): Entropy-based guidance of deep neural networks.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_entropy import _checks
from keras_entropy.profile.measure import MEASURES, measure_weight
from keras_entropy.profile.profile import EntropyProfile
from keras_entropy.profile.random_copy import random_values
from keras_entropy.profile.record import ProfileRecord
from keras_entropy.profile.weights import MeasurableWeight, SkippedWeight, inventory


def entropy_profile(
    model: Any, measure: str = "log_volume", randomize: int | None = None, progress: bool = False
) -> EntropyProfile:
    """Measure every weight of a model: where it keeps entropy, and where it loses it.

    Everything is computed on the host in float64, so the same weights give the same numbers on every backend. The model
    is not changed, and no data is needed.

    Args:
        model: A built Keras model, trained or not: functional, sequential, subclassed or nested.
        measure: String.

            * `"log_volume"`: the log-volume of the whole kernel, in nats per dimension;
            * `"corner"`: log|det| of the leading square block of a matrix, in nats per dimension, and log|c11| of each
              filter of a convolution, in nats per filter (Meni et al., 2023, eq. 5, 6 and 18);
            * `"total_correlation"`: the total correlation of the outputs for white inputs, in nats per output.

            The first two measure a normalisation by log|gamma / sigma| per channel if the layer knows sigma
            (`BatchNormalization`, `Normalization`), and otherwise by log|gamma| (`LayerNormalization` and the like).
            Defaults to `"log_volume"`.
        randomize: Integer, at least 0. If given, the seed of a randomly initialised copy, which is measured in place of
            the model: each weight is drawn again by its own initializer. This baseline tells the effect of training
            from that of the architecture. One seed gives one copy per backend. Defaults to None.
        progress: Boolean. Whether to show a progress bar on standard error. Defaults to False.

    Returns:
        An `EntropyProfile` with one record per weight. A weight that cannot be measured has a record with the reason.
        Biases and other shifts have no record, because they change no entropy.

    Raises:
        ValueError: If the model is not built, or the measure is unknown.
        TypeError: If `model` is not a Keras layer or model, or `randomize` is not an integer.

    Examples:
        >>> import keras
        >>> from keras_entropy import entropy_profile
        >>> layers = [keras.layers.Embedding(10, 4, name="words"), keras.layers.LSTM(3, name="lstm")]
        >>> model = keras.Sequential([keras.Input((5,), dtype="int32"), *layers])
        >>> for record in entropy_profile(model, randomize=0).records:
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
        _record(weight, measure, randomize, index)
        for index, weight in enumerate(_with_progress_bar(weights) if progress else weights)
    )
    return EntropyProfile(model.name, measure, randomize, records)


def check_built(model: Any) -> None:
    """Raise `TypeError` if `model` is not a Keras layer or model, `ValueError` if it is not built."""
    if not isinstance(model, keras.Layer):
        raise TypeError(_checks.message("model", "a Keras model", model))
    if not model.built:
        raise ValueError(
            "`model` should be built, so that its kernels exist. Received: a model that is not built. "
            "Give it an input shape (keras.Input), or call it once on data."
        )


def _record(weight: MeasurableWeight | SkippedWeight, measure: str, randomize: int | None, index: int) -> ProfileRecord:
    kind = type(weight.layer).__name__
    if isinstance(weight, SkippedWeight):
        return ProfileRecord(weight.path, kind, weight.shape, skipped=weight.reason)
    draw = None
    if randomize is None:
        reason = _not_finite(weight)
    else:
        draw = random_values(weight, randomize, index)
        reason = f"cannot be drawn: {kind} has no initializer with a seed for this weight" if draw is None else None
    if reason is not None:
        return ProfileRecord(weight.path, kind, weight.shape, skipped=reason)
    found = measure_weight(weight, measure, values=True, draw=draw)
    if np.isnan(found.values).any():
        reason = "its value is NaN, for instance because a variance is negative"
        return ProfileRecord(weight.path, kind, weight.shape, skipped=reason)
    return ProfileRecord(weight.path, kind, found.shape, found.mean, found.values, found.unit, found.pieces)


def _not_finite(weight: MeasurableWeight) -> str | None:
    if weight.finite:
        return None
    values = np.concatenate([piece.reshape(-1) for piece in weight.pieces().values()])
    counts = {"NaN": int(np.isnan(values).sum()), "infinite": int(np.isinf(values).sum())}
    found = " and ".join(f"{count} {name}" for name, count in counts.items() if count)
    return f"not finite: {found} of {values.size} values"


def _with_progress_bar(weights: list[Any]) -> Iterator[Any]:
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(weights, "Measuring", console=console, transient=True, disable=not console.is_terminal)
