"""Samplers: they move walkers through the box of a problem, weighted by the bin of an observable.

`init` draws the `WalkerState`, `select_sampler` returns the `Sampler` of a backend, and its `step` moves the walkers in
a `Window` and counts in a `WalkerInfo`. `density_of_states` does all of this; use a sampler directly to sample at known
weights.
"""

from keras_entropy.landscape.samplers.octaves import octaves_of
from keras_entropy.landscape.samplers.sampler import (
    HMC,
    Sampler,
    WalkerInfo,
    WalkerState,
    Window,
    evaluate,
    init,
    init_at,
    random_states,
)
from keras_entropy.landscape.samplers.selection import BACKENDS, select_sampler

__all__ = [
    "BACKENDS",
    "HMC",
    "Sampler",
    "WalkerInfo",
    "WalkerState",
    "Window",
    "evaluate",
    "init",
    "init_at",
    "octaves_of",
    "random_states",
    "select_sampler",
]
