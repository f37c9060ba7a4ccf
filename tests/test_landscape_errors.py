"""Standard errors agree with the differences between runs, on a network and on the ball."""

import numpy as np
import pytest

from keras_entropy import datasets, landscape
from keras_entropy.landscape import exact, samplers, splitting
from keras_entropy.landscape.axis import axis_of

pytestmark = [pytest.mark.once, pytest.mark.slow]


@pytest.fixture(scope="module")
def network():
    return landscape.network_problem(3, 6, datasets.spirals(seed=0))


@pytest.fixture(scope="module")
def found(network):
    return [landscape.density_of_states(network, "train_accuracy", 1e7, seed) for seed in (0, 1)]


def rms(values):
    return np.sqrt(np.mean(np.square(values)))


def test_two_seeds_differ_by_their_errors(found):
    one, other = found
    z = (one.entropy - other.entropy) / np.hypot(one.standard_error, other.standard_error)
    assert 0.3 < rms(z) < 2.0  # the errors of near bins go together: there are few independent ones
    assert rms(one.entropy - other.entropy) < 0.3


def test_swapped_outputs_have_the_same_entropy(found):
    """Without a rectifier at the end, S(k) = S(40 - k): swapping the outputs turns right into wrong."""
    for one in found:
        difference = (one.entropy - one.entropy[::-1])[:20]
        error = np.hypot(one.standard_error, one.standard_error[::-1])[:20]
        assert rms(difference / error) < 2.0
        assert rms(difference) < 0.5


def test_splitting_alone_finds_the_entropy_of_the_deepest_bin(network, found):
    axis = axis_of(network, "train_accuracy", {})
    sampler = samplers.select_sampler(network, ("train_accuracy",))
    alone = [splitting.split(sampler, (axis,), 300, 600, seed).entropy[-1] for seed in range(10, 16)]
    # The shares are unbiased, not their logs.
    estimate = np.log(np.mean(np.exp(alone)))
    error = np.std(alone, ddof=1) / np.sqrt(len(alone))
    assert error < 0.4
    for one in found:
        assert abs(one.entropy[-1] - estimate) < 3 * np.hypot(error, one.standard_error[-1])


def test_four_times_the_moves_halve_the_errors():
    """Few walkers: the law holds where each makes so many moves that the weights are the same after both."""
    edges = exact.ball_edges(10, bins=16)
    problem = landscape.ball_problem(10)
    ratio = []
    for seed in range(4):
        short, long = (
            landscape.density_of_states(
                problem, "energy", moves, seed, edges={"energy": edges}, walkers=64, split_moves=200
            )
            for moves in (5e6, 2e7)
        )
        ratio.append(np.mean(np.log(short.standard_error / long.standard_error)))
    assert np.exp(np.mean(ratio)) == pytest.approx(2, rel=0.2)


@pytest.mark.parametrize("moves", [999, 5000])
def test_rounding_does_not_add_up(network, moves):
    """Bins that are kept from move to move are those of the parameters, but for what lies at an edge."""
    sampler = samplers.select_sampler(network, ("train_loss",))
    axis = splitting.find_axis(sampler, "train_loss", 0.5, 200, 200, 0)
    split = splitting.split(sampler, (axis,), 200, 200, 0)
    walkers = samplers.init(network, 200, 1)
    walkers.parameters[:] = split.select(200, np.random.default_rng(0))
    window = samplers.Window(split.bins, split.entropy, octaves=6)
    sampler.step(walkers, window, moves, samplers.WalkerInfo.zeros(200, window))
    loss = samplers.evaluate(network, walkers.parameters)["train_loss"]
    low, high = (np.minimum(split.bins.index([loss + drift]), split.bins.count - 1) for drift in (-2e-6, 2e-6))
    assert np.all((walkers.bins == low) | (walkers.bins == high))
    assert len(np.unique(walkers.bins)) > split.bins.count // 2
