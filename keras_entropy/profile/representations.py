"""How far the outputs of layers spread on data, and how many dimensions they use."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_entropy import _checks, _keras, functional
from keras_entropy._backend.adapter import HostArray
from keras_entropy.profile.sample import SamplePass
from keras_entropy.profile.selection import Selection, check_selection, select_layers
from keras_entropy.profile.weights import layers_by_path

ALL = "all"

_WITHOUT_EFFECT = (
    keras.layers.ActivityRegularization,
    keras.layers.AlphaDropout,
    keras.layers.Dropout,
    keras.layers.Flatten,
    keras.layers.GaussianDropout,
    keras.layers.GaussianNoise,
    keras.layers.Identity,
    keras.layers.Reshape,
    keras.layers.SpatialDropout1D,
    keras.layers.SpatialDropout2D,
    keras.layers.SpatialDropout3D,
)
"""Layers whose outputs, in inference mode, are their inputs in some shape."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Representation:
    """The outputs of a layer on a sample, as vectors: feature maps and sequences are averaged over their positions.

    The axis of the dimensions is that of the layer's `data_format`. Without one it is the last axis of sequences, and
    that of `keras.config.image_data_format()` for images and volumes.

    Attributes:
        path: String. Path of the layer.
        entropy: Float. `functional.gaussian_entropy` with a variance of the noise of 0.01, in nats per dimension.
        effective_rank: Float. `functional.effective_rank`: the number of dimensions that the vectors use. It has no
            scale: a collapse to a line is near 1, while a collapse to a point shows in `entropy`.
        dead: Float from 0 to 1. Part of the dimensions that are the same for all vectors.
        n: Integer. Number of vectors.
        d: Integer. Number of dimensions.
    """

    path: str
    entropy: float
    effective_rank: float
    dead: float
    n: int
    d: int

    @property
    def is_rank_limited(self) -> bool:
        """Whether the sample is too small to fill all dimensions: the noise then decides a part of `entropy`."""
        return functional.is_rank_limited(self.n, self.d)


def check_representations(representations: Any, sample: Any) -> Selection:
    """Return `"all"`, a tuple of globs, a predicate on layers, or None.

    Raises:
        TypeError: If it is anything else.
        ValueError: If there is no sample to measure them on.
    """
    if representations is not None and sample is None:
        remedy = "Give sample=, some hundred rows of the training inputs."
        raise ValueError(_checks.message("representations", "None without a sample", representations, remedy))
    if representations is not None and keras.tree.flatten(sample)[0].shape[0] < 2:
        expected = "at least two rows to measure representations on"
        raise ValueError(_checks.message("sample", expected, sample, "Give some hundred rows of the training inputs."))
    if isinstance(representations, str) and representations == ALL:
        return ALL
    return check_selection(representations, "representations")


def layers_with_representations(model: Any, representations: Selection) -> dict[str, Any]:
    """Return the layers by path that `"all"` or a selection chooses.

    `"all"` are the innermost layers whose outputs differ from their inputs. Globs are read as in `select`.

    Raises:
        ValueError: If a glob matches no layer, or a predicate chooses none.
    """
    every = layers_by_path(model)
    paths = {path: layer for path, layer in every.items() if not isinstance(layer, keras.layers.InputLayer)}
    if representations == ALL:
        return {
            path: layer
            for path, layer in paths.items()
            if not _keras.sublayers(layer) and not isinstance(layer, _WITHOUT_EFFECT)
        }
    chosen = select_layers(paths, representations, "representations")
    if not chosen:
        expected = f"a predicate that chooses layers of the model: {_checks.printable(', '.join(paths))}"
        raise ValueError(_checks.message("representations", expected, representations))
    return chosen


class Representations:
    """The outputs of layers on a sample.

    Args:
        sample_pass: `SamplePass`. The run on which they are recorded.
        layers: Mapping of layers by path.
    """

    def __init__(self, sample_pass: SamplePass, layers: Mapping[str, Any]) -> None:
        self._rows: dict[str, list[HostArray]] = {path: [] for path in layers}
        for path, layer in layers.items():
            sample_pass.watch(layer, "call", after=functools.partial(_add_vectors, self._rows[path], layer))

    def measured(self) -> tuple[Representation, ...]:
        """Measure all layers but some.

        Left out are those that the model did not call, whose output is not one tensor of real numbers, and those that
        it called for several widths.
        """
        return tuple(
            _representation(path, np.concatenate(rows))
            for path, rows in self._rows.items()
            if len({row.shape[1:] for row in rows}) == 1
        )


def positions_of(layer: Any, outputs: Any) -> tuple[int, ...] | None:
    """The axes of the outputs of a layer that count positions; None if they are no tensor of real numbers."""
    if not (
        len(getattr(outputs, "shape", ())) > 1
        and keras.backend.is_float_dtype(keras.backend.standardize_dtype(outputs.dtype))
    ):
        return None
    rank = len(outputs.shape)
    usual = keras.config.image_data_format() if rank > 3 else "channels_last"  # of sequences
    channels_first = getattr(layer, "data_format", usual) == "channels_first"
    return tuple(range(2, rank) if channels_first else range(1, rank - 1))


def _add_vectors(rows: list[HostArray], layer: Any, outputs: Any) -> None:
    """Add the outputs of a layer to a list, averaged over their positions."""
    axes = positions_of(layer, outputs)
    if axes is not None:
        rows.append(keras.ops.convert_to_numpy(outputs).astype(np.float64).mean(axis=axes))


def _representation(path: str, z: HostArray) -> Representation:
    n, d = z.shape
    enough = n > 1
    return Representation(
        path=path,
        entropy=float(functional.gaussian_entropy(z)) if enough else float("nan"),
        effective_rank=float(functional.effective_rank(z)) if enough else float("nan"),
        dead=float((z == z[0]).all(axis=0).mean()) if np.isfinite(z).all() else math.nan,
        n=n,
        d=d,
    )
