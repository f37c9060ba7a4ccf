"""The comparison with other samplers gives each the same problem and counts right. The tests need none of them."""

import numpy as np
import pytest

from benchmarks import landscape_peer_samplers as samplers
from benchmarks import landscape_peer_tasks as tasks
from benchmarks import landscape_peers as peers
from keras_entropy import datasets, landscape

pytestmark = pytest.mark.once


def test_the_loss_for_other_samplers_is_the_loss_of_the_problem():
    data = datasets.spirals(seed=0)
    problem = landscape.network_problem(3, 6, data)
    rows = np.random.default_rng(0).uniform(-problem.half_width, problem.half_width, (5, problem.dimension))
    expected = problem.energy(rows.T)["train_loss"]
    x_train, y_train, *_ = data
    found = tasks.network_loss((2, 6, 6, 6, 2), x_train, y_train, np, rows)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_work_of_a_move_of_a_small_network():
    # 1 -> 2 -> 1: four parameters change one unit and the output, three change the output; a whole pass has 4 terms.
    assert tasks.work_of_a_move((1, 2, 1)) == pytest.approx((4 * 2 + 3 * 1) / 7 / 4)


def test_all_states_of_the_spins_are_counted():
    energies, shares = tasks.ising_counts()
    assert energies.tolist() == [-32, -24, -20, -16, -12, -8, -4, 0, 4, 8, 12, 16, 20, 24, 32]
    assert np.exp(shares).sum() == pytest.approx(1)
    assert np.exp(shares[0]) == pytest.approx(2 / 2**16)
    edges = tasks.ising(None).edges
    assert (np.searchsorted(edges, energies) - 1).tolist() == list(range(15))


def test_a_batch_of_removed_points_shrinks_the_volume_point_by_point():
    found = samplers.batch_log_volumes(live=10, batch=2, steps=2)
    np.testing.assert_allclose(found, -np.cumsum([1 / 10, 1 / 9, 1 / 10, 1 / 9]))


def test_the_log_share_below_a_level_is_interpolated():
    assert samplers.below([4.0, 2.0, 1.0], [-1.0, -2.0, -4.0], [1.5, 3.0]).tolist() == [-3.0, -1.5]
    np.testing.assert_allclose(samplers.stated_error([-4.0], 100), [0.2])


@pytest.mark.parametrize(
    ("errors", "expected"), [((0.4, 0.1), "2.0e+03"), ((0.1, 0.05), "< 1.0e+03"), ((0.8, 0.4), "> 4.0e+03")]
)
def test_evaluations_to_an_error_are_interpolated_or_bounded(errors, expected):
    assert peers.evaluations_to(0.2, [4000, 1000], errors[::-1]) == expected


def test_a_summary_is_over_the_seeds_of_a_setting():
    values = {"problem": "ball10", "sampler": "ours", "stated": "0.3", "evaluations": "1000", "seconds": "2"}
    runs = [{**values, "setting": "1000", "seed": seed, "error": error} for seed, error in enumerate(("0.3", "0.4"))]
    (row,) = peers.summary(runs)
    assert row[:4] == ["ball10", "ours", 1000.0, 2]
    np.testing.assert_allclose(row[4:8], [np.sqrt(0.125), 0.3, 1000, 2])
    assert row[8] == "> 1.0e+03"


def test_a_missing_sampler_is_named_with_its_command(monkeypatch, capsys):
    monkeypatch.setitem(samplers.PACKAGES, "flatwalk", "no_such_package_as_this")
    assert samplers.missing("flatwalk")
    assert capsys.readouterr().out == "flatwalk is missing: pip install no_such_package_as_this\n"
    assert not samplers.missing("ours")
