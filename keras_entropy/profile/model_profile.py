"""Measurement of all weights of a model.

Sources:
    Meni, White, Mayo, Pilkiewicz (2023): Entropy-based guidance of deep neural networks.
"""

from __future__ import annotations

import numbers
import os
from typing import Any

import keras

from keras_entropy import _checks
from keras_entropy.profile.constant_outputs import constant_outputs
from keras_entropy.profile.measure import MEASURES
from keras_entropy.profile.measured_model import MeasuredModel
from keras_entropy.profile.not_finite import shifts_not_finite
from keras_entropy.profile.profile import EntropyProfile
from keras_entropy.profile.weights import inventory


def entropy_profile(
    model: Any,
    measure: str = "log_volume",
    randomize: int | None = None,
    progress: bool = False,
    sample: Any = None,
) -> EntropyProfile:
    """Measure every weight of a model: where it keeps entropy, and where it loses it.

    Everything is computed on the host in float64, so the same weights give the same numbers on every backend. The model
    is not changed.

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
        sample: Inputs of the model, some hundred rows, as for `model.predict`. If given, the model is run on them in
            inference mode, and units with a constant output are found, such as dead ReLU units; see
            `EntropyProfile.findings`. Defaults to None: no data is needed.

    Returns:
        An `EntropyProfile` with one record per weight. A weight that cannot be measured has a record with the reason.
        Biases and other shifts change no entropy. They have a record only if they are not finite.

    Raises:
        ValueError: If the model is not built, the measure is unknown, `sample` does not fit the model or has fewer than
            two different rows, or both `randomize` and `sample` are given.
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
    if sample is not None and randomize is not None:
        raise ValueError(
            "`sample` is run on the model itself, not on a randomly initialised copy. Leave out one of both."
        )
    constant = None if sample is None else constant_outputs(model, sample)
    weights = inventory(model)
    if randomize is None:
        weights += shifts_not_finite(model, weights)
    measured = MeasuredModel(weights, randomize)
    return EntropyProfile.of_model(measured, model.name, measure, randomize, progress, constant)


def check_built(model: Any) -> None:
    """Raise `TypeError` if `model` is not a Keras layer or model, `ValueError` if it is not built."""
    if not isinstance(model, keras.Layer):
        is_path = isinstance(model, str | os.PathLike)
        remedy = "Load it first with keras.saving.load_model." if is_path else ""
        raise TypeError(_checks.message("model", "a Keras model", model, remedy))
    if not model.built:
        raise ValueError(
            "`model` should be built, so that its kernels exist. Received: a model that is not built. "
            "Give it an input shape (keras.Input), or call it once on data."
        )
