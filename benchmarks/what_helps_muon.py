"""Arms of what_helps.py with Keras's Muon optimizer, which orthogonalises each update of a kernel.

Within a task, every arm chooses from as many settings. A pilot on the tuning seeds set the ranges.
"""

import functools

import keras

from keras_entropy import ConvEntropy, DenseEntropy, TotalCorrelation
from keras_entropy.study import Arm, SoftOrthogonality

Orthogonal = functools.partial(SoftOrthogonality, mode="columns")


class ConvMuon(keras.optimizers.Muon):
    """Muon also for convolutions, whose kernel is a matrix of pixels and channels by filters; Adam for the head.

    Keras's own Muon trains every kernel that is not a matrix with Adam.
    """

    def _should_use_adamw(self, variable):  # Keras has no public way to name the variables that Muon trains
        return len(variable.shape) < 2 or "head" in variable.path

    def zeropower_via_newtonschulz5(self, x, steps):
        """The update of a kernel, with the scale that Keras gives it for the shape of the matrix."""
        matrix = keras.ops.reshape(x, (-1, x.shape[-1]))
        update = super().lr_adjust(super().zeropower_via_newtonschulz5(matrix, steps))
        return keras.ops.reshape(update, x.shape)

    def lr_adjust(self, x):
        """Nothing: the scale is there."""
        return x


def optimizer(name, learning_rate):
    """Adam or Muon, without the weight decay that Muon has by default: L2 is tuned instead."""
    if name == "adam":
        return keras.optimizers.Adam(learning_rate)
    kind = {"muon": keras.optimizers.Muon, "conv muon": ConvMuon}[name]
    return kind(learning_rate, weight_decay=None, adam_weight_decay=None)


def rival(name, kind, rates, regularizer=None, **options):
    """An arm with an optimizer and a tuned learning rate. A list is a tuned axis, all else is fixed."""
    axes = {"learning_rate": rates, **{axis: values for axis, values in options.items() if isinstance(values, list)}}
    fixed = {axis: value for axis, value in options.items() if axis not in axes}
    return Arm(name, None, regularizer, tune=axes, optimizer=kind, **fixed)


def autoencoders(l2, adam, muon):
    """Adam and Muon with L2 on centred inputs."""
    options = {"inputs": "centred", "l2": l2}
    return [rival("Adam, L2", "adam", adam, **options), rival("Muon, L2", "muon", muon, **options)]


def autoencoder_rivals(l2, tuned_l2, adam, muon):
    """The same with a tuned L2, and Muon with terms and the fixed L2."""
    fixed = {"inputs": "centred", "l2": l2}
    return [
        *autoencoders(tuned_l2, adam, muon),
        rival("Muon, DenseEntropy", "muon", muon, DenseEntropy, factor=[1e-4, 1e-3], **fixed),
        rival("Muon, TotalCorrelation", "muon", muon, TotalCorrelation, factor=[1e-3, 1e-2], **fixed),
        rival("Muon, infomax", "muon", muon, infomax=[1e-4, 1e-3], **fixed),
        rival("Muon, soft orthogonality", "muon", muon, Orthogonal, factor=[1e-3, 1e-2], **fixed),
    ]


def cnn_rivals():
    """Adam, Keras's Muon, and Muon for convolutions, with a tuned L2; terms on the latter, without L2."""
    adam, conv = [2.5e-3, 5e-3, 1e-2], [5e-3, 1e-2, 2e-2]
    tuned, fixed = {"inputs": "standardised", "l2": [0.0, 1e-4]}, {"inputs": "standardised", "l2": 0.0}
    return [
        rival("Adam, L2", "adam", adam, **tuned),
        rival("Keras's Muon, L2", "muon", adam, **tuned),
        rival("Muon, L2", "conv muon", conv, **tuned),
        rival("Muon, ConvEntropy", "conv muon", conv, ConvEntropy, factor=[1e-2, 1e-1], **fixed),
        rival("Muon, soft orthogonality", "conv muon", conv, Orthogonal, factor=[1e-1, 1.0], **fixed),
    ]


def tasks(autoencoder, cnn, dense, image):
    """The tasks, for functions that build the models, and the options of the other tasks with these models.

    A run with Muon at width 180 is long: no terms there.
    """
    dense, image = ({**options, "tune": {}} for options in (dense, image))
    narrow = autoencoder_rivals(1e-5, [1e-5, 4e-5], [2e-3, 4e-3, 8e-3], [1.5e-3, 3e-3, 6e-3])
    wide = autoencoders(1e-6, [1e-3, 2e-3, 4e-3, 8e-3], [7.5e-4, 1.5e-3, 3e-3, 6e-3])
    return {
        "autoencoder-60-muon": (functools.partial(autoencoder, 60), narrow, dense),
        "autoencoder-180-muon": (functools.partial(autoencoder, 180), wide, dense),
        "cnn-2-muon": (functools.partial(cnn, 2), cnn_rivals(), image),
    }
