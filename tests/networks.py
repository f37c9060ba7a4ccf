"""Small networks that several tests measure."""

import keras
import numpy as np

L = keras.layers


def built(*layers, shape=(4,), dtype=None):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *layers], name="net")


def fill(model, seed=0):
    """Weights that are the same on every backend; variances above 0."""
    rng = np.random.default_rng(seed)
    model.set_weights([np.abs(rng.normal(size=w.shape)) + 0.1 for w in model.get_weights()])
    return model


def log_singular_values(matrix):
    return np.log(np.linalg.svd(np.asarray(matrix, np.float64), compute_uv=False))


class Odd(L.Layer):
    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")
        self.mix = self.add_weight(shape=(shape[-1], 2), name="mix")
        self.built = True

    def call(self, x):
        return (x * self.scale) @ self.mix
