"""Several regularizers on one weight."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras

from keras_entropy import _checks
from keras_entropy._backend import Array


@keras.saving.register_keras_serializable(package="keras_entropy")
class SumRegularizer(keras.Regularizer):
    """The sum of several regularizers: Keras gives each weight one.

    A log-volume has no minimum of its own, so it mostly goes with a term that bounds the weights.

    Args:
        regularizers: at least one `keras.Regularizer` or Keras's name of one. A sum among them is taken apart.

    Call arguments:
        x: a weight.

    Raises:
        TypeError: for anything else.
        ValueError: for none.

    Example:
        >>> import keras
        >>> from keras_entropy import DenseEntropy, SumRegularizer
        >>> both = SumRegularizer([DenseEntropy(1e-3), keras.regularizers.L2(1e-4)])
        >>> layer = keras.layers.Dense(4, kernel_regularizer=both)
    """

    def __init__(self, regularizers: Iterable[Any]) -> None:
        found: list[Any] = []
        for regularizer in regularizers:
            known = keras.regularizers.get(regularizer)
            if not isinstance(known, keras.Regularizer):
                raise TypeError(_checks.message("regularizers", "keras.Regularizer objects", regularizer))
            found += known.regularizers if isinstance(known, SumRegularizer) else [known]
        if not found:
            raise ValueError(_checks.message("regularizers", "at least one regularizer", regularizers))
        self.regularizers: tuple[Any, ...] = tuple(found)

    def __call__(self, x: Array) -> Array:
        """The sum of the penalties of `x`: a scalar."""
        return sum(regularizer(x) for regularizer in self.regularizers)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"regularizers": [keras.regularizers.serialize(regularizer) for regularizer in self.regularizers]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SumRegularizer:
        """The sum that a config describes."""
        return cls([keras.regularizers.deserialize(regularizer) for regularizer in config["regularizers"]])
