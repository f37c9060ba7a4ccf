"""What a random walk needs of a small model: sizes and compiled functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Kernel(NamedTuple):
    """Sizes and compiled functions of a model, for the observables of one or two axes.

    `a` and `b` are the observables of the axes; with one axis, `b` is 0. `work` is the scratch array of a walker.

    Attributes:
        dimension: Integer d. Number of parameters.
        words: Integer. Length of `work`.
        dtype: Type of `work`.
        observables: Names of what `observe` returns.
        prepare: Function of the problem's data that returns `data`, the arrays for the compiled functions.
        load: `load(parameters, data, work) -> (a, b)` evaluates everything.
        propose: `propose(work, data, parameters, i, new) -> (a, b)` evaluates a change of component i to `new`.
        accept: `accept(work, data, parameters, i, new)` makes the proposal current. Call it before
            `parameters[i] = new`.
        observe: `observe(work, data, parameters)` returns all observables, as floats.
    """

    dimension: int
    words: int
    dtype: type
    observables: tuple[str, ...]
    prepare: Callable[..., tuple[Any, ...]]
    load: Any
    propose: Any
    accept: Any
    observe: Any

    def work(self, walkers: int) -> NDArray[Any]:
        """Return scratch arrays (walkers, words), each of which begins at the start of a cache line."""
        spare = 64 // np.dtype(self.dtype).itemsize
        flat: NDArray[Any] = np.zeros(walkers * self.words + spare, self.dtype)
        first = -flat.ctypes.data % 64 // flat.itemsize
        return flat[first : first + walkers * self.words].reshape(walkers, self.words)
