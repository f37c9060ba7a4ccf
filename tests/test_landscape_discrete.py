"""Parameters that take certain values only, such as spins."""

import itertools

import numpy as np
import pytest
from landscape_cases import BACKENDS

from keras_entropy import landscape
from keras_entropy.landscape import Axis, Observable, samplers
from keras_entropy.landscape.axis import bins_of


def ising(x):
    """Energy of a periodic 3 x 3 square of spins, at parameters (9, B)."""
    spins, following = x.reshape(3, 3, -1), np.array([1, 2, 0])
    return {"energy": -(spins * spins[following] + spins * spins[:, following]).sum((0, 1))}


EDGES = np.arange(-20.0, 10.0, 4.0)


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_the_share_of_each_energy_of_spins_is_exact(backend):
    states = np.array(list(itertools.product((-1.0, 1.0), repeat=9))).T
    counts = np.histogram(ising(states)["energy"], EDGES)[0]
    problem = landscape.discrete_problem(ising, 9, (-1, 1), {"energy": Observable()})
    edges = {"energy": EDGES}
    found = landscape.density_of_states(problem, "energy", 1e5, edges=edges, split_moves=20, backend=backend)
    assert found.converged
    assert np.array_equal(found.visited, counts > 0)
    off = (found.entropy - np.log(counts.clip(1) / 512))[counts > 0]
    assert np.sqrt(np.mean(off**2)) < 0.1


@pytest.mark.once
def test_parameters_take_the_given_values_only():
    problem = landscape.discrete_problem(lambda x: {"sum": x.sum(0)}, 4, [0.1, 2.0, 0.5], {"sum": Observable()})
    walkers = samplers.init(problem, 20, 0)
    window = samplers.Window(bins_of([Axis("sum", np.array([0.0, 4.0, 9.0]), "low")]), np.zeros(2))
    samplers.select_sampler(problem, ("sum",), "numpy").step(
        walkers, window, 50, info := samplers.WalkerInfo.zeros(20, window)
    )
    assert np.isin(walkers.parameters, problem.values).all()
    assert info.accepted.sum() == 1000  # each move changes a parameter


@pytest.mark.once
@pytest.mark.parametrize("values", [(1.0,), (1.0, 1.0), (), ("a", 1), (np.nan, 1.0)])
def test_values_that_are_no_choice_are_refused(values):
    with pytest.raises((TypeError, ValueError), match="`values`"):
        landscape.discrete_problem(ising, 9, values, {"energy": Observable()})


@pytest.mark.once
def test_no_gradient_leads_from_value_to_value():
    problem = landscape.discrete_problem(ising, 9, (-1, 1), {"energy": Observable()})
    with pytest.raises(ValueError, match="parameters that change continuously"):
        landscape.density_of_states(problem, "energy", 1e4, edges={"energy": EDGES}, hmc_fraction=0.5)
