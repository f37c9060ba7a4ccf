"""Models whose compiled steps serve many runs: runs of the same structure are compiled once in a process.

Tracing and compiling a training step takes longer than many a run. The steps depend on the structure of a model:
layers, shapes, types, optimizer, loss and kinds of terms. What differs between runs of one structure is a state that
the steps read: weights, the optimizer's state and learning rate, random numbers, and the factors of entropy terms.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import Any

import keras

from keras_entropy import _backend, _keras
from keras_entropy.regularizers import EntropyRegularizer
from keras_entropy.regularizers.sum import members, regularizers_of
from keras_entropy.runs import machine, memory
from keras_entropy.runs.identity import digest

_MOST_MODELS = 8
_MOST_NUMBERS = 2**27
"""Numbers in the variables of all models that are kept; 0.5 GB of float32."""

_TERMS = ("ConvCornerEntropy", "ConvEntropy", "DenseEntropy", "TotalCorrelation")
_FOREIGN = ("function", "Lambda", "FlaxLayer", "JaxLayer", "TFSMLayer", "TorchModuleWrapper")
"""Classes of Keras whose objects have code of the user."""

_kept: OrderedDict[str, _Kept] = OrderedDict()
"""The models of this process, by their structure; the one that was used last is the last."""


@contextlib.contextmanager
def training(model: Any, callbacks: Iterable[Any] = (), *, alone: bool = False) -> Iterator[Any]:
    """Return a model to train in place of a new one: with the same values, and compiled already if one like it was.

    Args:
        model: A new, built and compiled Keras model with a built optimizer, which was not trained.
        callbacks: Callbacks of the training. Those of the user may change a model, which is then not shared.
        alone: Boolean. True for a training that may change a model in other ways. Defaults to False.

    Yields:
        The model to train. After the block another run may train it.
    """
    key = None if alone or any(map(_may_change_models, callbacks)) else structure(model)
    if key is None:
        _read_states(model)
        yield model
        return
    kept = _kept.pop(key, None)  # forgotten if training raises an error: its arrays may be gone
    if kept is None:
        _make_room(_size(model))
        kept = _Kept(model)
    else:
        kept.take_values_of(model)
    del model
    try:
        yield kept.model
    finally:
        kept.give_factors_back()
    _kept[key] = kept


def clear() -> None:
    """Forget all models of this process."""
    _kept.clear()
    memory.free()


def _make_room(numbers: int) -> None:
    while _kept and (len(_kept) >= _MOST_MODELS or numbers + sum(k.size for k in _kept.values()) > _MOST_NUMBERS):
        _kept.popitem(last=False)
        memory.free()


class _Kept:
    """A model that is kept, with the variables that a run sets."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.size = _size(model)
        self._variables = _variables(model)
        found = _keras.task_loss(model)
        if isinstance(found, _keras.TaskLoss):
            found.kept = True
        for regularizer in _terms(model):
            regularizer.share(model)
        self._set_factors(model)

    def take_values_of(self, model: Any) -> None:
        """Set all that a run of this model may have changed to what a new model has."""
        known = {id(variable) for variable in self._variables}
        for state in _keras.step_states(self.model):
            if id(state.state) not in known:  # made while a step was traced
                state.state.assign(state.initial)
        for variable, new in zip(self._variables, _variables(model), strict=True):
            variable.assign(_backend.to_host(new))
        self._set_factors(model)

    def _set_factors(self, model: Any) -> None:
        values = [(term.factor, float(term.multiplier)) for term in _terms(model)]
        self._own = [(term, term.factor, float(term.multiplier)) for term in _terms(self.model)]
        for (term, *_), (factor, multiplier) in zip(self._own, values, strict=True):
            term.set_strength(factor, multiplier)

    def give_factors_back(self) -> None:
        """Set the terms of this model to their own factors: the user may have them in other models too."""
        for term, factor, multiplier in self._own:
            term.set_strength(factor, multiplier)


def structure(model: Any) -> str | None:
    """Return a text that is equal for models whose steps can be shared; None for a model that compiles by itself.

    Steps of a model are shared if all of its parts are Keras's or this package's: then the config tells what they do.
    """
    if not _backend.framework().compiles_steps or not _keras.is_plain(model) or not model.compiled:
        return None
    if model.run_eagerly or keras.distribution.distribution() is not None:
        return None
    if any(hasattr(layer, "adapt") for layer in _keras.layers_of(model)):  # has constants of the data in its steps
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # of a lambda: nothing is saved
            config = keras.saving.serialize_keras_object(model)
        sets_rate = any(variable.name == "learning_rate" for variable in model.optimizer.variables)
        parts: list[Any] = [_known(config, sets_rate), model.jit_compile, machine.keras_settings()]
        parts += [(v.path, tuple(v.shape), v.dtype, v.trainable, _terms_of(v)) for v in model.variables]
        terms = [term for v in model.variables for term in members(v.regularizer)]
        parts.append(
            [next(i for i, term in enumerate(terms) if term is each) for each in terms]
        )  # which are one object
        parts += [(v.path, tuple(v.shape), v.dtype) for v in model.optimizer.variables]
        parts += [_settings(model.optimizer), _settings(getattr(model.optimizer, "inner_optimizer", None))]
        return digest(parts)
    except (_UnknownPartError, TypeError, ValueError, NotImplementedError):
        return None


class _UnknownPartError(Exception):
    """A model has a part whose config need not tell what it does."""


def _known(config: Any, sets_rate: bool = False, inside_term: bool = False) -> Any:
    """Return a config without the entries that a run sets.

    Random layers have their seeds in their state, and the steps read the factor of an entropy term.

    Args:
        config: What Keras serializes an object to, or a part of it.
        sets_rate: Boolean. Whether the learning rate is a variable. Defaults to False.
        inside_term: Boolean. Whether `config` is in that of an entropy term. Defaults to False.

    Raises:
        _UnknownPartError: If an object is neither Keras's nor this package's, or has code of the user.
    """
    if isinstance(config, list | tuple):
        return [_known(item, sets_rate, inside_term) for item in config]
    if not isinstance(config, dict):
        return config
    if "class_name" in config:
        name, module = config["class_name"], str(config.get("module") or "")
        own = str(config.get("registered_name")).startswith("keras_entropy>")
        if name in _FOREIGN or not (own or module.split(".", maxsplit=1)[0] in ("keras", "builtins")):
            raise _UnknownPartError
        inside_term = own and name in _TERMS
    rate = config.get("learning_rate")
    if rate is not None and not sets_rate and not isinstance(rate, dict):  # a function
        raise _UnknownPartError
    left_out = {"seed": True, "factor": inside_term, "learning_rate": not isinstance(rate, dict)}
    return {
        name: _known(item, sets_rate, inside_term) for name, item in config.items() if not left_out.get(name, False)
    }


def _settings(optimizer: Any) -> list[Any]:
    """The plain attributes of an optimizer: its config lacks what is set later, as by `exclude_from_weight_decay`."""
    plain = (bool, int, float, str, type(None))
    found = []
    for name, value in {} if optimizer is None else vars(optimizer).items():
        items = sorted(map(str, value)) if isinstance(value, set | frozenset) else value
        known = isinstance(items, plain) or (
            isinstance(items, list | tuple) and all(isinstance(i, plain) for i in items)
        )
        if known and name != "name":  # which the config has
            found.append([name, items])
    return sorted(found, key=str)


def _terms_of(variable: Any) -> list[Any]:
    """The terms of a variable, whose layer may have no argument for them, without their factors."""
    found = members(variable.regularizer)
    if any(not isinstance(term, keras.Regularizer) for term in found):
        raise _UnknownPartError
    return [_known(keras.saving.serialize_keras_object(term)) for term in found]


def _may_change_models(callback: Any) -> bool:
    of_keras = type(callback).__module__.split(".")[0] in ("keras", "keras_entropy")
    return not of_keras or isinstance(callback, keras.callbacks.LambdaCallback)


def _terms(model: Any) -> list[EntropyRegularizer]:
    return [regularizer for regularizer in regularizers_of(model) if isinstance(regularizer, EntropyRegularizer)]


def _read_states(model: Any) -> None:
    """Let a model that compiles by itself read the factors of terms that it has in common with a shared one."""
    terms = _terms(model)
    if any(term.is_shared for term in terms):
        for term in terms:
            term.share(model)
            term.set_strength(term.factor, float(term.multiplier))


def _variables(model: Any) -> list[Any]:
    of_metrics = {id(variable) for variable in model.metrics_variables}
    return [*(v for v in model.variables if id(v) not in of_metrics), *model.optimizer.variables]


def _size(model: Any) -> int:
    return sum(math.prod(variable.shape) for variable in _variables(model))
