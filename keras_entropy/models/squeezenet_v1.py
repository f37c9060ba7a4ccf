"""SqueezeNet v1.1, whose ImageNet weights take 5 MB.

Sources:
    Iandola et al. (2016): SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size, and
    version 1.1 of the authors' Caffe model.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_entropy import _checks
from keras_entropy.models import weights as _weights

_SMALLEST = 31
"""Smallest sides, which leave one pixel after conv1 and three poolings."""
_MEANS = (103.939, 116.779, 123.68)
"""Means of ImageNet in blue, green and red."""
# Each row ends in a max-pool: number of the first fire module, then (squeezed, expanded) filters of each module.
_FIRES = ((2, ((16, 64), (16, 64))), (4, ((32, 128), (32, 128))), (6, ((48, 192), (48, 192), (64, 256), (64, 256))))


def squeezenet(
    input_shape: Sequence[int | None] = (227, 227, 3),
    classes: int = 1000,
    weights: str | os.PathLike[str] | None = None,
) -> Any:
    """Make SqueezeNet v1.1: 26 convolutions, no Dense layer, 1.2 million weights (Iandola et al., 2016).

    A fire module squeezes its input with a 1x1 convolution, expands the result with a 1x1 and a 3x3 convolution side by
    side, and concatenates the two. A ReLU follows every convolution, also the last one.

    Args:
        input_shape: Tuple of integers (height, width, channels). Shape of one image, with sides of at least 31 pixels,
            or None. Defaults to (227, 227, 3).
        classes: Integer. Number of classes. Defaults to 1000.
        weights: Path of an `.npz` archive of converted weights: arrays `<layer>/kernel` (height, width, inputs,
            outputs) and `<layer>/bias` of the 26 layers `conv1`, `fire2/squeeze1x1`, `fire2/expand1x1`,
            `fire2/expand3x3`, ..., `conv10`. All arrays must fit the model. Only `conv10` may have another number of
            classes; it then keeps its random weights. Defaults to None, random weights.

    Returns:
        An uncompiled Keras model for images from `squeezenet_input`. Its layers are `conv1`,
        `fire2_squeeze1x1`, `fire2_expand1x1`, `fire2_expand3x3`, ..., `conv10`.

    Raises:
        FileNotFoundError: If the file of weights does not exist.
        ValueError: If the images are too small, or the file of weights is damaged or does not fit the model.

    Examples:
        >>> from keras_entropy import models
        >>> models.squeezenet((64, 64, 3), classes=10).count_params()
        727626
    """
    shape = tuple(input_shape)
    if len(shape) != 3 or any(side is not None and side < _SMALLEST for side in shape[:2]):
        raise ValueError(
            f"`input_shape` should be (height, width, channels) of images of at least {_SMALLEST} pixels a side. "
            f"Received: input_shape={shape}."
        )
    layers = keras.layers
    x = inputs = keras.Input(shape)
    x = layers.Conv2D(64, 3, strides=2, activation="relu", name="conv1")(x)
    for first, modules in _FIRES:
        x = layers.MaxPooling2D(3, strides=2, name=f"pool{first - 1}")(x)
        for i, (squeezed, expanded) in enumerate(modules, start=first):
            x = _fire(x, f"fire{i}", squeezed, expanded)
    x = layers.Dropout(0.5, name="drop9")(x)
    x = layers.Conv2D(
        _checks.positive_integer("classes", classes),
        1,
        activation="relu",
        kernel_initializer=keras.initializers.RandomNormal(stddev=0.01),  # as the authors trained it
        name="conv10",
    )(x)
    x = layers.GlobalAveragePooling2D(name="pool10")(x)
    model = keras.Model(inputs, layers.Softmax(name="softmax")(x), name="squeezenet")
    if weights is not None:
        _weights.load_converted(model, weights, head="conv10")
    return model


def _fire(x: Any, name: str, squeezed: int, expanded: int) -> Any:
    conv = keras.layers.Conv2D
    x = conv(squeezed, 1, activation="relu", name=f"{name}_squeeze1x1")(x)
    x1 = conv(expanded, 1, activation="relu", name=f"{name}_expand1x1")(x)
    x3 = conv(expanded, 3, padding="same", activation="relu", name=f"{name}_expand3x3")(x)
    return keras.layers.Concatenate(name=f"{name}_concat")([x1, x3])


def squeezenet_input(images: Any) -> Any:
    """Convert images for converted weights of `squeezenet`: to blue, green, red, minus the means of ImageNet.

    Args:
        images: NumPy array or tensor of shape (..., height, width, 3): red, green and blue from 0 to 255. The network
            was trained on 227 x 227 pixels. Multiply images from 0 to 1, such as those of `keras_entropy.datasets`, by
            255 first.

    Returns:
        A new array or tensor of the same shape, in float32.

    Raises:
        ValueError: If the last axis does not have three channels.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import models
        >>> models.squeezenet_input(np.full((1, 1, 3), [255, 0, 0])).astype(int).tolist()
        [[[-103, -116, 131]]]
    """
    on_backend = keras.ops.is_tensor(images)
    x = keras.ops.cast(images, "float32") if on_backend else np.asarray(images, dtype=np.float32)
    if not x.shape or x.shape[-1] != 3:
        raise ValueError(f"`images` should have three channels on the last axis. Received: shape {tuple(x.shape)}.")
    if on_backend:
        return keras.ops.flip(x, axis=-1) - keras.ops.convert_to_tensor(_MEANS, dtype="float32")
    return x[..., ::-1] - np.asarray(_MEANS, dtype=np.float32)
