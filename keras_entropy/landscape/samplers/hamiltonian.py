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

from keras_entropy.landscape.axis import Bins
from keras_entropy.landscape.problems.problem import Problem, uniform_parameters

Array = np.ndarray[Any, Any]

_REACH, _SPREAD = 0.15, 0.4
"""The usual step in units of the length over which the potential of one component rises by a nat, and how much the log
of a step scatters about it. Tried on networks and balls; a wrong choice costs acceptance, and nothing else."""

_LOOKED_AT = 64
"""Points of the box at which a gradient is looked at."""


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
        gain: (B,) nats, to be added to the log of the ratio of the weights: kinetic energy that was lost, and the log
            of the ratio of the densities with which the end and the start would have drawn this step.
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
        words = str(error).splitlines()[0]
        raise ValueError(f"JAX finds no gradient of {name!r}: {words}. {remedy}") from error
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
    observable: Callable[[Any], Any], slope: Slope, half_width: float, parameters: Any, key: Any, leaps: Any
) -> Trajectory:
    """From random momenta by leapfrog steps of a random length.

    The length is log-normal about a scale that the force at the start sets, so that it fits shallow and deep bins
    alike. The end would set another one: `gain` holds the ratio of both densities, and what `leapfrog` has lost of the
    kinetic energy. With it goes the ratio of the true weights; that the force is of smoothed ones costs acceptance.

    Args:
        observable: function of parameters (d, B) to (B,).
        slope: of the log weights along it.
        half_width: of the box.
        parameters: (d, B), inside of it.
        key: of the random numbers.
        leaps: how many steps.
    """

    def push(x: Any) -> tuple[Any, Any]:
        values, back = jax.vjp(observable, x)
        (gradient,) = back(jnp.ones_like(values))
        return jnp.interp(values, slope.knots, slope.slopes) * gradient, values

    def scale(force: Any) -> Any:
        """(B,) logs of the usual steps, which end at the size of the box."""
        return jnp.log(jnp.minimum(_REACH / jnp.sqrt((force**2).mean(0)), half_width))

    keys = jax.random.split(key)
    begin = push(parameters)
    drawn = jax.random.normal(keys[0], begin[1].shape)
    usual = scale(begin[0])
    momenta = jax.random.normal(keys[1], parameters.shape)
    step = jnp.exp(usual + _SPREAD * drawn)
    end, last, force, values = leapfrog(push, (parameters, momenta, *begin), step, half_width, leaps)
    back = drawn + (usual - scale(force)) / _SPREAD
    return Trajectory(end, values, ((momenta**2).sum(0) - (last**2).sum(0) + drawn**2 - back**2) / 2)


def leapfrog(
    push: Callable[[Any], tuple[Any, Any]], begin: tuple[Any, ...], step: Any, half_width: float, leaps: Any
) -> tuple[Any, ...]:
    """Steps in a box from whose walls the parameters bounce.

    Each keeps volume and is undone by a step from reversed momenta, bounces included, whatever the force.

    Args:
        push: function of parameters (d, B) to the gradient of the potential, (d, B), and something to be handed on.
        begin: parameters and momenta (d, B), and what `push` gives there.
        step: (B,) of time; a component moves by so much on average where there is no force.
        half_width: of the box.
        leaps: how many.

    Returns:
        The same four at the end.
    """

    def leap(_: Any, carry: tuple[Any, ...]) -> tuple[Any, ...]:
        x, momenta, force, _ = carry
        momenta = momenta - step / 2 * force
        unfolded = jnp.mod(x + step * momenta + half_width, 4 * half_width)
        back = unfolded > 2 * half_width
        x = jnp.where(back, 4 * half_width - unfolded, unfolded) - half_width
        force, values = push(x)
        return x, jnp.where(back, -momenta, momenta) - step / 2 * force, force, values

    end: tuple[Any, ...] = jax.lax.fori_loop(0, leaps, leap, begin)
    return end
