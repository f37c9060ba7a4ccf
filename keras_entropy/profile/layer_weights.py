"""The weights that a layer holds itself, and which of them are linear maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from keras_entropy import _keras
from keras_entropy.profile.linear_map import LinearMap, registered
from keras_entropy.regularizers import EntropyRegularizer
from keras_entropy.regularizers.sum import members


def weights_of(layer: Any, describe: Callable[[Any], Any] | None = None) -> dict[str, LinearMap | str]:
    """Describe the weights of a layer that a profile lists.

    Args:
        layer: A layer. Only weights that it holds itself count, not those of its sublayers.
        describe: Function to use in place of the registered one, for a layer whose class is registered. Defaults to
            None.

    Returns:
        A dict by name, in the order of the layer's weights: a `LinearMap`, or the reason why the weight is not
        measured. Biases and other shifts are left out, because they change no entropy.
    """
    own = own_variables(layer)
    function, shifts = registered(layer)
    if function is not None and not layer.built:
        return {"": "not built: give the model an input shape, or call it once on data"}
    mode = getattr(layer, "quantization_mode", None)
    if holds_quantised_numbers(layer):
        return {"": f"quantised to {mode}: measure the model before it is quantised"} if own else {}
    if function is None:
        return {name: _unknown(layer, variable) for name, variable in own.items()}
    described = (describe or function)(layer)
    found = {name: _as_map(value, layer) for name, value in _by_name(described, layer).items()}
    if mode is not None:  # the other weights are the scales of its numbers
        return found
    used = {id(v) for m in found.values() if isinstance(m, LinearMap) for v in (m.value, *m.others)}
    for name, variable in own.items():
        if id(variable) not in used and name not in found and name not in shifts and not name.startswith("lora_"):
            found[name] = _unknown(layer, variable)
    return found


def holds_quantised_numbers(layer: Any) -> bool:
    """Whether a layer of Keras is quantised: training does not change its kernel, and Keras calls no term on it."""
    # float8 quantises what the layer multiplies, not what it holds.
    return getattr(layer, "quantization_mode", None) not in (None, "float8")


def own_variables(layer: Any) -> dict[str, Any]:
    """The weights that a layer holds itself, by the attribute that holds them, or else by their own name."""
    inner = {id(v) for sublayer in _keras.sublayers(layer) for v in sublayer.variables}  # wrappers share them
    attributes = {id(value): name.removeprefix("_") for name, value in vars(layer).items()}
    found: dict[str, Any] = {}
    for variable in _keras.own_variables(layer):
        if id(variable) not in inner:
            name = stem = attributes.get(id(variable), variable.name)
            n = 0
            while name in found:  # the weights of a list share a name
                n += 1
                name = f"{stem}_{n}"
            found[name] = variable
    return found


def _unknown(layer: Any, variable: Any) -> LinearMap | str:
    """A weight that no function describes: its entropy regularizer gives the layout, if it has one."""
    for regularizer in members(variable.regularizer):
        if isinstance(regularizer, EntropyRegularizer):
            layout = "dense" if len(variable.shape) == 2 else getattr(regularizer, "layout", "dense")
            sizes: dict[str, Any] = {name: getattr(regularizer, name, 1) for name in ("strides", "dilation", "groups")}
            return LinearMap(variable, layout, **sizes)
    return no_measure(layer)


def no_measure(layer: Any) -> str:
    """The reason why a weight is not measured of which nothing is known."""
    return f"no measure is known for this weight of {type(layer).__name__}; register_measurable adds one"


def _by_name(described: Any, layer: Any) -> Mapping[str, Any]:
    if isinstance(described, Mapping):
        return described
    if isinstance(described, LinearMap) or hasattr(described, "shape"):  # a variable, a tensor, an array
        return {"kernel": described}
    raise TypeError(
        f"The function registered for {type(layer).__name__} should return a dict of weights by name, or one weight. "
        f"Received: {described!r}."
    )


def _as_map(value: Any, layer: Any) -> LinearMap | str:
    if isinstance(value, LinearMap | str):
        return value
    if not hasattr(value, "shape"):
        raise TypeError(
            f"The function registered for {type(layer).__name__} should return variables, arrays, LinearMap objects or "
            f"reasons. Received: {value!r}."
        )
    layout = {0: "scale", 1: "scale", 2: "dense"}.get(len(value.shape), "conv")
    return LinearMap(value, layout)
