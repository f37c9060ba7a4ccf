"""Problems, finished runs and faults that the tests of `landscape` share."""

import contextlib
import dataclasses
import functools

import keras
import numpy as np
import pytest

from keras_entropy import _files, landscape
from keras_entropy.landscape import exact, samplers
from keras_entropy.landscape.axis import Axis, bins_of

ON_JAX = pytest.mark.skipif(keras.backend.backend() != "jax", reason="this sampler needs the JAX backend")
BACKENDS = [
    pytest.param("numba", marks=pytest.mark.once),
    pytest.param("numpy", marks=pytest.mark.once),
    pytest.param("jax", marks=ON_JAX),
]

DIMENSION = 10  # of the ball in most tests: Numba compiles a kernel for each dimension


def ball_window(dimension=DIMENSION, bins=12, **options):
    """The bins of the ball at their exact weights."""
    edges = exact.ball_edges(dimension, bins=bins)
    return samplers.Window(bins_of([Axis("energy", edges)]), exact.ball_entropy(dimension, edges), **options)


def without_kernel(problem):
    return dataclasses.replace(problem, kernel=None)


@functools.cache
def ball_run():
    """A short finished run along one axis."""
    edges = {"energy": exact.ball_edges(DIMENSION, bins=8)}
    return landscape.density_of_states(landscape.ball_problem(DIMENSION), "energy", 2e5, edges=edges)


@functools.cache
def map_run():
    """A short finished run along two axes."""
    edges = {"energy": exact.ball_edges(6, bins=6)}
    return landscape.density_of_states(landscape.ball_problem(6), ["energy", "positive"], 1e5, edges=edges, walkers=64)


def bits(found):
    """Everything that a run has found, as bytes."""
    arrays = [getattr(found, field.name) for field in dataclasses.fields(found)]
    arrays = [array for array in arrays if isinstance(array, np.ndarray)]
    arrays += [part for mean in found.means.values() for part in mean]
    return b"".join(array.tobytes() for array in arrays) + str(found.round_trips).encode()


class Killed(BaseException):
    """Stands for the end of the process."""


def kill_at_write(monkeypatch, number, moment):
    """Make the write with this number, from 0 on, end as a kill `before`, `within` or `after` it would leave it."""
    writes = iter(range(10**6))
    replacing = _files.replacing

    @contextlib.contextmanager
    def killed(path):
        if next(writes) != number:
            with replacing(path) as temporary:
                yield temporary
            return
        if moment == "before":
            raise Killed
        if moment == "within":
            temporary = path.with_name(f"{_files.PARTIAL}killed")
            yield temporary
            temporary.write_bytes(temporary.read_bytes()[: temporary.stat().st_size // 2])
        else:
            with replacing(path) as temporary:
                yield temporary
        raise Killed

    monkeypatch.setattr(_files, "replacing", killed)
