"""What the paper's table of single runs shows of itself."""

import math

import numpy as np
import pytest

from reproduction import single_run_table as table

pytestmark = pytest.mark.once


def test_the_paper_s_count_is_what_chance_gives():
    found = table.best_columns(table.paper_rows())
    assert (found.rows, found.at_term, found.columns) == (18, 17, 7)
    assert found.expected == pytest.approx(18 * 6 / 7)
    assert found.p == pytest.approx((6 / 7) ** 18 + 18 * (1 / 7) * (6 / 7) ** 17)


def test_a_tie_with_no_term_and_a_failed_run_are_no_gain():
    found = table.best_columns([(0.5, 0.5, 0.4), (0.5, math.nan, 0.6), (0.5, math.nan, math.nan)])
    assert found.at_term == 1


def test_the_paper_s_gain_is_within_its_noise():
    gain = table.row_gains(table.paper_rows(), table.paper_baselines())
    assert gain.unselected.estimate == pytest.approx(0.0051, abs=1e-4)
    assert gain.unselected.low < 0 < gain.unselected.high
    assert gain.noise.deviation == pytest.approx(0.01315, abs=1e-4)
    assert gain.noise.df == 12
    assert gain.by_chance == pytest.approx(1.26721 * gain.noise.deviation, rel=1e-4)
    assert table.common_step(table.paper_rows()) == 0.002


def test_the_largest_of_six_normal_numbers():
    draws = np.random.default_rng(0).normal(size=(200_000, 6)).max(1)
    assert table.largest_normal(6) == pytest.approx(draws.mean(), abs=0.01)  # four standard errors are 0.006
    assert table.largest_normal(1) == pytest.approx(0, abs=1e-9)
