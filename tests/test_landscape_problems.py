"""Problems are checked where they are made."""

import itertools

import numpy as np
import pytest
from landscape_cases import BACKENDS

from keras_entropy import datasets, landscape
from keras_entropy.landscape import Axis, Observable, samplers
from keras_entropy.landscape.axis import bins_of

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("energy", "words"),
    [
        (lambda c: {"other": c[0]}, "a value for 'value'. Received: 'other'"),
        (lambda c: {"value": c}, r"of shape \(3,\)"),
        (lambda c: {"value": c[0] * np.nan}, "not finite"),
        ("text", "a function of parameters"),
    ],
)
def test_bad_energies_are_named(energy, words):
    with pytest.raises((TypeError, ValueError), match=words):
        landscape.function_problem(energy, 2, 1.0, {"value": Observable()})


@pytest.mark.parametrize(("half_width", "dimension"), [(0.0, 2), (-1.0, 2), (float("inf"), 2), (1.0, 0)])
def test_an_empty_box_is_refused(half_width, dimension):
    with pytest.raises((TypeError, ValueError), match="half_width|dimension"):
        landscape.function_problem(lambda c: {"value": c[0]}, dimension, half_width, {"value": Observable()})


def test_a_problem_without_observables_is_refused():
    with pytest.raises(ValueError, match="at least one observable"):
        landscape.function_problem(lambda c: {}, 2, 1.0, {})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"depth": 0}, "a positive integer"),
        ({"reduction": "median"}, "one of 'mean', 'sum'"),
        ({"ties": "last"}, "one of 'wrong', 'first'"),
        ({"strength": -1.0}, "at least 0"),
        ({"half_width": 0.0}, "above 0"),
        ({"data": (np.ones((3, 2)), np.ones(3))}, "x_train, y_train, x_test and y_test"),
        ({"data": (np.ones((3, 2)), np.ones(3), np.ones((3, 2)), np.ones(3, int))}, "integers from 0 on"),
        ({"data": (np.ones((3, 2)), np.ones(3, int), np.ones((3, 3)), np.ones(3, int))}, "as many inputs"),
        ({"data": (np.full((3, 2), np.nan), np.ones(3, int), np.ones((3, 2)), np.ones(3, int))}, "not finite"),
    ],
)
def test_bad_networks_are_named(change, words):
    options = {"depth": 2, "width": 3, "data": tuple(datasets.spirals(seed=0)), **change}
    with pytest.raises((TypeError, ValueError), match=words):
        landscape.network_problem(**options)


def test_observables_cannot_be_changed():
    given = {"energy": Observable()}
    problem = landscape.function_problem(lambda c: {"energy": c[0]}, 2, 1.0, given)
    given["other"] = Observable()
    assert list(problem.observables) == ["energy"]
    with pytest.raises(TypeError):
        problem.observables["other"] = Observable()


def ising(x):
    """Energy of a periodic 3 x 3 square of spins, at parameters (9, B)."""
    spins, following = x.reshape(3, 3, -1), np.array([1, 2, 0])
    return {"energy": -(spins * spins[following] + spins * spins[:, following]).sum((0, 1))}


class TestDiscreteParameters:
    EDGES = np.arange(-20.0, 10.0, 4.0)

    @pytest.mark.parametrize("backend", BACKENDS[1:])
    def test_the_share_of_each_energy_of_spins_is_exact(self, backend):
        states = np.array(list(itertools.product((-1.0, 1.0), repeat=9))).T
        counts = np.histogram(ising(states)["energy"], self.EDGES)[0]
        problem = landscape.discrete_problem(ising, 9, (-1, 1), {"energy": Observable()})
        edges = {"energy": self.EDGES}
        found = landscape.density_of_states(problem, "energy", 1e5, edges=edges, split_moves=20, backend=backend)
        assert found.converged
        assert np.array_equal(found.visited, counts > 0)
        off = (found.entropy - np.log(counts.clip(1) / 512))[counts > 0]
        assert np.sqrt(np.mean(off**2)) < 0.1

    def test_parameters_take_the_given_values_only(self):
        problem = landscape.discrete_problem(lambda x: {"sum": x.sum(0)}, 4, [0.1, 2.0, 0.5], {"sum": Observable()})
        walkers = samplers.init(problem, 20, 0)
        window = samplers.Window(bins_of([Axis("sum", np.array([0.0, 4.0, 9.0]), "low")]), np.zeros(2))
        samplers.select_sampler(problem, ("sum",), "numpy").step(
            walkers, window, 50, info := samplers.WalkerInfo.zeros(20, window)
        )
        assert np.isin(walkers.parameters, problem.values).all()
        assert info.accepted.sum() == 1000  # each move changes a parameter

    @pytest.mark.parametrize("values", [(1.0,), (1.0, 1.0), (), ("a", 1), (np.nan, 1.0)])
    def test_values_that_are_no_choice_are_refused(self, values):
        with pytest.raises((TypeError, ValueError), match="`values`"):
            landscape.discrete_problem(ising, 9, values, {"energy": Observable()})

    def test_no_gradient_leads_from_value_to_value(self):
        problem = landscape.discrete_problem(ising, 9, (-1, 1), {"energy": Observable()})
        with pytest.raises(ValueError, match="parameters that change continuously"):
            landscape.density_of_states(problem, "energy", 1e4, edges={"energy": self.EDGES}, hmc_fraction=0.5)
