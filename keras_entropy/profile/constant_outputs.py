"""Outputs of layers that never change on data, such as those of dead ReLU units."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import keras
import numpy as np

from keras_entropy import _checks, _keras
from keras_entropy._backend.adapter import HostArray
from keras_entropy.profile.representations import layers_with_representations, positions_of
from keras_entropy.profile.sample import SamplePass, checked_sample
from keras_entropy.profile.weights import layers_by_path

_ACTIVATIONS = (keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.PReLU, keras.layers.ELU)

_ROUNDING = 1e-6
"""Relative difference up to which values are taken as equal: sums of float32 depend on the rows of a batch."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConstantOutputs:
    """Outputs of a layer that never change on a sample.

    Attributes:
        path: String. Path of the layer.
        outputs: Integer. Number of outputs: units or channels.
        constant: Tuple of integers. Those with one value in all rows and at all positions, while what the activation
            is applied to varies; indices start at 0.
        rows: Integer. Number of rows of the sample.
    """

    path: str
    outputs: int
    constant: tuple[int, ...]
    rows: int


def constant_outputs(model: Any, sample: Any) -> tuple[ConstantOutputs, ...]:
    """Run a model on a sample, in inference mode, and look at the outputs of its layers that have an activation.

    An output that is constant because its inputs are is left out: a layer before it has the cause, or the sample. Of a
    recurrent layer the outputs are looked at, not those of its cell in each step. On JAX, layers inside what it
    compiles, such as `ops.scan` and `RematScope`, are not looked at.

    Args:
        model: A built Keras model.
        sample: Inputs of the model, at least two rows, as for `EntropyLogger`.

    Returns:
        A tuple of `ConstantOutputs`, one per layer with an output of real numbers.

    Raises:
        ValueError: If the sample does not fit the model, has fewer than two different rows, or gives outputs that are
            not finite.
    """
    sample = checked_sample(sample)
    leaves = keras.tree.flatten(sample)
    rows = leaves[0].shape[0]
    if rows < 2:
        raise ValueError(_checks.message("sample", "at least two rows of inputs", leaves[0], "Give some hundred rows."))
    sample_pass = SamplePass()
    extremes: dict[str, list[HostArray]] = {}
    before: dict[str, list[HostArray]] = {}
    for path, layer in _with_activation(model).items():
        before[path], extremes[path] = [], []
        _watch(sample_pass, layer, before[path], extremes[path])
    sample_pass.run(model, sample)
    if not any(_differ(leaf) for leaf in leaves):
        raise ValueError(
            f"`sample` should have rows that differ: on equal rows every output is constant. Received: {rows} equal "
            "rows. Give rows of the training inputs, such as x[:500]."
        )
    for path, ends in extremes.items():
        if ends and not np.isfinite(ends).all():
            raise ValueError(
                f"`sample` should give finite outputs in each layer. Received: NaN or infinite outputs of "
                f"{_checks.printable(path)!r}. Check the sample. A profile without a sample names the weights that are "
                "not finite."
            )
    return tuple(
        ConstantOutputs(
            path=path,
            outputs=len(ends[0]),
            constant=tuple(np.flatnonzero(_made(before[path], ends)).tolist()),
            rows=rows,
        )
        for path, ends in extremes.items()
        if ends
    )


def _differ(leaf: Any) -> bool:
    """Whether the rows of an array or of a sparse matrix differ."""
    if hasattr(leaf, "tocsr"):
        return any((leaf[:1] != leaf[i : i + 1]).nnz for i in range(1, leaf.shape[0]))
    values = keras.ops.convert_to_numpy(leaf)
    return bool((values != values[:1]).any())


def _with_activation(model: Any) -> dict[str, Any]:
    """The recurrent layers, and the innermost layers with an activation that are not in one, by path."""
    every = layers_by_path(model)
    recurrent = {path: layer for path, layer in every.items() if isinstance(layer, keras.layers.RNN)}
    inner = {id(part) for layer in recurrent.values() for part in _keras.layers_of(layer)}
    innermost = layers_with_representations(model, "all")
    return {
        path: layer
        for path, layer in every.items()
        if path in recurrent
        or (
            (path in innermost and id(layer) not in inner)
            and (hasattr(layer, "activation") or isinstance(layer, _ACTIVATIONS))
        )
    }


def _watch(sample_pass: SamplePass, layer: Any, before: list[HostArray], after: list[HostArray]) -> None:
    """Record the extremes of what the activation of a layer is applied to, and of the outputs of the layer."""
    activation = "call" if isinstance(layer, (*_ACTIVATIONS, keras.layers.RNN)) else "activation"
    if callable(getattr(layer, activation)):
        sample_pass.watch(layer, activation, before=functools.partial(_widen, before, layer))
    sample_pass.watch(layer, "call", after=functools.partial(_widen, after, layer))


def _made(before: list[HostArray], after: list[HostArray]) -> HostArray:
    """Whether an activation makes each output constant: one value after it, several before it."""
    constant = np.asarray(after[0] == after[1])
    if not before:  # a layer of a user that does not apply its activation
        return constant
    low, high = before
    varies = high - low > _ROUNDING * np.maximum(np.abs(low), np.abs(high))
    # A recurrent layer, or a layer of a user, may apply its activation to something else.
    return np.asarray(constant & (varies if varies.shape == constant.shape else varies.any()))


def _widen(ends: list[HostArray], layer: Any, outputs: Any = None, *_: Any, **__: Any) -> None:
    """Widen the smallest and the largest value of each output by those of a batch."""
    axes = positions_of(layer, outputs)
    if axes is None:
        return
    z = keras.ops.convert_to_numpy(outputs)
    low, high = z.min(axis=(0, *axes)), z.max(axis=(0, *axes))
    known = ends and ends[0].shape == low.shape
    ends[:] = [np.minimum(low, ends[0]), np.maximum(high, ends[1])] if known else [low, high]
