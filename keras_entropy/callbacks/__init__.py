"""Callbacks: `EntropyLogger` logs entropies and the loss without penalties, `FactorSchedule` changes factors.

They act from `on_train_begin` to `on_train_end`, in `fit` and in a training loop of your own, in a
`keras.callbacks.CallbackList` or called one by one.
"""

from keras_entropy.callbacks.entropy_logger import EntropyLogger
from keras_entropy.callbacks.factor_schedule import FactorSchedule

__all__ = ["EntropyLogger", "FactorSchedule"]
