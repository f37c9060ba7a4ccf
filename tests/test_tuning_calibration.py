"""Searches with equal budgets seldom call a term better that acts only as another learning rate would."""

import numpy as np
import pytest

from benchmarks.search_calibration import simulate
from keras_entropy.tuning import luck

pytestmark = pytest.mark.once

SEARCHES = 2000
ALLOWED = 0.05 + 3 * np.sqrt(0.05 * 0.95 / SEARCHES)


@pytest.mark.slow
@pytest.mark.parametrize("steepness", [30, 100])
def test_a_term_that_acts_as_a_learning_rate_is_seldom_called_better(steepness):
    rates = simulate(SEARCHES, steepness, as_rate=True)
    print(steepness, rates)
    assert rates["better"] <= ALLOWED
    assert rates["worse"] <= ALLOWED


@pytest.mark.slow
def test_without_the_test_of_luck_it_would_be():
    assert simulate(500, 100, as_rate=True)["held-out seeds alone"] > 0.1


def test_an_effect_is_found():
    assert simulate(60, 3, effect=6.0)["better"] > 0.8


def test_luck_has_the_right_level():
    generator = np.random.default_rng(0)
    found = [luck(*generator.normal(size=(2, 6)), lower_is_better=True) for _ in range(300)]
    for level in (0.05, 0.2, 0.5):
        assert abs(np.mean(np.array(found) <= level) - level) < 3 * np.sqrt(level * (1 - level) / 300)
    scores = generator.normal(size=(2, 6))
    assert luck(*-scores, lower_is_better=False) == luck(*scores, lower_is_better=True)
    assert luck([1.0, 2.0], scores[0], lower_is_better=True) is None
