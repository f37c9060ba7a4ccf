"""Outputs of layers that never change on data, such as those of dead ReLU units."""

from __future__ import annotations

import dataclasses
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
    watched = {path: _Watched(layer, sample_pass) for path, layer in _with_activation(model).items()}
    sample_pass.run(model, sample)
    seen = {path: layer for path, layer in watched.items() if layer.after.known}
    if not any(_differ(leaf) for leaf in leaves):
        raise ValueError(
            f"`sample` should have rows that differ: on equal rows every output is constant. Received: {rows} equal "
            "rows. Give rows of the training inputs, such as x[:500]."
        )
    for path, layer in seen.items():
        if not np.isfinite((layer.after.low, layer.after.high)).all():
            raise ValueError(
                f"`sample` should give finite outputs in each layer. Received: NaN or infinite outputs of "
                f"{_checks.printable(path)!r}. Check the sample. A profile without a sample names the weights that are "
                "not finite."
            )
    return tuple(
        ConstantOutputs(
            path=path,
            outputs=len(layer.after.low),
            constant=tuple(np.flatnonzero(layer.made()).tolist()),
            rows=rows,
        )
        for path, layer in seen.items()
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


class _Watched:
    """A layer: what its activation is applied to, and its outputs.

    A recurrent layer applies its activation to more than its inputs, so any input that varies counts.
    """

    def __init__(self, layer: Any, sample_pass: SamplePass) -> None:
        self._recurrent = isinstance(layer, keras.layers.RNN)
        self.before, self.after = _Extremes(layer), _Extremes(layer)
        activation = "call" if self._recurrent or isinstance(layer, _ACTIVATIONS) else "activation"
        if callable(getattr(layer, activation)):
            sample_pass.watch(layer, activation, before=self.before.widen)
        sample_pass.watch(layer, "call", after=self.after.widen)

    def made(self) -> HostArray:
        """Whether the activation makes each output constant: one value after it, several before it."""
        constant = np.asarray(self.after.low == self.after.high)
        if not self.before.known:  # a layer of a user that does not apply its activation
            return constant
        low, high = self.before.low, self.before.high
        varies = high - low > _ROUNDING * np.maximum(np.abs(low), np.abs(high))
        elementwise = varies.shape == constant.shape and not self._recurrent
        return np.asarray(constant & (varies if elementwise else varies.any()))


class _Extremes:
    """The smallest and the largest value of each output of a layer, or of each input of its activation."""

    def __init__(self, layer: Any) -> None:
        self._layer, self._several = layer, False
        self.low = self.high = np.zeros(0)

    @property
    def known(self) -> bool:
        """Boolean. Whether there was a value, and all calls of the layer had the same width."""
        return self.low.size > 0 and not self._several

    def widen(self, outputs: Any = None, *_: Any, **__: Any) -> None:
        """Take in a batch."""
        axes = positions_of(self._layer, outputs)
        if axes is None:
            return
        z = keras.ops.convert_to_numpy(outputs)
        low, high = z.min(axis=(0, *axes)), z.max(axis=(0, *axes))
        self._several |= self.low.size > 0 and self.low.shape != low.shape
        if self.low.size and not self._several:
            low, high = np.minimum(low, self.low), np.maximum(high, self.high)
        self.low, self.high = low, high
