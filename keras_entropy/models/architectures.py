"""The architectures of source A's experiments, with the entropy terms left to the caller.

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks".
    [B] Ronneberger, Fischer, Brox: "U-Net: Convolutional Networks for Biomedical Image Segmentation", 2015.
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

    Examples:
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


def unet(input_shape: Sequence[int | None], classes: int = 1, filters: Sequence[int] = (16, 32, 64)) -> Any:
    """A class for each pixel: a path down, a path up, and a bridge between them at every level [A, section 5.5; B].

    Each level down is two 3x3 convolutions with ReLU and a max-pool 2x2; at the bottom are two convolutions
    of twice the last level's filters. Each level up is a transposed convolution 2x2 that doubles the sides, a
    concatenation with the output of the level down of the same number, and two convolutions. Unlike [B] the
    convolutions pad their input ("same"), so that the output has the sides of the input.

    Args:
        input_shape: (height, width, channels) of one image. The sides are multiples of 2 to the number of
            levels; None leaves them open, and then each batch has to have such sides.
        classes: number of classes: 1 for a sigmoid, more for a softmax over the classes of each pixel.
        filters: number of filters of each level, from the outermost. Defaults to three levels.

    Returns:
        An uncompiled Keras model; its layers are `down1_conv1`, `down1_conv2`, `down1_pool`, `down2_conv1`, ...,
        `bottom_conv1`, `bottom_conv2`, then from the innermost level `up3_transpose`, `up3_concat`, `up3_conv1`,
        `up3_conv2`, `up2_transpose`, ..., and `head`. `up<i>` is fed by `down<i>`.

    Raises:
        ValueError: if the sides cannot be halved that many times.

    Examples:
        >>> from keras_entropy import models
        >>> models.unet((16, 24, 3), classes=11).output_shape
        (None, 16, 24, 11)
    """
    shape, counts = tuple(input_shape), list(filters)
    for count in counts:
        _checks.positive_integer("filters", count)
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


def _two_convolutions(x: Any, filters: int, level: str) -> Any:
    for i in (1, 2):
        x = keras.layers.Conv2D(
            filters,
            3,
            padding="same",
            activation="relu",
            kernel_initializer="he_normal",  # [B, section 3]
            name=f"{level}_conv{i}",
        )(x)
    return x
