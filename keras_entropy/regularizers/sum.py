"""Several regularizers on one weight."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import keras

from keras_entropy import _checks, _keras
from keras_entropy._backend import Array


@keras.saving.register_keras_serializable(package="keras_entropy")
class SumRegularizer(keras.Regularizer):
    """The sum of several regularizers, for a weight that needs more than one; Keras takes one per weight.

    A log-volume has no minimum, so it is mostly used beside a term that bounds the weights.

    Args:
        regularizers: Iterable of at least one regularizer: a `keras.Regularizer`, a function of a weight, or a name
            that Keras knows, such as `"l2"`. The members of a `SumRegularizer` among them are taken one by one.

    Call arguments:
        x: A weight.

    Raises:
        TypeError: If `regularizers` contains anything else, such as a class.
        ValueError: If `regularizers` is empty, or Keras does not know one of the names.

    Examples:
        >>> import keras
        >>> from keras_entropy import DenseEntropy, SumRegularizer
        >>> both = SumRegularizer([DenseEntropy(1e-3), keras.regularizers.L2(1e-4)])
        >>> layer = keras.layers.Dense(4, kernel_regularizer=both)
    """

    def __init__(self, regularizers: Iterable[Any]) -> None:
        expected = "a list of regularizers or of their names"
        if isinstance(regularizers, str | dict) or not isinstance(regularizers, Iterable):
            raise TypeError(_checks.message("regularizers", expected, regularizers))
        found: list[Any] = []
        for i, regularizer in enumerate(regularizers):
            known = _known(f"regularizers[{i}]", regularizer)
            found += known.regularizers if isinstance(known, SumRegularizer) else [known]
        if not found:
            raise ValueError(_checks.message("regularizers", "at least one regularizer", regularizers))
        self.regularizers: tuple[Any, ...] = tuple(found)
        self.before: Any = None

    def __call__(self, x: Array) -> Array:
        """Compute the sum of the penalties of `x`."""
        return sum(regularizer(x) for regularizer in self.regularizers)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"regularizers": [keras.regularizers.serialize(regularizer) for regularizer in self.regularizers]}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> SumRegularizer:
        """Make the sum from the result of `get_config`."""
        members = [keras.regularizers.deserialize(regularizer) for regularizer in config["regularizers"]]
        return cls(**{**config, "regularizers": members})


def _known(argument: str, regularizer: Any) -> Any:
    """Return the regularizer that Keras knows by a name or a config; a regularizer or a function as it is."""
    expected = "a regularizer or its name"
    if isinstance(regularizer, type):
        remedy = f"It is a class. Give an instance, such as {regularizer.__name__}(1e-3)."
        raise TypeError(_checks.message(argument, expected, regularizer, remedy))
    if not (callable(regularizer) or isinstance(regularizer, str | dict)):
        raise TypeError(_checks.message(argument, expected, regularizer))
    try:
        return keras.regularizers.get(regularizer)
    except ValueError as error:
        remedy = "Keras does not know it. Give the regularizer itself, such as DenseEntropy(1e-3)."
        raise ValueError(_checks.message(argument, expected, regularizer, remedy)) from error


def members(regularizer: Any) -> tuple[Any, ...]:
    """Return the regularizers that a sum consists of; the regularizer itself if it is no sum; none for None."""
    if regularizer is None:
        return ()
    return regularizer.regularizers if isinstance(regularizer, SumRegularizer) else (regularizer,)


def regularizers_of(model: Any) -> Iterator[Any]:
    """Yield all regularizer objects of a model's layers and variables, built or not, each once, sums taken apart."""
    seen: set[int] = set()
    for layer in _keras.layers_of(model):
        held = [*vars(layer).values(), *(getattr(v, "regularizer", None) for v in _keras.own_variables(layer))]
        for member in (member for value in held for member in members(value)):
            if isinstance(member, keras.Regularizer) and id(member) not in seen:
                seen.add(id(member))
                yield member
