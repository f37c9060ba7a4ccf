"""All formulas of the package, as pure functions of arrays.

Each function takes NumPy arrays, tensors of the Keras backend or `keras.Variable`s. It computes NumPy arrays in
float64 on the host and returns NumPy arrays. It computes tensors with the backend, in float32 (float64 tensors in
float64), with a gradient, and also inside compiled functions. Entropies are in nats; those of probabilities
(`sigmoid_entropy`, `softmax_entropy`) are in bits.

The linear map x -> Wx changes the differential entropy by log|det W| (Meni et al., 2023, theorem 2). If W is not
square, the product of its singular values takes the place of |det W|. `epsilon` is the standard deviation of an assumed
noise: each value is then the entropy of the output of the map plus independent Gaussian noise, so that values and
gradients are finite for singular matrices too. Functions of representations take its variance.

Sources:
    Meni, White, Mayo, Pilkiewicz (2023): Entropy-based guidance of deep neural networks.
"""

from keras_entropy.functional.activation import ACTIVATIONS_OF_OUTPUT, is_elementwise, log_slope
from keras_entropy.functional.conv import conv_log_spectrum, conv_log_volume, transfer_shape
from keras_entropy.functional.corners import corner, corner_log_magnitude, corner_log_volume
from keras_entropy.functional.correlation import correlation_log_spectrum, total_correlation
from keras_entropy.functional.dense import BLOCKS, dense_log_spectrum, dense_log_volume, log_abs_det
from keras_entropy.functional.elementary import log_magnitude, reciprocal
from keras_entropy.functional.layout import split_groups
from keras_entropy.functional.likelihood import gaussian_negative_log_likelihood
from keras_entropy.functional.logits import sigmoid_entropy, softmax_entropy
from keras_entropy.functional.representation import (
    BIASES,
    coding_rate,
    effective_rank,
    gaussian_entropy,
    gaussian_entropy_bias,
    is_rank_limited,
)

__all__ = [
    "ACTIVATIONS_OF_OUTPUT",
    "BIASES",
    "BLOCKS",
    "coding_rate",
    "conv_log_spectrum",
    "conv_log_volume",
    "corner",
    "corner_log_magnitude",
    "corner_log_volume",
    "correlation_log_spectrum",
    "dense_log_spectrum",
    "dense_log_volume",
    "effective_rank",
    "gaussian_entropy",
    "gaussian_entropy_bias",
    "gaussian_negative_log_likelihood",
    "is_elementwise",
    "is_rank_limited",
    "log_abs_det",
    "log_magnitude",
    "log_slope",
    "reciprocal",
    "sigmoid_entropy",
    "softmax_entropy",
    "split_groups",
    "total_correlation",
    "transfer_shape",
]
