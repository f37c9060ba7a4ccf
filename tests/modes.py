"""Value and gradient of a function of a tensor, in every mode in which the present backend can run it."""

import contextlib

import keras
import numpy as np
import pytest

BACKEND = keras.backend.backend()
MODES = {"tensorflow": ("eager", "graph", "xla"), "jax": ("eager", "jit"), "torch": ("eager",)}[BACKEND]
# XLA on TensorFlow, which a user has to ask for, compiles for a second or two.
EACH_MODE = [pytest.param(mode, marks=pytest.mark.slow) if mode == "xla" else mode for mode in MODES]


def value_and_gradient(function, x, mode="eager", dtype="float32"):
    """NumPy value and gradient at `x` of a scalar function of a tensor."""
    return compiled(function, mode, dtype)(x)


def compiled(function, mode="eager", dtype="float32"):
    """The function x -> (value, gradient) in NumPy, compiled once as `mode` says."""
    both = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[BACKEND](function, mode)
    return lambda x: tuple(keras.ops.convert_to_numpy(y) for y in both(np.asarray(x, dtype)))


def _tensorflow(function, mode):
    import tensorflow as tf

    def both(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = function(x)
        return value, tape.gradient(value, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    if mode != "eager":
        both = tf.function(both, jit_compile=mode == "xla")
    return lambda x: both(tf.constant(x))


def _jax(function, mode):
    import jax

    both = jax.value_and_grad(function)
    if mode == "jit":
        both = jax.jit(both)
    return lambda x: both(jax.numpy.asarray(x))


def _torch(function, mode):
    import torch

    def both(x):
        x = torch.tensor(x, requires_grad=True)
        value = function(x)
        if value.requires_grad:
            value.backward()
        return value.detach(), torch.zeros_like(x) if x.grad is None else x.grad

    return both


def float64_enabled(wanted):
    """JAX has float64 only where it is switched on."""
    if BACKEND != "jax":
        return contextlib.nullcontext()
    import jax
    from jax import experimental

    return (jax.enable_x64 if hasattr(jax, "enable_x64") else experimental.enable_x64)(wanted)  # older JAX
