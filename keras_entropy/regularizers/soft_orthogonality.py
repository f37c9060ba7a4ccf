"""Soft orthogonality, the simplest rival of the terms, for convolutions too. `study` and `tuning` use it."""

from __future__ import annotations

import keras

from keras_entropy._backend import Array


@keras.saving.register_keras_serializable(package="keras_entropy")
class SoftOrthogonality(keras.regularizers.OrthogonalRegularizer):
    """Keras's `OrthogonalRegularizer`, also for convolutions: the kernel is a matrix (pixels and channels, filters).

    Args:
        factor: Float. Strength of the term. Defaults to 0.01.
        mode: String. `"rows"` or `"columns"`: what should be orthogonal. Defaults to `"rows"`.

    Call arguments:
        inputs: Tensor. A kernel of rank 2 or more.

    Examples:
        >>> import keras
        >>> from keras_entropy.study import SoftOrthogonality
        >>> round(float(SoftOrthogonality(1.0, mode="columns")(keras.ops.ones((3, 3, 1, 2)))), 3)
        1.0
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        super().__init__(factor=factor, mode=mode)

    def __call__(self, inputs: Array) -> Array:
        """The penalty on a kernel."""
        return super().__call__(keras.ops.reshape(inputs, (-1, inputs.shape[-1])))
