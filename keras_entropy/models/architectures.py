"""The architectures of the experiments of Meni et al. (2023), without entropy terms.

Sources:
    Meni, White, Mayo, Pilkiewicz (2023): Entropy-based guidance of deep neural networks.
    Ronneberger, Fischer, Brox (2015): U-Net: Convolutional networks for biomedical image segmentation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import keras

from keras_entropy import _checks


def autoencoder(input_shape: Sequence[int], width: int = 60) -> Any:
    """Make an autoencoder with one hidden layer (Meni et al., 2023, section 5.2).

    The hidden Dense layer has a sigmoid activation, the output layer is linear.

    Args:
        input_shape: Tuple of integers. Shape of one sample.
        width: Integer. Units of the hidden layer. Defaults to 60.

    Returns:
        An uncompiled Keras model from and to `input_shape`, with the layers `encoder` and `decoder`.

    Raises:
        TypeError, ValueError: If `width` is not a positive integer.

    Examples:
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
    """Make a CNN: blocks of Conv 3x3, leaky ReLU and max-pool 2x2, and a softmax head (Meni et al., 2023, sec. 5.3).

    The convolutions have `padding="same"`, so that small images can be pooled several times.

    Args:
        input_shape: Tuple of integers (height, width, channels). Shape of one image.
        classes: Integer. Number of classes.
        filters: Sequence of integers. Filters of each block. Defaults to (32, 32).

    Returns:
        An uncompiled Keras model with the layers `conv1`, `conv2`, ..., and `head`.

    Raises:
        TypeError, ValueError: If `classes` is not a positive integer.
        ValueError: If the images are too small for the number of poolings.

    Examples:
        >>> from keras_entropy import models
        >>> models.cnn((8, 8, 1), classes=10).output_shape
        (None, 10)
    """
    shape, counts = tuple(input_shape), _checked_filters(filters)
    if len(shape) != 3 or min(shape[:2]) < 2 ** len(counts):
        raise ValueError(
            f"`input_shape` should be (height, width, channels) of images of at least {2 ** len(counts)} pixels "
            f"a side, for {len(counts)} poolings. Received: input_shape={shape}."
        )
    layers: list[Any] = [keras.Input(shape)]
    for i, count in enumerate(counts, start=1):
        layers += [
            keras.layers.Conv2D(count, 3, padding="same", activation="leaky_relu", name=f"conv{i}"),
            keras.layers.MaxPooling2D(2, name=f"pool{i}"),
        ]
    head = keras.layers.Dense(_checks.positive_integer("classes", classes), activation="softmax", name="head")
    layers += [keras.layers.Flatten(), head]
    return keras.Sequential(layers, name="cnn")


def unet(input_shape: Sequence[int | None], classes: int = 1, filters: Sequence[int] = (16, 32, 64)) -> Any:
    """Make a U-Net, which classifies each pixel (Meni et al., 2023, section 5.5; Ronneberger et al., 2015).

    Each level down has two 3x3 convolutions with ReLU and a max-pool 2x2. The bottom has two convolutions with twice
    the filters of the last level. Each level up has a transposed convolution 2x2 that doubles the sides, a
    concatenation with the output of the same level down, and two convolutions. Unlike in Ronneberger et al.,
    convolutions have `padding="same"`, so that the output has the sides of the input.

    Args:
        input_shape: Tuple of integers (height, width, channels). Shape of one image. The sides are multiples of
            2**levels, or None; each batch must then have such sides.
        classes: Integer. Number of classes: 1 for a sigmoid, more for a softmax per pixel. Defaults to 1.
        filters: Sequence of integers. Filters of each level, from the outermost on. Defaults to (16, 32, 64).

    Returns:
        An uncompiled Keras model with the layers `down1_conv1`, `down1_conv2`, `down1_pool`, `down2_conv1`, ...,
        `bottom_conv1`, `bottom_conv2`, then from the innermost level on `up3_transpose`, `up3_concat`, `up3_conv1`,
        `up3_conv2`, `up2_transpose`, ..., and `head`. `up<i>` takes the output of `down<i>`.

    Raises:
        ValueError: If the sides cannot be halved once per level.

    Examples:
        >>> from keras_entropy import models
        >>> models.unet((16, 24, 3), classes=11, filters=(8, 16)).output_shape
        (None, 16, 24, 11)
    """
    shape, counts = tuple(input_shape), _checked_filters(filters)
    if not counts:
        raise ValueError(_checks.message("filters", "one number for each level, at least one", filters))
    multiple = 2 ** len(counts)
    sides = [side for side in shape[:2] if side is not None]
    if len(shape) != 3 or any(side < 1 or side % multiple for side in sides):
        raise ValueError(
            f"`input_shape` should be (height, width, channels) with sides that are None or multiples of {multiple}, "
            f"for {len(counts)} halvings. Received: input_shape={shape}."
        )
    classes = _checks.positive_integer("classes", classes)

    x = inputs = keras.Input(shape)
    bridges = []
    for i, count in enumerate(counts, start=1):
        x = _two_convolutions(x, count, f"down{i}")
        bridges.append(x)
        x = keras.layers.MaxPooling2D(2, name=f"down{i}_pool")(x)
    x = _two_convolutions(x, 2 * counts[-1], "bottom")
    for i, count in reversed(list(enumerate(counts, start=1))):
        x = keras.layers.Conv2DTranspose(count, 2, strides=2, name=f"up{i}_transpose")(x)
        x = keras.layers.Concatenate(name=f"up{i}_concat")([bridges[i - 1], x])
        x = _two_convolutions(x, count, f"up{i}")
    x = keras.layers.Conv2D(classes, 1, activation="sigmoid" if classes == 1 else "softmax", name="head")(x)
    return keras.Model(inputs, x, name="unet")


def _checked_filters(filters: Any) -> list[int]:
    if isinstance(filters, str) or not isinstance(filters, Iterable):
        raise TypeError(_checks.message("filters", "a list of positive integers", filters))
    return [_checks.positive_integer("filters", count) for count in filters]


def _two_convolutions(x: Any, filters: int, level: str) -> Any:
    for i in (1, 2):
        x = keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",  # Ronneberger et al., 2015, section 3
            name=f"{level}_conv{i}",
        )(x)
    return x
