"""Changes of a model or of its inputs that may explain the gain of an entropy term."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import keras
import numpy as np

from keras_entropy import _backend, _checks, _keras
from keras_entropy._backend import Array
from keras_entropy._backend.adapter import HostArray
from keras_entropy.placement import resolve_placement
from keras_entropy.placement.attachment import attach_for_a_run, attach_to_weights
from keras_entropy.placement.resolution import Placement, adapt_to_layer
from keras_entropy.regularizers import EntropyRegularizer

INPUTS = ("centred", "standardised")


@keras.saving.register_keras_serializable(package="keras_entropy")
class Constant(keras.Regularizer):
    """A regularizer that adds a constant to the loss: it has no gradient, and the weights train as without it.

    Only code that reads the loss, such as early stopping, can behave differently.

    Args:
        value: Float. The constant, added for each weight that has the regularizer.

    Call arguments:
        x: Tensor. A weight.

    Examples:
        >>> from keras_entropy.study import Constant
        >>> Constant(1e4).get_config()
        {'value': 10000.0}
    """

    def __init__(self, value: float) -> None:
        self.value = _checks.number("value", value)

    def __call__(self, x: Array) -> Array:
        """The constant, in the dtype of `x`."""
        return keras.ops.convert_to_tensor(self.value, dtype=x.dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"value": self.value}


def attach(model: Any, placement: Placement, regularizer: Any, constant: bool) -> None:
    """Attach a regularizer to a model, or constants with its values at the current weights."""
    if not constant:
        attach_for_a_run(model, placement, regularizer)
        return
    terms = []
    for weight in resolve_placement(model, placement, regularizer=regularizer):
        own = (
            adapt_to_layer(regularizer, weight, every=1) if isinstance(regularizer, EntropyRegularizer) else regularizer
        )
        value = float(_backend.to_host(own(keras.ops.convert_to_tensor(weight.variable))))
        terms.append((weight, Constant(value)))
    attach_to_weights(model, terms)


def initialise(model: Any, placement: Placement, initializer: Any, seed: int) -> None:
    """Draw new kernels for a placement with an initializer, or multiply them by a number."""
    weights = resolve_placement(model, placement)
    if isinstance(initializer, int | float):
        for weight in weights:
            weight.variable.assign(weight.variable * initializer)
        return
    for index, weight in enumerate(weights):
        draw = keras.initializers.get(initializer)
        config = draw.get_config()
        if "seed" in config:  # each kernel gets its own seed, or two of the same shape would be equal
            draw = type(draw).from_config({**config, "seed": 1000 * seed + index})
        weight.variable.assign(draw(weight.shape, dtype=weight.variable.dtype))


def batch_normalised(model: Any, placement: Placement) -> Any:
    """A copy of a compiled model with batch normalisation between each layer of a placement and its activation.

    The copy has the weights of the model and the seeds of its random layers, and is compiled in the same way.
    """
    if not _keras.is_plain(model):
        raise TypeError(
            "Batch normalisation can be added to Sequential and Functional models, whose layers show the graph. "
            f"Received: a {type(model).__name__}. Add the layers in `build`, with an argument."
        )
    weights = resolve_placement(model, placement)
    own = {id(layer) for layer in model.layers}
    bad = [w.path for w in weights if id(w.layer) not in own or _keras.call_count(w.layer) != 1]
    if bad:
        raise ValueError(
            "Batch normalisation can be added after layers of the model itself that are used once. Received: "
            f"a placement with {', '.join(bad)}. Leave them out, or add the layers in `build`, with an argument."
        )
    changed = _clone(model, {weight.layer.name for weight in weights})
    copies = {layer.name: layer for layer in changed.layers}
    for layer in model.layers:
        targets = copies[layer.name].variables if layer.variables else ()
        for variable, target in zip(layer.variables, targets, strict=True):
            target.assign(np.array(_backend.to_host(variable)))  # a copy, because training on JAX deletes its arrays
    changed.compile_from_config(model.get_compile_config())
    return changed


def _clone(model: Any, normalised: Collection[str]) -> Any:
    """A copy of a model with batch normalisation before the activations of some layers, with new weights."""
    activations = {layer.name: getattr(layer, "activation", None) for layer in model.layers}

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = layer(*args, **kwargs)
        if layer.name not in normalised:
            return outputs
        outputs = keras.layers.BatchNormalization(name=f"{layer.name}_normalisation")(outputs)
        activation: Any = activations[layer.name]
        if isinstance(activation, keras.layers.Layer):
            return type(activation).from_config(activation.get_config())(outputs)
        return keras.layers.Activation(activation, name=f"{layer.name}_activation")(outputs)

    def clone(layer: Any) -> Any:
        config = layer.get_config()
        if layer.name in normalised and "activation" in config:
            config["activation"] = "linear"
        return type(layer).from_config(config)

    functional = keras.Model(model.inputs, model.outputs, name=model.name)  # also for a Sequential model
    return keras.models.clone_model(functional, clone_function=clone, call_function=call)


def transform(inputs: str | Callable[..., Any] | None, x_train: Any) -> Callable[[Any], Any]:
    """The function that transforms inputs, with the statistics of the training data.

    Points are centred by feature, images by channel.
    """
    if inputs is None:
        return lambda x: x
    if callable(inputs):
        change: Callable[[Any], Any] = inputs(x_train)
        return change
    mean, deviation = statistics(inputs, x_train)
    return lambda values: ((np.asarray(values) - mean) / deviation).astype(np.float32)


def with_raw_inputs(model: Any, inputs: str, x_train: Any) -> Any:
    """A model that transforms its inputs itself, and is compiled as the model inside it.

    Args:
        model: A compiled model with one input, trained on transformed inputs.
        inputs: String. `"centred"` or `"standardised"`, as for `transform`.
        x_train: Array. The training inputs before the transformation.
    """
    mean, deviation = statistics(inputs, x_train)
    raw = keras.Input(x_train.shape[1:])
    changed = (raw - mean.astype("float32")) / deviation.astype("float32")
    whole = keras.Model(raw, model(changed), name=model.name)
    whole.compile_from_config(model.get_compile_config())
    return whole


def statistics(inputs: str, x_train: Any) -> tuple[HostArray, HostArray]:
    """Mean and deviation of each feature, or channel of images; the deviation is 1 where it is not used.

    Raises:
        TypeError, ValueError: If the inputs are not one array of numbers, or `inputs` is unknown.
    """
    _checks.one_of("inputs", inputs, INPUTS)
    x = np.asarray(x_train)
    if x.dtype.kind not in "fiu" or x.ndim < 2:
        received = f"an array of shape {x.shape} and dtype {x.dtype}" if x.dtype != object else type(x_train).__name__
        raise TypeError(
            f"Training inputs should be one array of numbers with a row for each sample, for `inputs`={inputs!r}. "
            f"Received: {received}. Give a function of the training inputs as `inputs`."
        )
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes, dtype=np.float64)
    deviation = x.std(axes, dtype=np.float64) if inputs == "standardised" else np.ones_like(mean)
    deviation[deviation == 0] = 1  # a constant feature
    return mean, deviation
