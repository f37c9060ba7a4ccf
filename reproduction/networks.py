"""Classifiers of photographs (Meni et al., 2023, section 5.4), and the corner term that is put on convolutions."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras

from keras_entropy import ConvCornerEntropy, models

RESIDUAL = "small residual network"
STRATEGIES = ("plain", "augmentation", "augmentation + dropout")
DROPOUT = 0.5


def corner_term(epsilon: float, form: str = "reciprocal") -> Callable[[float], Any]:
    """Makes the corner term of a factor (Meni et al., 2023, eq. 25; eq. 23 for the form "log").

    It is a sum over filters and channels, as the equations are.
    """
    return functools.partial(ConvCornerEntropy, epsilon=epsilon, form=form, reduction="sum")


def network(name: str, input_shape: Sequence[int], classes: int) -> Any:
    """An uncompiled architecture by its name in `keras_entropy.models`, or the small residual network."""
    if name == RESIDUAL:
        return residual(input_shape, classes)
    if name == "cnn":
        return models.cnn(input_shape, classes, filters=(16, 32, 64))
    return models.by_name(name, input_shape, classes)


def residual(input_shape: Sequence[int], classes: int, filters: Sequence[int] = (16, 32, 64)) -> Any:
    """A small ResNet: a stem, and one bottleneck block for each width.

    A block has convolutions of 1x1, 3x3 and 1x1 with batch normalisation, and a projection on its skip connection, as
    ResNet-50 has wherever the width changes.
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
    """A compiled classifier of square photographs (Meni et al., 2023, section 5.4).

    Args:
        architecture: Name of the architecture.
        side: Integer, height and width of the images in pixels.
        classes: Integer, number of classes.
        learning_rate: Float, learning rate of stochastic gradient descent. Defaults to 0.01.
        strategy: One of `STRATEGIES`. Augmentation is flips, and up to 20 % of rotation and of zoom. Dropout has a rate
            of 0.5, see `with_dropout`. Defaults to "plain".

    Returns:
        A model in which the architecture is one layer, so that its kernels have the same paths in all strategies.
    """
    base = with_dropout(network(architecture, (side, side, 3), classes), DROPOUT if "dropout" in strategy else 0.0)
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
    """A functional model with dropout.

    Dropout layers of the architecture itself get the rate. Without such layers, dropout is put before each Dense layer
    except the first, or before the only one.
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
