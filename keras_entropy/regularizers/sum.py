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
        regularizers: at least one `keras.Regularizer`, function of a weight, or Keras's name of one. A sum among them
            is taken apart.

    Call arguments:
        x: a weight.

    Raises:
        TypeError: for anything else.
        ValueError: for none.

    Examples:
        >>> import keras
        >>> from keras_entropy import DenseEntropy, SumRegularizer
        >>> both = SumRegularizer([DenseEntropy(1e-3), keras.regularizers.L2(1e-4)])
        >>> layer = keras.layers.Dense(4, kernel_regularizer=both)
    """

    def __init__(self, regularizers: Iterable[Any]) -> None:
        found: list[Any] = []
        for regularizer in regularizers:
            if not (callable(regularizer) or isinstance(regularizer, str | dict)):
                raise TypeError(_checks.message("regularizers", "regularizers, or names of them", regularizer))
            known = keras.regularizers.get(regularizer)
            found += known.regularizers if isinstance(known, SumRegularizer) else [known]
        if not found:
            raise ValueError(_checks.message("regularizers", "at least one regularizer", regularizers))
        self.regularizers: tuple[Any, ...] = tuple(found)
        self.before: Any = None

    @property
    def _keras_entropy_members(self) -> tuple[Any, ...]:
        return self.regularizers

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
