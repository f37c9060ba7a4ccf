"""Classifiers of photographs as source A trains them: any architecture by name, plain, augmented, and with dropout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_entropy import models

RESIDUAL = "small residual network"
STRATEGIES = ("plain", "augmentation", "augmentation + dropout")
RATE = 0.5


def network(name: str, input_shape: Sequence[int], classes: int) -> Any:
    """An architecture of `keras_entropy.models` by name, or the small residual network, uncompiled."""
    if name == RESIDUAL:
        return residual(input_shape, classes)
    if name == "cnn":
        return models.cnn(input_shape, classes, filters=(16, 32, 64))
    return models.by_name(name, input_shape, classes)


def residual(input_shape: Sequence[int], classes: int, filters: Sequence[int] = (16, 32, 64)) -> Any:
    """A ResNet small enough for a processor: a stem, and one bottleneck block at each width.

    A block is 1x1, 3x3, 1x1 with batch normalisation and a projection on its skip, as ResNet-50 has where widths
    change.
    """
    x = inputs = keras.Input(tuple(input_shape))
    x = _normalised(x, filters[0], 3, 1, "stem", True)
    for stage, width in enumerate(filters, start=1):
        name = f"stage{stage}"
        skip = _normalised(x, 2 * width, 1, 2, f"{name}_skip", False)
        y = _normalised(x, width // 2, 1, 2, f"{name}_1", True)
        y = _normalised(y, width // 2, 3, 1, f"{name}_2", True)
        y = _normalised(y, 2 * width, 1, 1, f"{name}_3", False)
        y = keras.layers.Add(name=f"{name}_add")([skip, y])
        x = keras.layers.Activation("relu", name=f"{name}_relu")(y)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    x = keras.layers.Dense(classes, activation="softmax", name="head")(x)
    return keras.Model(inputs, x, name="residual")


def _normalised(x: Any, filters: int, side: int, strides: int, name: str, activated: bool) -> Any:
    x = keras.layers.Conv2D(filters, side, strides=strides, padding="same", use_bias=False, name=name)(x)
    x = keras.layers.BatchNormalization(name=f"{name}_normalisation", momentum=0.9)(x)
    return keras.layers.Activation("relu", name=f"{name}_relu")(x) if activated else x


def classifier(architecture: str, side: int, classes: int, learning_rate: float = 0.01, strategy: str = "plain") -> Any:
    """A compiled classifier of square photographs [A, section 5.4].

    Args:
        architecture: its name.
        side: of the images in pixels.
        classes: number of classes.
        learning_rate: of stochastic gradient descent.
        strategy: one of `STRATEGIES`. Augmentation is flips, and up to 20 % of rotation and of zoom; dropout has rate
            0.5. The layers that it is put between are those of `with_dropout`.

    Returns:
        A model in which the architecture is one layer, so that its kernels have one path in all strategies.
    """
    base = with_dropout(network(architecture, (side, side, 3), classes), RATE if "dropout" in strategy else 0.0)
    layers: list[Any] = [keras.Input((side, side, 3))]
    if "augmentation" in strategy:
        layers += [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomRotation(0.2),
            keras.layers.RandomZoom(0.2),
        ]
    model = keras.Sequential([*layers, base], name="classifier")
    model.compile(keras.optimizers.SGD(learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def with_dropout(model: Any, rate: float) -> Any:
    """A functional model with dropout of a rate before its Dense layers, all but the first where there are several.

    Where the architecture has dropout of its own, it gets the rate instead.
    """
    own = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    dense = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    places = set() if own or rate == 0 else set(dense[1:] if len(dense) > 1 else dense)
    if not own and not places:
        return model

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        return type(layer).from_config({**config, "rate": rate} if layer.name in own else config)

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if layer.name in places:
            args = (keras.layers.Dropout(rate, name=f"{layer.name}_dropout")(args[0]), *args[1:])
        return layer(*args, **kwargs)

    functional = keras.Model(model.inputs, model.outputs, name=model.name)
    return keras.models.clone_model(functional, clone_function=clone, call_function=call)
