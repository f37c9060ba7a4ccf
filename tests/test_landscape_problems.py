"""Problems are checked where they are made."""

import numpy as np
import pytest

from keras_entropy import datasets, landscape
from keras_entropy.landscape import Observable

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
        ({"data": (np.full((3, 2), np.nan), np.ones(3, int), np.ones((3, 2)), np.ones(3, int))}, "a finite x_train"),
        ({"data": 5}, "`data` should be x_train"),
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
