"""Every formula of the package, as pure functions of arrays.

All take NumPy arrays, tensors of the Keras backend or `keras.Variable`s. NumPy arrays are computed on the
host in float64 and give NumPy results; tensors are computed by the backend, in float32 (or float64 where
they are float64), with a gradient, also inside compiled functions. Entropies are in nats, but for those of
probabilities, which `sigmoid_entropy` and `softmax_entropy` give in bits.

The linear map x -> Wx changes differential entropy by log|det W| [A, theorem 2]; where W is not square,
the product of its singular values takes the place of |det W|. `epsilon` is a noise floor: with it every
value is the entropy of the map plus independent Gaussian noise of standard deviation `epsilon`, and values
and gradients are finite for singular matrices too.

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks".
"""

from keras_entropy.functional.activation import ACTIVATIONS_OF_OUTPUT, is_elementwise, log_slope
from keras_entropy.functional.conv import conv_log_spectrum, conv_log_volume, transfer_shape
from keras_entropy.functional.corners import corner, corner_log_magnitude, corner_log_volume, split_groups
from keras_entropy.functional.correlation import correlation_log_spectrum, total_correlation
from keras_entropy.functional.dense import BLOCKS, dense_log_spectrum, dense_log_volume, log_abs_det
from keras_entropy.functional.elementary import log_magnitude, reciprocal
from keras_entropy.functional.sigmoid import sigmoid_entropy, softmax_entropy

__all__ = [
    "ACTIVATIONS_OF_OUTPUT",
    "BLOCKS",
    "conv_log_spectrum",
    "conv_log_volume",
    "corner",
    "corner_log_magnitude",
    "corner_log_volume",
    "correlation_log_spectrum",
    "dense_log_spectrum",
    "dense_log_volume",
    "is_elementwise",
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
