"""The architectures of source A's experiments, with the entropy terms left to the caller.

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras

from keras_entropy import _checks


def autoencoder(input_shape: Sequence[int], width: int = 60) -> Any:
    """One hidden layer, d-width-d: sigmoid, then a linear Dense layer [A, section 5.2].

    Args:
        input_shape: of one sample; d is the product.
        width: units of the hidden layer.

    Returns:
        An uncompiled Keras model from and to `input_shape`; its layers are `encoder` and `decoder`.

    Example:
        >>> from keras_entropy import models
        >>> models.autoencoder((8, 8, 1), width=20).count_params()
        2644
    """
    shape = tuple(input_shape)
    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Flatten(),
            keras.layers.Dense(_checks.positive_integer("width", width), activation="sigmoid", name="encoder"),
            keras.layers.Dense(math.prod(shape), name="decoder"),
            keras.layers.Reshape(shape),
        ],
        name="autoencoder",
    )


def cnn(input_shape: Sequence[int], classes: int, filters: Sequence[int] = (32, 32)) -> Any:
    """Blocks of Conv 3x3, leaky ReLU and max-pool 2x2, then a softmax layer [A, section 5.3].

    The convolutions pad their input ("same"), so that small images survive the pooling.

    Args:
        input_shape: (height, width, channels) of one image.
        classes: number of classes.
        filters: number of filters of each block. Defaults to two blocks of 32.

    Returns:
        An uncompiled Keras model; its layers are `conv1`, `conv2`, ..., and `head`.

    Raises:
        ValueError: if the images are too small for that many poolings.

    Example:
        >>> from keras_entropy import models
        >>> models.cnn((8, 8, 1), classes=10).output_shape
        (None, 10)
    """
    shape = tuple(input_shape)
    if len(shape) != 3 or min(shape[:2]) < 2 ** len(filters):
        raise ValueError(
            f"`input_shape` should be (height, width, channels) of images of at least {2 ** len(filters)} pixels "
            f"a side, for {len(filters)} poolings. Received: input_shape={shape}."
        )
    layers: list[Any] = [keras.Input(shape)]
    for i, count in enumerate(filters, start=1):
        layers += [
            keras.layers.Conv2D(count, 3, padding="same", activation="leaky_relu", name=f"conv{i}"),
            keras.layers.MaxPooling2D(2, name=f"pool{i}"),
        ]
    layers += [keras.layers.Flatten(), keras.layers.Dense(classes, activation="softmax", name="head")]
    return keras.Sequential(layers, name="cnn")
