"""What a claim about an entropy term must survive: simpler changes of the model or of its inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_entropy import _backend, _checks, _keras
from keras_entropy._backend import Array
from keras_entropy.placement import apply_entropy, resolve_placement
from keras_entropy.placement.resolution import Placement, adapt_to_layer
from keras_entropy.regularizers import EntropyRegularizer

INPUTS = ("centred", "standardised")


@keras.saving.register_keras_serializable(package="keras_entropy")
class Constant(keras.Regularizer):
    """A number that is added to the loss and has no gradient: training is that of no regularizer.

    A difference between a model with this and one without comes from what reads the loss, such as early stopping.

    Args:
        value: the number, for each weight that the regularizer is put on.

    Call arguments:
        x: a weight.

    Examples:
        >>> from keras_entropy.study import Constant
        >>> Constant(1e4).get_config()
        {'value': 10000.0}
    """

    def __init__(self, value: float) -> None:
        self.value = _checks.number("value", value)

    def __call__(self, x: Array) -> Array:
        """The number, in the dtype of `x`."""
        return keras.ops.convert_to_tensor(self.value, dtype=x.dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"value": self.value}


def attach(model: Any, placement: Placement, regularizer: Any, constant: bool) -> None:
    """Put a regularizer on a model, or the numbers that it has at the weights of now."""
    if not constant:
        apply_entropy(model, placement, regularizer)
        return
    terms = {}
    for weight in resolve_placement(model, placement, regularizer=regularizer):
        own = (
            adapt_to_layer(regularizer, weight, every=1) if isinstance(regularizer, EntropyRegularizer) else regularizer
        )
        terms[weight.path] = Constant(float(_backend.to_host(own(keras.ops.convert_to_tensor(weight.variable)))))
    if terms:
        apply_entropy(model, terms)


def initialise(model: Any, placement: Placement, initializer: Any, seed: int) -> None:
    """Draw the kernels that `placement` names anew, or scale them by a number."""
    weights = resolve_placement(model, placement)
    if isinstance(initializer, int | float):
        for weight in weights:
            weight.variable.assign(weight.variable * initializer)
        return
    for index, weight in enumerate(weights):
        draw = keras.initializers.get(initializer)
        config = draw.get_config()
        if "seed" in config:  # one of its own for each kernel: two of a shape are not to be equal
            draw = type(draw).from_config({**config, "seed": 1000 * seed + index})
        weight.variable.assign(draw(weight.shape, dtype=weight.variable.dtype))


def batch_normalised(model: Any, placement: Placement) -> Any:
    """A copy of a compiled model with batch normalisation between each layer that `placement` names and its activation.

    The copy has the initial weights of the model, the seeds of its random layers, and is compiled as it was.
    """
    if not _keras.is_plain(model):
        raise TypeError(
            f"Batch normalisation is put into Sequential and Functional models, not into a {type(model).__name__}, "
            "which may do more than its layers show. Give `build` an argument that adds it."
        )
    weights = resolve_placement(model, placement)
    own = {id(layer) for layer in model.layers}
    bad = [w.path for w in weights if id(w.layer) not in own or _keras.call_count(w.layer) != 1]
    if bad:
        raise ValueError(
            f"Batch normalisation is put after a model's own layers, used once; not after {', '.join(bad)}."
        )
    named = {weight.layer.name for weight in weights}
    activations = {layer.name: getattr(layer, "activation", None) for layer in model.layers}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = layer(*args, **kwargs)
        if layer.name not in named:
            return outputs
        outputs = keras.layers.BatchNormalization(name=f"{layer.name}_normalisation")(outputs)
        activation: Any = activations[layer.name]
        if isinstance(activation, keras.layers.Layer):
            return type(activation).from_config(activation.get_config())(outputs)
        return keras.layers.Activation(activation, name=f"{layer.name}_activation")(outputs)

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name in named and "activation" in config:
            config["activation"] = "linear"
        return type(layer).from_config(config)

    functional = keras.Model(model.inputs, model.outputs, name=model.name)  # of a Sequential model too
    changed = keras.models.clone_model(functional, clone_function=clone, call_function=call)
    copies = {layer.name: layer for layer in changed.layers}
    for layer in model.layers:
        for variable, twin in zip(
            layer.variables, copies[layer.name].variables if layer.variables else (), strict=True
        ):
            twin.assign(np.array(_backend.to_host(variable)))  # a copy: JAX's training consumes its arrays
    changed.compile_from_config(model.get_compile_config())
    return changed


def transform(inputs: str | Callable[..., Any] | None, x_train: Any) -> Callable[[Any], Any]:
    """The change of the inputs that `inputs` names, with statistics of the training data alone.

    Points are centred by feature, images by channel.
    """
    if inputs is None:
        return lambda x: x
    if callable(inputs):
        change: Callable[[Any], Any] = inputs(x_train)
        return change
    _checks.one_of("inputs", inputs, INPUTS)
    x = np.asarray(x_train)
    if x.dtype.kind not in "fiu" or x.ndim < 2:
        raise TypeError(f"inputs={inputs!r} needs the training inputs as one array of numbers.")
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes, dtype=np.float64)
    deviation = x.std(axes, dtype=np.float64) if inputs == "standardised" else np.ones_like(mean)
    deviation[deviation == 0] = 1  # a feature that never varies
    return lambda values: ((np.asarray(values) - mean) / deviation).astype(np.float32)
