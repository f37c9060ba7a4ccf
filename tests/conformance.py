"""What passes the batteries: every regularizer, by a row in `CASES`, and every layer, by a row in `LAYERS`."""

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
from oracles import conv_log_volume, leading, log_volume, total_correlation

from keras_entropy import (
    ConvCornerEntropy,
    ConvEntropy,
    DenseEntropy,
    DualDense,
    EntropyActivation,
    RepresentationEntropy,
    TotalCorrelation,
)


@dataclasses.dataclass(frozen=True)
class Case:
    """A regularizer, a layer that takes it, and its penalty in float64, from the definition."""

    name: str
    make: Callable[..., keras.Regularizer]
    layer: Callable[[keras.Regularizer], keras.Layer]
    input_shape: tuple[int, ...]
    kernel_shape: tuple[int, ...]
    oracle: Callable[[np.ndarray], float]
    # A bound on every element of the gradient that the noise floor gives.
    gradient_bound: float
    # False where the penalty of a singular kernel is not minus the factor times an entropy.
    is_entropy: bool = True


EPSILON = 1e-3
FACTOR = 0.5


def _corner(kernel):
    return kernel.reshape(-1, *kernel.shape[-2:])[0]


def _log(x, epsilon=EPSILON):
    return 0.5 * np.log(x**2 + epsilon**2)


def _det(kernel):
    with np.errstate(divide="ignore"):
        return np.exp(np.linalg.slogdet(leading(kernel))[1])


def _dense(regularizer):
    return keras.layers.Dense(4, kernel_regularizer=regularizer)


def _einsum(regularizer):
    return keras.layers.EinsumDense("ab,cb->ac", output_shape=4, kernel_regularizer=regularizer)


def _conv(kind, argument="kernel_regularizer", **arguments):
    return lambda regularizer: kind(kernel_size=3, **{argument: regularizer}, **arguments)


def _make(kind, **defaults):
    return lambda **changes: kind(**{"factor": FACTOR, "epsilon": EPSILON, **defaults, **changes})


def _tc(kernel, **arguments):
    return total_correlation(kernel, EPSILON, **arguments)


def _depthwise(kernel):
    return kernel.reshape(*kernel.shape[:-2], 1, -1)


BOUND = FACTOR / (2 * EPSILON)
L = keras.layers

CASES = [
    Case(
        "dense", _make(DenseEntropy), _dense, (6,), (6, 4),
        lambda w: -FACTOR * log_volume(w, EPSILON) / 4, BOUND / 4,
    ),
    Case(
        "dense, wide, sum", _make(DenseEntropy, reduction="sum"), _dense, (3,), (3, 4),
        lambda w: -FACTOR * log_volume(w, EPSILON), BOUND,
    ),
    Case(
        "dense, suppress", _make(DenseEntropy, factor=-FACTOR), _dense, (6,), (6, 4),
        lambda w: FACTOR * log_volume(w, EPSILON) / 4, BOUND / 4,
    ),
    Case(
        "dense, leading", _make(DenseEntropy, block="leading"), _dense, (6,), (6, 4),
        lambda w: -FACTOR * log_volume(leading(w), EPSILON) / 4, BOUND / 4,
    ),
    Case(
        "einsum, transposed", _make(DenseEntropy, block="leading"), _einsum, (6,), (4, 6),
        lambda w: -FACTOR * log_volume(leading(w), EPSILON) / 4, BOUND / 4,
    ),
    Case(
        "dense, reciprocal", _make(DenseEntropy, form="reciprocal", block="leading"), _dense, (6,), (6, 4),
        lambda w: FACTOR / (_det(w) + EPSILON), np.inf, is_entropy=False,
    ),
    Case(
        "corner, 1-D", _make(ConvCornerEntropy), _conv(L.Conv1D, filters=4), (8, 3), (3, 3, 4),
        lambda w: -FACTOR * _log(_corner(w)).mean(), BOUND,
    ),
    Case(
        "corner, 2-D", _make(ConvCornerEntropy), _conv(L.Conv2D, filters=4, strides=2), (8, 8, 3), (3, 3, 3, 4),
        lambda w: -FACTOR * _log(_corner(w)).mean(), BOUND,
    ),
    Case(
        "corner, 3-D, sum", _make(ConvCornerEntropy, reduction="sum"), _conv(L.Conv3D, filters=2),
        (4, 4, 4, 2), (3, 3, 3, 2, 2), lambda w: -FACTOR * _log(_corner(w)).sum(), BOUND,
    ),
    Case(
        "corner, groups, per filter",
        _make(ConvCornerEntropy, factor=[1, 2, -0.5, 0.0], reduction="sum"), _conv(L.Conv2D, filters=4, groups=2),
        (8, 8, 4), (3, 3, 2, 4), lambda w: -(_log(_corner(w)) * [1, 2, -0.5, 0]).sum(), 4 * BOUND,
        is_entropy=False,
    ),
    Case(
        "corner, transpose, per filter",
        _make(ConvCornerEntropy, factor=[1.0, 2.0], layout="transpose"), _conv(L.Conv2DTranspose, filters=2),
        (8, 8, 3), (3, 3, 2, 3), lambda w: -(_log(_corner(w)) * [[1], [2]]).mean(), 4 * BOUND,
    ),
    Case(
        "corner, depthwise, per filter",
        _make(ConvCornerEntropy, factor=[1.0, 2.0, 3.0, 4.0], layout="depthwise"),
        _conv(L.DepthwiseConv2D, "depthwise_regularizer", depth_multiplier=2), (8, 8, 2), (3, 3, 2, 2),
        lambda w: -(_log(_corner(w)) * [[1, 2], [3, 4]]).mean(), 8 * BOUND,
    ),
    Case(
        "corner, reciprocal", _make(ConvCornerEntropy, form="reciprocal"), _conv(L.Conv2D, filters=4),
        (8, 8, 3), (3, 3, 3, 4), lambda w: FACTOR * (1 / (np.abs(_corner(w)) + EPSILON)).mean(), FACTOR / EPSILON**2,
    ),
    Case(
        "corner matrix", _make(ConvCornerEntropy, channels="matrix"), _conv(L.Conv2D, filters=5, dilation_rate=2),
        (8, 8, 3), (3, 3, 3, 5), lambda w: -FACTOR * log_volume(_corner(w), EPSILON) / 3, BOUND,
    ),
    Case(
        "corner matrix, groups, sum",
        _make(ConvCornerEntropy, channels="matrix", groups=2, reduction="sum"), _conv(L.Conv2D, filters=4, groups=2),
        (8, 8, 4), (3, 3, 2, 4),
        lambda w: -FACTOR * (log_volume(_corner(w)[:, :2], EPSILON) + log_volume(_corner(w)[:, 2:], EPSILON)), BOUND,
    ),
    Case(
        "corner matrix, depthwise",
        _make(ConvCornerEntropy, channels="matrix", layout="depthwise"),
        _conv(L.DepthwiseConv2D, "depthwise_regularizer", depth_multiplier=2), (8, 8, 3), (3, 3, 3, 2),
        lambda w: -FACTOR * _log(np.linalg.norm(_corner(w), axis=1)).mean(), BOUND,
    ),
    Case(
        "conv", _make(ConvEntropy, grid=4), _conv(L.Conv2D, filters=4), (8, 8, 3), (3, 3, 3, 4),
        lambda w: -FACTOR * conv_log_volume(w, 4, EPSILON) / 3, BOUND / 3,
    ),
    Case(
        "conv, 1-D, dilation, sum, suppress",
        _make(ConvEntropy, factor=-FACTOR, dilation=2, reduction="sum"), _conv(L.Conv1D, filters=2, dilation_rate=2),
        (8, 2), (3, 2, 2), lambda w: FACTOR * conv_log_volume(w, 16, EPSILON, dilation=2), BOUND,
    ),
    Case(
        "conv, 3-D", _make(ConvEntropy, grid=3), _conv(L.Conv3D, filters=2), (4, 4, 4, 1), (3, 3, 3, 1, 2),
        lambda w: -FACTOR * conv_log_volume(w, 3, EPSILON), BOUND,
    ),
    Case(
        "conv, strides, groups",
        _make(ConvEntropy, grid=4, strides=2, groups=2), _conv(L.Conv2D, filters=4, strides=2, groups=2),
        (8, 8, 4), (3, 3, 2, 4), lambda w: -FACTOR * conv_log_volume(w, 4, EPSILON, strides=2, groups=2) / 4, BOUND,
    ),
    Case(
        "conv, transpose", _make(ConvEntropy, grid=4, layout="transpose", strides=2),
        _conv(L.Conv2DTranspose, filters=2, strides=2), (8, 8, 3), (3, 3, 2, 3),
        lambda w: -FACTOR * conv_log_volume(w, 4, EPSILON, strides=2) / 3, BOUND,
    ),
    Case(
        "conv, depthwise", _make(ConvEntropy, grid=4, layout="depthwise"),
        _conv(L.DepthwiseConv2D, "depthwise_regularizer", depth_multiplier=2), (8, 8, 2), (3, 3, 2, 2),
        lambda w: -FACTOR * conv_log_volume(_depthwise(w), 4, EPSILON, groups=2) / 2, BOUND,
    ),
    Case(
        "correlation, dense", _make(TotalCorrelation), _dense, (6,), (6, 4),
        lambda w: FACTOR * _tc(w) / 4, np.inf, is_entropy=False,
    ),
    Case(
        "correlation, wide, sum", _make(TotalCorrelation, reduction="sum"), _dense, (3,), (3, 4),
        lambda w: FACTOR * _tc(w), np.inf, is_entropy=False,
    ),
    Case(
        "correlation, einsum", _make(TotalCorrelation, layout="transpose"), _einsum, (6,), (4, 6),
        lambda w: FACTOR * _tc(w.T) / 4, np.inf, is_entropy=False,
    ),
    Case(
        "correlation, conv, strides", _make(TotalCorrelation, grid=4, strides=2), _conv(L.Conv2D, filters=4, strides=2),
        (8, 8, 2), (3, 3, 2, 4), lambda w: FACTOR * _tc(w, n=4, strides=2) / 4, np.inf, is_entropy=False,
    ),
    Case(
        "correlation, conv, groups", _make(TotalCorrelation, grid=4, groups=2), _conv(L.Conv2D, filters=4, groups=2),
        (8, 8, 4), (3, 3, 2, 4), lambda w: FACTOR * _tc(w, n=4, groups=2) / 4, np.inf, is_entropy=False,
    ),
    Case(
        "correlation, transpose", _make(TotalCorrelation, grid=4, layout="transpose"),
        _conv(L.Conv2DTranspose, filters=2), (8, 8, 3), (3, 3, 2, 3),
        lambda w: FACTOR * _tc(w.swapaxes(-1, -2), n=4) / 2, np.inf, is_entropy=False,
    ),
    Case(
        "correlation, depthwise", _make(TotalCorrelation, grid=4, layout="depthwise"),
        _conv(L.DepthwiseConv2D, "depthwise_regularizer", depth_multiplier=2), (8, 8, 2), (3, 3, 2, 2),
        lambda w: FACTOR * _tc(_depthwise(w), n=4, groups=2) / 4, np.inf, is_entropy=False,
    ),
]  # fmt: skip


@dataclasses.dataclass(frozen=True)
class LayerCase:
    """A layer, and its output and its term in float64 for an input and its weights."""

    name: str
    make: Callable[..., keras.layers.Layer]
    oracle: Callable[..., tuple[np.ndarray, float]]
    # The name of the argument that scales the term.
    strength: str
    # Whether positions that are masked are left out of the term.
    masks: bool


def _sigmoid(z):
    return 1 / (1 + np.exp(-z))


def _dual(x, w, g, b):
    z = x @ (w + g) + b
    d = _sigmoid(z)
    return d, FACTOR * -(d * np.log2(d) + (1 - d) * np.log2(1 - d)).mean()


def _softplus(x):
    return np.log1p(np.exp(x)), FACTOR * np.log1p(np.exp(-x)).mean()


def _represented(x):
    variances = np.linalg.eigvalsh(np.cov(x.reshape(-1, x.shape[-1]), rowvar=False))
    return x, FACTOR * (variances - np.log(variances + 1e-2)).mean() / 2


LAYERS = [
    LayerCase(
        "activation", lambda **changes: EntropyActivation(**{"activation": "softplus", "factor": FACTOR, **changes}),
        _softplus, "factor", masks=False,
    ),
    LayerCase(
        "dual", lambda **changes: DualDense(3, **{"dual_initializer": "random_normal", "bias_initializer": "ones",
                                                  "decision_weight": FACTOR, **changes}),
        _dual, "decision_weight", masks=True,
    ),
    LayerCase(
        "representation", lambda **changes: RepresentationEntropy(**{"factor": FACTOR, "pool": None, **changes}),
        _represented, "factor", masks=True,
    ),
]  # fmt: skip
