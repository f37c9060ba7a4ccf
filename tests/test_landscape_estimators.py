"""The exact problems, and the estimators on counts that are known."""

import numpy as np
import pytest

from keras_entropy import datasets, landscape
from keras_entropy.landscape import ball_problem, estimators, exact, perceptron_problem

pytestmark = pytest.mark.once


@pytest.mark.parametrize("dimension", [5, 10, 20])
def test_both_ways_to_the_ball_meet(dimension):
    below, above = (exact.ball_log_probability(dimension, energy) for energy in (1.0, 1.0 + 1e-9))
    assert above == pytest.approx(below, abs=1e-7)
    assert exact.ball_log_probability(dimension, float(dimension)) == pytest.approx(0, abs=1e-8)


def test_the_ball_is_that_of_uniform_samples():
    samples = np.random.default_rng(0).uniform(-1, 1, (10, 400_000))
    energies = ball_problem(10).energy(samples)["energy"]
    for energy in (2.0, 3.0, 5.0):
        assert np.log(np.mean(energies < energy)) == pytest.approx(exact.ball_log_probability(10, energy), abs=0.02)


@pytest.mark.parametrize(
    ("dimension", "energy", "words"),
    [
        (2, 0.0, "at most 2"),
        (2, -1.0, "at most 2"),
        (2, 2.5, "at most 2"),
        (2, np.nan, "at most 2"),
        (2, 1.5, "at least 5"),
    ],
)
def test_other_energies_are_refused(dimension, energy, words):
    with pytest.raises(ValueError, match=words):
        exact.ball_log_probability(dimension, energy)


@pytest.mark.parametrize("dimension", [10, 20])
def test_bins_of_equal_width(dimension):
    edges = exact.ball_edges(dimension)
    assert len(edges) == 45
    entropy = exact.ball_entropy(dimension, edges)
    assert np.exp(entropy).sum() == pytest.approx(1, abs=1e-8)
    assert np.diff(entropy[1:]) == pytest.approx(1.5, abs=1e-6)
    assert entropy[0] == pytest.approx(-64.5, abs=1e-6)


def test_the_perceptron_is_that_of_uniform_samples():
    rng = np.random.default_rng(1)
    train, test = ((rng.normal(size=(n, 2)), rng.choice([-1, 1], n)) for n in (5, 4))
    entropy = exact.perceptron_entropy(train, test)
    assert np.exp(entropy).sum() == pytest.approx(1)
    samples = rng.uniform(-1, 1, (2, 400_000))
    found = perceptron_problem(train, test).energy(samples)
    right = [np.rint(found[name] * n).astype(int) for name, n in (("train_accuracy", 5), ("test_accuracy", 4))]
    shares = np.zeros(entropy.shape)
    np.add.at(shares, tuple(right), 1 / 400_000)
    assert shares == pytest.approx(np.exp(entropy), abs=0.004)


def test_the_histogram_corrects_the_weights():
    entropy = np.log([0.7, 0.2, 0.1])
    weights = np.array([0.0, -1.0, -3.0])
    histogram = 1e6 * np.exp(entropy - weights)
    assert estimators.from_histograms(weights[None], histogram[None]) == pytest.approx(entropy)
    assert estimators.from_histograms(weights[None], np.array([[1, 0, 1]]))[1] == -np.inf


def test_several_histograms_at_several_weights():
    entropy = np.log([0.7, 0.2, 0.07, 0.03])
    weights = np.array([[0.0, -1.0, -3.0, -3.0], [0.0, 0.0, 0.0, 0.0], [-2.0, 1.0, 5.0, 0.0]])
    shares = np.exp(entropy - weights)
    histograms = np.array([1e6, 3e5, 0.0])[:, None] * shares / shares.sum(1, keepdims=True)
    assert estimators.from_histograms(weights, histograms) == pytest.approx(entropy, abs=1e-5)
    histograms[0, 3], histograms[1, 2] = 0, 0  # a bin that only one of the rounds has visited
    assert np.isfinite(estimators.from_histograms(weights, histograms)).all()
    histograms[:, 2] = 0
    assert estimators.from_histograms(weights, histograms)[2] == -np.inf


def proposals_of(entropy, rate, moves, band=3):
    """Expected counts of a walk that obeys detailed balance, with some far moves."""
    n = len(entropy)
    matrix = np.zeros((n, n))
    for i in range(n):
        for j in range(n):
            if i != j:
                matrix[i, j] = rate * np.exp(-abs(i - j)) * np.exp(min(0, entropy[j] - entropy[i]))
    counts = np.zeros((n, 2 * band + 1))
    for i in range(n):
        for j in range(max(0, i - band), min(n, i + band + 1)):
            counts[i, j - i + band] = moves * (matrix[i, j] if i != j else 1 - matrix[i].sum())
    near = np.arange(n)[:, None] + np.arange(-band, band + 1)
    near[(near < 0) | (near >= n)] = -1
    return counts[..., None], np.full(n, float(moves)), near[..., None]


def test_proposals_give_the_entropy_although_far_moves_are_not_counted():
    entropy = estimators.normalize(-1.5 * np.arange(12.0))
    counts, histogram, near = proposals_of(entropy, 0.2, 1e9)
    assert estimators.from_proposals(counts, histogram, near, np.zeros(12)) == pytest.approx(entropy, abs=1e-3)


def test_bins_without_proposals_keep_the_reference():
    reference = estimators.normalize(np.array([0.0, -2.0, -4.0, -np.inf]))
    counts, histogram = np.zeros((4, 7, 1)), np.zeros(4)
    assert estimators.from_proposals(counts, histogram, np.full((4, 7, 1), -1), reference) == pytest.approx(
        reference, abs=1e-6
    )


def test_the_jackknife_gives_the_error_of_a_mean():
    samples = np.random.default_rng(0).normal(size=(8, 3))
    counts = np.stack([samples, np.ones_like(samples)], 1)
    errors = estimators.jackknife(counts, lambda part: part[0] / part[1])
    assert errors == pytest.approx(samples.std(0, ddof=1) / np.sqrt(8))


def test_bins_that_no_moves_lead_to_and_back_are_apart():
    neighbours = np.array([[-1, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, -1]])[:, :, None]
    proposals = np.array([[0, 50, 5], [5, 50, 5], [5, 50, 5], [0, 50, 0]])[:, :, None]
    assert estimators.connected(proposals, neighbours).tolist() == [True, True, True, False]


def test_a_walk_too_short_for_its_bins_says_nothing_of_bins_that_are_apart():
    """Two accuracies have hundreds of bins: none may get the volume of the box for want of moves."""
    problem = landscape.network_problem(3, 6, datasets.spirals(seed=0))
    found = landscape.density_of_states(problem, ["train_accuracy", "test_accuracy"], 1e6, walkers=32)
    assert not found.converged
    assert "lead from them to others and back" in found.status
    assert found.entropy[20, 20] == found.entropy.max()  # half of each, as nearly all parameters guess
    assert np.array_equal(np.isfinite(found.entropy), found.visited)
