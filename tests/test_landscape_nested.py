"""Agreement with the prior volumes of nested sampling by dynesty, which shares neither code nor method."""

import numpy as np
import pytest

from keras_entropy import datasets, landscape
from keras_entropy.landscape import exact

pytestmark = [pytest.mark.once, pytest.mark.slow]


def ladder(problem, name, stop, live, slices, seed=0):
    """Decreasing values of an observable and log fractions of the box below them, by random slices from live points."""
    dynesty = pytest.importorskip("dynesty", reason="the nested sampler is of the test extra")

    def log_likelihood(parameters):
        return -float(problem.energy(parameters[:, None])[name][0])

    def box(unit):
        return (2 * unit - 1) * problem.half_width

    sampler = dynesty.NestedSampler(
        log_likelihood, box, problem.dimension, live, bound="none", sample="rslice", slices=slices,
        rstate=np.random.default_rng(seed),
    )  # fmt: skip
    # The evidence is of no interest: only the value at which to stop ends the run.
    sampler.run_nested(logl_max=-stop, dlogz=1e-12, add_live=False, print_progress=False)
    assert -sampler.results.logl[-1] < 1.1 * stop
    return -sampler.results.logl, sampler.results.logvol


def below(found):
    """Upper edges of the bins, and the log of the share of the box below them with its error.

    The uppermost bin below an edge holds most of it and has the largest part in the error.
    """
    return found.axes[0].edges[1:], np.logaddexp.accumulate(found.entropy), found.standard_error


def in_errors(edges, log_share, error, values, log_volume, live):
    """Differences in standard errors; that of nested sampling is sqrt(-ln X / live) (Skilling 2006, sec. 6)."""
    expected = np.interp(-edges, -values, log_volume)
    return (log_share - expected) / np.sqrt(error**2 - log_share / live)


def test_the_ball():
    problem, live = landscape.ball_problem(10), 300
    edges = exact.ball_edges(10, bins=16)
    values, log_volume = ladder(problem, "energy", edges[1], live, 4)
    chosen = edges[1:-1]
    truth = np.array([exact.ball_log_probability(10, edge) for edge in chosen])
    found = landscape.density_of_states(problem, "energy", 2e6, edges={"energy": edges})
    assert np.abs(in_errors(chosen, truth, 0.0, values, log_volume, live)).max() < 3
    _, share, error = below(found)
    assert np.abs(in_errors(chosen, share[:-1], error[:-1], values, log_volume, live)).max() < 3


def test_the_loss_of_a_network():
    problem, live = landscape.network_problem(1, 4, datasets.spirals(seed=0)), 100
    found = landscape.density_of_states(problem, "train_loss", 4e6, target_loss=0.62)
    values, log_volume = ladder(problem, "train_loss", found.axes[0].edges[1], live, 25)
    edges, share, error = below(found)
    assert found.converged, found.status
    assert share[0] < -5
    z = in_errors(edges[:-1], share[:-1], error[:-1], values, log_volume, live)
    assert np.abs(z).max() < 3, z
