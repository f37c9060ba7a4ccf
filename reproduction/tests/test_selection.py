"""Gains at a lambda that is chosen on the tested seeds, and on others."""

import numpy as np
import pytest

from reproduction import selection

pytestmark = pytest.mark.once


def test_a_value_chosen_on_the_tested_seeds_looks_better_than_it_is():
    noise = np.random.default_rng(0).normal(0, 0.01, (6, 200))
    values = {float(k): dict(enumerate(0.6 + noise[k])) for k in range(6)}
    optimism = []
    for start in range(0, 200, 10):
        seeds = range(start, start + 10)
        baseline = dict.fromkeys(seeds, 0.6)
        pairs = selection.SeedGains(values, baseline).left_out(seeds)
        optimism += [same - unseen for same, unseen in pairs.values()]

    # No value has an effect: the largest of 6 means of 10 normal values is 1.27 standard errors high.
    assert np.mean(optimism) == pytest.approx(1.27 * 0.01 / 10**0.5, rel=0.3)


def test_selection_by_hand():
    gains = selection.SeedGains(
        {0.1: {0: 0.5, 1: 0.7, 2: 0.6}, 1.0: {0: 0.6, 1: 0.6, 2: 0.1}, 10.0: {0: 0.9}}, {0: 0.5, 1: 0.5, 2: 0.5}
    )

    assert gains.at(0.1, [0, 1]) == pytest.approx({0: 0.0, 1: 0.2})
    assert gains.best([0, 1, 2]) == 0.1
    assert gains.best([0]) == 10.0  # where all values that finished have it
    assert gains.best([7]) is None
    assert gains.left_out([0, 1, 2])[2] == pytest.approx((0.1, 0.1))
    assert gains.left_out([0, 1, 2])[1] == pytest.approx((0.2, 0.2))
    other = selection.SeedGains({0.1: {0: 0.0, 1: 0.3}, 1.0: {0: 0.2, 1: 0.0}}, {0: 0.0, 1: 0.0})
    assert other.left_out([0, 1]) == {0: (0.0, 0.0), 1: (0.3, 0.0)}
    assert gains.test(10.0, [0, 1, 2]) is None
    assert gains.test(0.1, [0, 1, 2], alternative="greater").p == pytest.approx(0.1127, abs=1e-4)
