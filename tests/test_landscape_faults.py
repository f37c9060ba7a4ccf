"""The test of a sampler is tested: what is known to be wrong has no flat histogram at the exact weights."""

import numpy as np
import pytest

from keras_entropy import EntropyWarning, landscape
from keras_entropy.landscape import exact

pytestmark = pytest.mark.once

DIMENSION, BINS, WALKERS = 10, 12, 500


def share_of_each_bin(fault, moves, seed=0):
    """Visits of |x|^2 in the cube at the exact weights, 1 for each bin where the sampler is right.

    A move redraws one component or changes it by up to 1, 1/2, ..., 1/64; what leaves the cube is rejected and counted.
    The faults, all without redrawing: "clip" to the wall; "uncounted" rejections at the wall, with steps of up to 1 and
    1/2, so that there are many; steps that are "adapted" to each walker's acceptance while it is sampled.
    """
    rng = np.random.default_rng(seed)
    edges = exact.ball_edges(DIMENSION, BINS)
    entropy = exact.ball_entropy(DIMENSION, edges)
    everyone = np.arange(WALKERS)
    x = rng.uniform(-1, 1, (DIMENSION, WALKERS))
    bins = np.searchsorted(edges[1:-1], (x**2).sum(0), side="right")
    visits, size, recent = np.zeros(BINS), np.full(WALKERS, 0.5), np.zeros(WALKERS)
    for move in range(moves):
        place = rng.integers(0, DIMENSION, WALKERS), everyone
        redraw = rng.random(WALKERS) < (0.5 if fault == "none" else 0.0)
        step = np.where(redraw, 1.0, 2.0 ** -rng.integers(0, 2 if fault == "uncounted" else 7, WALKERS)) * rng.uniform(
            -1, 1, WALKERS
        )
        new = np.where(redraw, 0.0, x[place]) + step
        if fault == "adapted":
            new = x[place] + size * rng.uniform(-1, 1, WALKERS)
        if fault == "clip":
            new = np.clip(new, -1, 1)
        inside = np.abs(new) <= 1
        moved = x.copy()
        moved[place] = np.where(inside, new, x[place])
        found = np.searchsorted(edges[1:-1], (moved**2).sum(0), side="right")
        accepted = inside & (rng.random(WALKERS) < np.exp(np.minimum(entropy[bins] - entropy[found], 0)))
        x[place] = np.where(accepted, new, x[place])
        bins = np.where(accepted, found, bins)
        recent += accepted
        if fault == "adapted" and move % 10 == 9:
            size = np.clip(size * np.where(recent > 5, 1.5, 2 / 3), 1e-3, 2.0)
            recent[:] = 0
        if move >= moves // 4:
            counted = inside if fault == "uncounted" else np.full(WALKERS, True)
            visits += np.bincount(bins[counted], minlength=BINS)
    return BINS * visits / visits.sum()


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "moves"), [("none", 16_000), ("clip", 8000), ("adapted", 8000), ("uncounted", 8000)])
def test_what_is_wrong_is_seen(fault, moves):
    off = np.abs(share_of_each_bin(fault, moves) - 1).max()
    assert off < 0.03 if fault == "none" else off > 0.06


@pytest.mark.parametrize("moves", [1e6, pytest.param(1e7, marks=pytest.mark.slow)])
def test_the_published_schedule_warns_and_stays_wrong(moves):
    edges = exact.ball_edges(DIMENSION)
    truth = exact.ball_entropy(DIMENSION, edges)
    with pytest.warns(EntropyWarning, match="does not fall"):
        found = landscape.zhang_schedule(landscape.ball_problem(DIMENSION), "energy", moves, edges={"energy": edges})
    right = landscape.density_of_states(landscape.ball_problem(DIMENSION), "energy", moves, edges={"energy": edges})
    assert np.exp(found.entropy).sum() == pytest.approx(1)
    seen = found.visited
    off = np.sqrt(np.mean((found.entropy - truth)[seen] ** 2))
    assert off > 2 * np.sqrt(np.mean((right.entropy - truth) ** 2))
    assert not found.converged
    assert "The last ln f was 0.0005." in found.status
    with pytest.raises(ValueError, match="`edges` should have the bins"), pytest.warns(EntropyWarning):
        landscape.zhang_schedule(landscape.ball_problem(DIMENSION), "energy")
