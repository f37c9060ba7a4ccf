"""Moves of all parameters at once along the gradient of an observable: molecular dynamics in the weights of a walk.

The walkers of Wang-Landau stand in a potential V = ln g(E(x)), whose force is -g'(E) grad E with g' the slope of the
weights. [B] announces its molecular dynamics; here each trajectory ends with a Metropolis test, so that the time step
biases nothing (Duane, Kennedy, Pendleton & Roweth, "Hybrid Monte Carlo", 1987; with one leapfrog step it is the
Metropolis-adjusted Langevin algorithm of Roberts & Tweedie, 1996).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from keras_entropy.landscape.axes import Bins
from keras_entropy.landscape.problems import Problem, uniform_parameters

Array = np.ndarray[Any, Any]


_LOOKED_AT = 64


class Slope(NamedTuple):
    """The slope of the log weights along an observable: linear between knots, constant beyond them.

    Attributes:
        knots: (n - 1,) rising values of the observable, the edges between n target bins.
        slopes: (n - 1,) nats per unit of it.
    """

    knots: Any
    slopes: Any


class Trajectory(NamedTuple):
    """Where trajectories of B walkers end.

    Attributes:
        parameters: (d, B).
        values: (B,) of the observable.
        gain: (B,) nats of kinetic energy that were lost, to be added to the log of the ratio of the weights.
    """

    parameters: Any
    values: Any
    gain: Any


def check_gradient(problem: Problem, name: str) -> None:
    """Look at the gradient of an observable at uniform points of the box.

    Raises:
        ValueError: where JAX finds none, or one that is not finite, or zero everywhere.
    """
    points = jnp.asarray(uniform_parameters(problem, _LOOKED_AT), jnp.float32)
    remedy = "Use gradient_share=0, or an energy that JAX can differentiate."
    try:
        gradient = np.asarray(jax.jit(jax.grad(lambda x: problem.energy(x)[name].sum()))(points))
    except (TypeError, AttributeError, jax.errors.JAXTypeError, jax.errors.JAXIndexError) as error:
        raise ValueError(f"JAX finds no gradient of {name!r}: {error} {remedy}") from error
    if not np.all(np.isfinite(gradient)):
        raise ValueError(f"The gradient of {name!r} is not finite at some points of the box. {remedy}")
    if not gradient.any():
        raise ValueError(f"The gradient of {name!r} is zero at all of {_LOOKED_AT} points of the box. {remedy}")


def slope_of(bins: Bins, log_g: Array) -> Slope:
    """The slope of log weights (n,) of the target bins of one axis."""
    chosen = bins.cells[:, 0]
    if len(chosen) < 2:
        return Slope(np.zeros(1), np.zeros(1))
    return Slope(bins.axes[0].edges[chosen[1:]], np.diff(log_g) / np.diff(bins.axes[0].centers[chosen]))


def trajectory(
    observable: Callable[[Any], Any], slope: Slope, half_width: float, parameters: Any, key: Any, step: Any, leaps: Any
) -> Trajectory:
    """From random momenta by leapfrog steps, bouncing off the walls of the box.

    A step keeps volume and is its own inverse for reversed momenta, bounces included, whatever the force: that which is
    used here, of smoothed weights, decides how many trajectories are accepted, and not what is sampled. What counts is
    that `gain` goes with the ratio of the true weights.

    Args:
        observable: function of parameters (d, B) to (B,).
        slope: of the log weights along it.
        half_width: of the box.
        parameters: (d, B), inside of it.
        key: of the random numbers.
        step: (B,) of time; an average component moves by so much in each step where there is no force.
        leaps: how many steps.
    """

    def push(x: Any) -> tuple[Any, Any]:
        values, back = jax.vjp(observable, x)
        (gradient,) = back(jnp.ones_like(values))
        return jnp.interp(values, slope.knots, slope.slopes) * gradient, values

    def leap(_: Any, carry: tuple[Any, ...]) -> tuple[Any, ...]:
        x, momenta, force, _ = carry
        x, momenta = _bounced(x, momenta - step / 2 * force, step, half_width)
        force, values = push(x)
        return x, momenta - step / 2 * force, force, values

    first = jax.random.normal(key, parameters.shape)
    end, last, _, values = jax.lax.fori_loop(0, leaps, leap, (parameters, first, *push(parameters)))
    return Trajectory(end, values, ((first**2).sum(0) - (last**2).sum(0)) / 2)


def _bounced(x: Any, momenta: Any, step: Any, half_width: float) -> tuple[Any, Any]:
    """Free flight between hard walls."""
    unfolded = jnp.mod(x + step * momenta + half_width, 4 * half_width)
    back = unfolded > 2 * half_width
    inside = jnp.where(back, 4 * half_width - unfolded, unfolded) - half_width
    return inside, jnp.where(back, -momenta, momenta)
