"""Which sampler moves the walkers of a problem."""

from __future__ import annotations

from keras_entropy import _backend, _checks
from keras_entropy.landscape.problems.problem import Problem
from keras_entropy.landscape.samplers.numpy_sampler import NumpySampler
from keras_entropy.landscape.samplers.sampler import Sampler

BACKENDS = ("numba", "jax", "numpy")


def select_sampler(
    problem: Problem, axes: tuple[str, ...], backend: str | None = None, threads: int | None = None
) -> Sampler:
    """Return the sampler of a backend, or the first one that can evaluate the problem.

    Args:
        problem: What is sampled.
        axes: Names of the observables of the axes.
        backend: "numba", "jax" or "numpy", or None for the first of them that serves; "jax" is chosen only for a
            problem that is declared `traceable`.
        threads: Integer. Number of threads of "numba". Defaults to None: one for each core.

    Raises:
        ValueError: For a backend that cannot evaluate the problem.
        ModuleNotFoundError: If the problem has a kernel and Numba is not installed.
    """
    if backend is not None:
        _checks.one_of("backend", backend, BACKENDS)
    kernel = None if problem.kernel is None or backend not in (None, "numba") else problem.kernel(axes)
    if kernel is not None:
        from keras_entropy.landscape.samplers.numba_sampler import NumbaSampler

        return NumbaSampler(problem, kernel, threads)
    if backend == "numba":
        raise ValueError(
            f"`backend`='numba' needs a compiled kernel, and {problem.name} has no kernel for {', '.join(axes)}. Use "
            "backend='jax' or backend='numpy'."
        )
    on_jax = _backend.framework().transforms_functions
    if backend == "jax" and not on_jax:
        raise ValueError("`backend`='jax' needs the JAX backend. Set KERAS_BACKEND=jax, or use backend='numpy'.")
    if backend == "jax" or (backend is None and on_jax and problem.traceable):
        from keras_entropy.landscape.samplers.jax_sampler import JaxSampler

        return JaxSampler(problem)
    return NumpySampler(problem)
