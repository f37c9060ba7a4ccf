"""SqueezeNet v1.1, for ImageNet weights of 5 MB.

Sources:
    [C] Iandola et al.: "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size", 2016;
        version 1.1 of its authors' Caffe model.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_entropy import _checks
from keras_entropy.models import weights as _weights

_SMALLEST = 31  # sides that leave one pixel after conv1 and three poolings
_MEANS = (103.939, 116.779, 123.68)  # of ImageNet in blue, green, red
# Each row ends in a max-pool: the first fire module's number, then (squeezed, expanded) filters of each.
_FIRES = ((2, ((16, 64), (16, 64))), (4, ((32, 128), (32, 128))), (6, ((48, 192), (48, 192), (64, 256), (64, 256))))


def squeezenet(
    input_shape: Sequence[int | None] = (227, 227, 3),
    classes: int = 1000,
    weights: str | os.PathLike[str] | None = None,
) -> Any:
    """SqueezeNet v1.1: 26 convolutions, no Dense layer, 1.2 million weights [C].

    A fire module squeezes its input by a 1x1 convolution, expands the result by a 1x1 and a 3x3 one side by side,
    and concatenates the two. ReLU follows every convolution, the last one too.

    Args:
        input_shape: (height, width, channels) of one image, of at least 31 pixels a side; None leaves a side open.
        classes: number of classes.
        weights: path of an `.npz` archive of converted weights: arrays `<layer>/kernel` (height, width, inputs,
            outputs) and `<layer>/bias` of the 26 layers `conv1`, `fire2/squeeze1x1`, `fire2/expand1x1`,
            `fire2/expand3x3`, ..., `conv10`. All have to fit, except that `conv10` keeps its fresh initialisation
            where `classes` is not the file's number of classes, to be trained on them. Defaults to a fresh model.

    Returns:
        An uncompiled Keras model for images that went through `squeezenet_input`. Its layers are `conv1`,
        `fire2_squeeze1x1`, `fire2_expand1x1`, `fire2_expand3x3`, ..., `conv10`.

    Raises:
        FileNotFoundError: for a missing file of weights.
        ValueError: for images that are too small, or a file of weights that is damaged or does not fit.

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
    """What converted weights of `squeezenet` expect: blue, green, red, minus the means of ImageNet.

    Args:
        images: (..., height, width, 3), red, green, blue from 0 to 255, of the model's size; the network was
            trained on 227x227. NumPy arrays or tensors of the backend. Images from 0 to 1, as those of
            `keras_entropy.datasets`, have to be multiplied by 255 first.

    Returns:
        A new array or tensor of that shape, in float32.

    Raises:
        ValueError: if the last axis does not have three channels.

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
