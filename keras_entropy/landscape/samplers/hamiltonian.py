"""Hamiltonian Monte Carlo: moves of all parameters at once along the gradient of an observable.

The walkers of a Wang-Landau run move in the potential V = ln g(E(x)), whose gradient is g'(E) grad E, with g' the slope
of the log weights. This is the Wang-Landau molecular dynamics that Zhang (2021) proposes as future work, with a
Metropolis test at the end of each trajectory, so that the step size causes no bias (Duane et al., 1987). With one
leapfrog step it is the Metropolis-adjusted Langevin algorithm (Roberts and Tweedie, 1996).

Sources:
    Duane, Kennedy, Pendleton, Roweth (1987): Hybrid Monte Carlo.
    Roberts, Tweedie (1996): Exponential convergence of Langevin distributions and their discrete approximations.
    Zhang (2021): Correlation between entropy and generalizability in a neural network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from keras_entropy.landscape.axis import Bins
from keras_entropy.landscape.problems.problem import Problem, uniform_parameters

Array = np.ndarray[Any, Any]

_REACH, _SPREAD = 0.15, 0.4
"""Median step size, in units of the length over which the potential of one component rises by a nat, and standard
deviation of the log of the step size. They were tuned on networks and balls; other values only change the acceptance
rate."""

_CHECKED_POINTS = 64
"""Number of points of the box at which `check_gradient` evaluates the gradient."""


class Slope(NamedTuple):
    """Slope of the log weights along an observable: linear between knots, constant beyond them.

    Attributes:
        knots: Array (n - 1,). Increasing values of the observable, the edges between n target bins.
        slopes: Array (n - 1,). Nats per unit of the observable.
    """

    knots: Any
    slopes: Any


class Trajectory(NamedTuple):
    """End points of the trajectories of B walkers.

    Attributes:
        parameters: Array (d, B).
        values: Array (B,). Values of the observable.
        log_ratio: Array (B,), nats. Added to the log ratio of the weights in the Metropolis test: the loss of kinetic
            energy, and the log ratio of the densities of this step size at the end and at the start.
    """

    parameters: Any
    values: Any
    log_ratio: Any


def check_gradient(problem: Problem, name: str) -> None:
    """Evaluate the gradient of an observable at uniform points of the box.

    Raises:
        ValueError: If JAX cannot differentiate the energy, or if the gradient is not finite or zero everywhere.
    """
    points = jnp.asarray(uniform_parameters(problem, _CHECKED_POINTS), jnp.float32)
    remedy = "Use hmc_fraction=0, or an energy that JAX can differentiate."
    try:
        gradient = np.asarray(jax.jit(jax.grad(lambda x: problem.energy(x)[name].sum()))(points))
    except (TypeError, AttributeError, jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"JAX cannot differentiate {name!r}: {reason}. {remedy}") from error
    if not np.all(np.isfinite(gradient)):
        raise ValueError(f"The gradient of {name!r} is not finite at some points of the box. {remedy}")
    if not gradient.any():
        raise ValueError(f"The gradient of {name!r} is zero at all of {_CHECKED_POINTS} points of the box. {remedy}")


def slope_of(bins: Bins, log_g: Array) -> Slope:
    """Return the slope of log weights (n,) of the target bins of one axis."""
    chosen = bins.cells[:, 0]
    if len(chosen) < 2:
        return Slope(np.zeros(1), np.zeros(1))
    return Slope(bins.axes[0].edges[chosen[1:]], np.diff(log_g) / np.diff(bins.axes[0].centers[chosen]))


def trajectory(
    observable: Callable[[Any], Any],
    slope: Slope,
    half_width: float,
    parameters: Any,
    key: Any,
    num_leapfrog_steps: Any,
) -> Trajectory:
    """Draw momenta and a step size, and integrate.

    The step size is log-normal about a scale that the force at the start sets, so that it fits shallow and deep bins
    alike. The force at the end sets another scale; `Trajectory.log_ratio` corrects for that, and for the kinetic energy
    that the integration loses. The caller adds the ratio of the true weights: a force from smoothed weights lowers the
    acceptance rate and causes no bias.

    Args:
        observable: Function of parameters (d, B) that returns (B,).
        slope: Slope of the log weights along the observable.
        half_width: Float. Half width of the box.
        parameters: Array (d, B), inside the box.
        key: Random key of JAX.
        num_leapfrog_steps: Integer. Leapfrog steps.
    """

    def potential_gradient(x: Any) -> tuple[Any, Any]:
        values, pullback = jax.vjp(observable, x)
        (gradient,) = pullback(jnp.ones_like(values))
        return jnp.interp(values, slope.knots, slope.slopes) * gradient, values

    def log_scale(force: Any) -> Any:
        """Return (B,) logs of the median step sizes, which are at most the half width of the box."""
        return jnp.log(jnp.minimum(_REACH / jnp.sqrt((force**2).mean(0)), half_width))

    keys = jax.random.split(key)
    begin = potential_gradient(parameters)
    drawn = jax.random.normal(keys[0], begin[1].shape)
    usual = log_scale(begin[0])
    momenta = jax.random.normal(keys[1], parameters.shape)
    step_size = jnp.exp(usual + _SPREAD * drawn)
    end, last, force, values = leapfrog(
        potential_gradient, (parameters, momenta, *begin), step_size, half_width, num_leapfrog_steps
    )
    back = drawn + (usual - log_scale(force)) / _SPREAD
    return Trajectory(end, values, ((momenta**2).sum(0) - (last**2).sum(0) + drawn**2 - back**2) / 2)


def leapfrog(
    potential_gradient: Callable[[Any], tuple[Any, Any]],
    begin: tuple[Any, ...],
    step_size: Any,
    half_width: float,
    num_leapfrog_steps: Any,
) -> tuple[Any, ...]:
    """Integrate by leapfrog steps in a box that reflects the parameters at its walls.

    Each step preserves volume, and a step from reversed momenta undoes it, reflections included, for any force.

    Args:
        potential_gradient: Function of parameters (d, B) that returns the gradient of the potential, (d, B), and an
            auxiliary value.
        begin: Parameters (d, B), momenta (d, B), and what `potential_gradient` returns there.
        step_size: Array (B,). Without a force, a component moves by this length on average.
        half_width: Float. Half width of the box.
        num_leapfrog_steps: Integer. Number of steps.

    Returns:
        The same four at the end.
    """

    def leapfrog_step(_: Any, carry: tuple[Any, ...]) -> tuple[Any, ...]:
        x, momenta, force, _ = carry
        momenta = momenta - step_size / 2 * force
        unfolded = jnp.mod(x + step_size * momenta + half_width, 4 * half_width)
        reflected = unfolded > 2 * half_width
        x = jnp.where(reflected, 4 * half_width - unfolded, unfolded) - half_width
        force, values = potential_gradient(x)
        return x, jnp.where(reflected, -momenta, momenta) - step_size / 2 * force, force, values

    end: tuple[Any, ...] = jax.lax.fori_loop(0, num_leapfrog_steps, leapfrog_step, begin)
    return end
