"""The compiled kernels against plain float64 evaluation, and the compiled random walk against exact problems."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numba import njit
from scipy import stats

from keras_entropy.landscape.kernels import random_walk
from keras_entropy.landscape.kernels.exact_kernels import ball_kernel, perceptron_kernel
from keras_entropy.landscape.kernels.network_kernel import OBSERVABLES, network_kernel
from keras_entropy.landscape.kernels.random_walk import (
    WalkerArrays,
    cell_of,
    make_init,
    make_step,
    next_state,
    unit_uniform,
)
from keras_entropy.landscape.samplers import random_states

pytestmark = pytest.mark.once


def Target(edges0, edges1, bin_map, log_g):
    n = len(log_g)
    cells = np.stack([np.flatnonzero(bin_map >= 0)[:n], np.zeros(n, int)], 1)
    return random_walk.WindowArrays(edges0, edges1, bin_map, cells, log_g, 0, n - 1)


def new_walkers(kernel, parameters, seed, bins, band):
    count, observed = len(parameters), len(kernel.observables)
    return WalkerArrays(
        parameters=np.array(parameters, np.float64),
        random_states=random_states(seed, count),
        bins=np.full(count, -1),
        values=np.zeros((count, 2)),
        work=kernel.work(count),
        histogram=np.zeros((count, bins), np.int64),
        proposals=np.zeros((count, bins, 2 * band + 1, 1), np.int64),
        accepted=np.zeros((count, bins), np.int64),
        trips=np.zeros((count, 2), np.int64),
        sums=np.zeros((count, bins, observed)),
        squares=np.zeros((count, bins, observed)),
        observed=np.zeros((count, bins), np.int64),
    )


def logits(shape, parameters, points):
    """Forward pass in double precision."""
    inputs, depth, width, outputs, final_relu = shape
    sizes = [inputs, *[width] * depth, outputs]
    values, at = points, 0
    for layer, (n, m) in enumerate(itertools.pairwise(sizes)):
        kernel = parameters[at : at + n * m].reshape(n, m)
        values = values @ kernel + parameters[at + n * m : at + n * m + m]
        at += n * m + m
        if layer < depth or final_relu:
            values = np.maximum(values, 0)
    assert at == len(parameters)
    return values


def cross_entropy(z, labels):
    top = z.max(axis=1, keepdims=True)
    return (np.log(np.exp(z - top).sum(axis=1)) + top[:, 0] - z[np.arange(len(z)), labels]).sum()


def correct(z, labels, ties, slack=0.0):
    """How many are right if every comparison is decided with this much slack."""
    own = z[np.arange(len(z)), labels][:, None]
    order = np.arange(z.shape[1])[None, :]
    beats = own - z + slack > 0
    if ties == "first":
        beats |= (order > labels[:, None]) & (own - z + slack >= 0)
    return (beats | (order == labels[:, None])).all(axis=1).sum()


def make_data(inputs, outputs, train, test, seed=5):
    rng = np.random.default_rng(seed)
    labels = rng.integers(outputs, size=train + test)
    points = rng.normal(size=(train + test, inputs)) + 0.7 * np.eye(outputs, inputs)[labels]
    return points[:train], labels[:train], points[train:], labels[train:]


SLOW = pytest.mark.slow  # Numba compiles each case for seconds

CASES = [
    # depth, width, inputs, outputs, final_relu, ties, per_move, reduction, strength, train, test
    pytest.param((3, 6, 2, 2, False, "wrong", ("train_accuracy",), "mean", 0.0, 40, 40), marks=SLOW),
    (4, 8, 2, 2, True, "wrong", ("train_loss",), "sum", 0.01, 40, 40),
    pytest.param((3, 6, 2, 2, True, "first", ("train_accuracy", "test_accuracy"), "mean", 0.0, 40, 37), marks=SLOW),
    pytest.param((2, 5, 3, 3, False, "first", ("train_loss", "test_accuracy"), "mean", 0.1, 33, 20), marks=SLOW),
    pytest.param((2, 5, 3, 4, True, "wrong", ("test_accuracy", "train_loss"), "sum", 0.0, 100, 61), marks=SLOW),
    pytest.param((1, 7, 2, 3, True, "first", ("train_accuracy",), "mean", 0.0, 40, 8), marks=SLOW),
    pytest.param((1, 4, 2, 2, False, "wrong", ("test_accuracy",), "mean", 0.5, 5, 40), marks=SLOW),
    pytest.param((5, 4, 1, 2, False, "first", ("train_loss", "train_accuracy"), "mean", 0.0, 130, 3), marks=SLOW),
    pytest.param((2, 3, 2, 2, False, "wrong", ("train_accuracy",), "mean", 0.0, 16, 0), marks=SLOW),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_incremental_equals_full(case):
    depth, width, inputs, outputs, final_relu, ties, per_move, reduction, strength, train, test = case
    kernel = network_kernel(
        inputs, depth, width, outputs, train, test,
        final_relu=final_relu, ties=ties, per_move=per_move, reduction=reduction,
    )  # fmt: skip
    x, y, x_test, y_test = make_data(inputs, outputs, train, test)
    data = kernel.prepare(x, y, x_test, y_test, strength)
    shape = (inputs, depth, width, outputs, final_relu)
    load, propose, accept, observe = kernel.load, kernel.propose, kernel.accept, kernel.observe

    @njit
    def step(parameters, data, work, i, new, take):
        a, b = propose(work, data, parameters, i, new)
        if take:
            accept(work, data, parameters, i, new)
            parameters[i] = new
        return a, b, observe(work, data, parameters)

    def close(name, value, parameters):
        z = logits(shape, parameters, x)
        if name == "train_loss":
            exact = cross_entropy(z, y) / (train if reduction == "mean" else 1) + strength * (parameters**2).sum()
            return abs(value - exact) <= 2e-5 * (exact + 0.01)
        if name == "test_accuracy":
            z = logits(shape, parameters, x_test)
        labels = y if name == "train_accuracy" else y_test
        if value == correct(z, labels, ties):
            return True
        near = 1e-5 * (1 + np.abs(z).max(initial=0))
        return correct(z, labels, ties, -near) <= value <= correct(z, labels, ties, near)

    rng = np.random.default_rng(1)
    half = 1.5
    parameters = rng.uniform(-half, half, kernel.dimension)
    assert kernel.dimension == len(parameters)
    work = kernel.work(1)[0]
    work[:] = np.nan  # nothing may be read before it is written
    values = load(parameters, data, work)
    exact_counts = 0
    for number in range(3000):
        i = rng.integers(kernel.dimension)
        new = rng.uniform(-half, half) if rng.random() < 0.5 else np.clip(parameters[i] + rng.normal() / 8, -half, half)
        changed = parameters.copy()
        changed[i] = new
        take = rng.random() < 0.6
        a, b, observed = step(parameters, data, work, i, new, take)
        assert np.array_equal(parameters, changed) == take or new == parameters[i]
        for name, value in zip(per_move, (a, b), strict=False):
            assert close(name, value, changed), (number, name)
            if take:
                assert observed[OBSERVABLES.index(name)] == pytest.approx(value, rel=1e-9)
        if len(per_move) == 1:
            assert b == 0
        if number % 20 == 0:
            for name, value in zip(OBSERVABLES, observed, strict=True):
                assert close(name, value, parameters), (number, name)
            exact_counts += observed[1] == correct(logits(shape, parameters, x), y, ties)
        if number % 1000 == 999:
            values = load(parameters, data, work)
            for name, value in zip(per_move, values, strict=False):
                assert close(name, value, parameters)
    assert exact_counts >= 149


@pytest.mark.parametrize("outputs", [2, pytest.param(3, marks=SLOW)])
def test_a_dead_network_ties(outputs):
    """With all weights 0, all logits are equal: nothing is right, or the points of the first class are."""
    x, y, x_test, y_test = make_data(2, outputs, 40, 40)
    for ties, expected in (("wrong", 0), ("first", (y == 0).sum())):
        kernel = network_kernel(2, 1, 4, outputs, 40, 40, ties=ties, per_move=("train_accuracy", "train_loss"))
        work = kernel.work(1)[0]
        a, b = kernel.load(np.zeros(kernel.dimension), kernel.prepare(x, y, x_test, y_test), work)
        assert a == expected
        assert b == pytest.approx(np.log(outputs), rel=1e-6)


def small_network(per_move=("train_accuracy",)):
    points_test = 24 if "test_accuracy" in per_move else 0
    kernel = network_kernel(2, 2, 4, 2, 24, points_test, per_move=per_move)
    data = kernel.prepare(*make_data(2, 2, 24, points_test))
    n = 25
    target = Target(np.arange(26.0), np.empty(0), np.arange(n), np.zeros(n))
    if len(per_move) == 2:
        target = Target(np.arange(26.0), np.arange(26.0), np.arange(n * n), np.zeros(n * n))
    return kernel, data, target


def run(kernel, data, target, *, walkers=6, moves=4000, chunks=((0, 6),), log_f=1e-3, seed=11):
    start = np.random.default_rng(2).uniform(-1, 1, (walkers, kernel.dimension))
    state = new_walkers(kernel, start, seed, len(target.log_g), 5)
    make_init(kernel)(state, target, data)
    advance = make_step(kernel)

    def part(chunk):
        advance(state, target, data, 1.0, log_f, moves, 6, 50, 700, *chunk)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(part, chunks))
    return state


@pytest.mark.parametrize(
    "per_move", [("train_accuracy",), pytest.param(("train_accuracy", "test_accuracy"), marks=SLOW)], ids=str
)
def test_division_among_threads_changes_nothing(per_move):
    kernel, data, target = small_network(per_move)
    whole = run(kernel, data, target)
    for chunks in (((0, 2), (2, 4), (4, 6)), tuple((b, b + 1) for b in range(6))):
        split = run(kernel, data, target, chunks=chunks)
        for name, one, other in zip(whole._fields, whole, split, strict=True):
            assert one.tobytes() == other.tobytes(), name
    assert run(kernel, data, target, seed=12).parameters.tobytes() != whole.parameters.tobytes()


def test_totals():
    kernel, data, target = small_network()
    state = run(kernel, data, target)
    assert (state.histogram.sum(axis=1) == 4000).all()
    assert (state.observed.sum(axis=1) == 80).all()
    assert (state.proposals.sum(axis=(1, 2, 3)) <= 4000).all()
    assert (state.proposals.sum(axis=(1, 2, 3)) > 3500).all()
    assert (state.accepted.sum(axis=1) < 4000).all()
    assert (np.abs(state.parameters) <= 1).all()
    filled = state.observed > 0
    own = state.sums[..., 1][filled] / state.observed[filled]
    assert own == pytest.approx(np.nonzero(filled)[1])  # the accuracy observed in a bin is that of the bin
    assert np.abs(state.squares[..., 1][filled] / state.observed[filled] - own**2).max() < 1e-9


def test_walls_hold():
    kernel, data, target = small_network()
    free = run(kernel, data, target)
    low = free.bins.min()
    walls = target._replace(mapping=np.where(np.arange(25) <= low + 2, np.arange(25), -1))
    state = run(kernel, data, walls)
    inside = state.histogram.sum(axis=1) > 0
    assert inside.any()
    assert state.histogram[:, low + 3 :].sum() == 0
    assert (state.histogram[inside].sum(axis=1) == 4000).all()
    assert (state.bins[~inside] == -1).all()


def test_random_numbers_are_uniform():
    @njit
    def draw(state, out):
        for k in range(len(out)):
            out[k] = unit_uniform(next_state(state))

    states = random_states(5, 40)
    assert len(np.unique(states)) == states.size
    numbers = np.empty((40, 5000))
    for state, row in zip(states, numbers, strict=True):
        draw(state, row)
    assert stats.kstest(numbers.ravel(), "uniform").pvalue > 1e-3
    assert np.abs(np.corrcoef(numbers) - np.eye(40)).max() < 0.08
    assert abs(np.corrcoef(numbers.ravel()[:-1], numbers.ravel()[1:])[0, 1]) < 0.01


def test_xoshiro_reference():
    """The first outputs from the state 1, 2, 3, 4, as in the reference implementation."""
    state = np.array([1, 2, 3, 4], np.uint64)
    assert [int(next_state(state)) for _ in range(4)] == [41943041, 58720359, 3588806011781223, 3591011842654386]


def test_cells():
    for edges in (np.arange(12.0), np.array([0.0, 0.1, 0.5, 2, 7, 7.5]), np.array([0.0, 1, 5]), np.array([0.0, 1])):
        values = np.r_[np.linspace(-1, 13, 400), edges, np.nextafter(edges, -1), np.inf, -np.inf]
        expected = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
        assert [cell_of(edges, value) for value in values] == list(expected)
    assert cell_of(np.arange(5.0), np.nan) == 3


def shells(d, n, half):
    """|x|^2 in n shells of equal thickness within the ball in the box; the corners are beyond the wall."""
    radii = np.linspace(0, half, n + 1)
    edges = np.r_[radii**2, d * half**2 * 1.01]
    bin_map = np.r_[np.arange(n), -1]
    return Target(edges, np.empty(0), bin_map, np.log(np.diff(radii**d)))


@pytest.mark.slow
@pytest.mark.parametrize("d", [2, 5])
def test_ball_is_flat_at_exact_weights(d):
    kernel = ball_kernel(d)
    target = shells(d, 12, 0.8)
    start = np.random.default_rng(0).uniform(-0.3, 0.3, (16, d))
    state = new_walkers(kernel, start, 3, 12, 3)
    make_init(kernel)(state, target, ())
    make_step(kernel)(state, target, (), 0.8, 0.0, 200_000, 5, 100, 1000, 0, 16)
    share = state.histogram / 200_000 * 12
    error = share.std(axis=0, ddof=1) / 4
    assert (np.abs(share.mean(axis=0) - 1) < 5 * error).all()
    assert np.abs(share.mean(axis=0) - 1).max() < 0.15
    assert (state.trips[:, 1] > 20).all()
    assert state.values[:, 0] == pytest.approx((state.parameters**2).sum(axis=1))


def test_flat_weights_sample_the_box_uniformly():
    kernel, data, target = small_network()
    samples = []
    start = np.random.default_rng(2).uniform(-1, 1, (50, kernel.dimension))
    state = new_walkers(kernel, start, 4, 25, 5)
    make_init(kernel)(state, target, data)
    for _ in range(20):
        make_step(kernel)(state, target, data, 1.0, 0.0, 1500, 6, 0, 500, 0, 50)
        samples.append(state.parameters.copy())
    samples = np.concatenate(samples)
    assert state.observed.sum() == 0
    assert stats.kstest(samples.ravel(), "uniform", args=(-1, 2)).pvalue > 1e-3
    each = [stats.kstest(column, "uniform", args=(-1, 2)).pvalue for column in samples.T]
    assert min(each) > 1e-3 / kernel.dimension


def test_perceptron_counts_and_shares():
    """The share of weights with k correct points is that of the directions, if the box is cut to a disc: here exact."""
    rng = np.random.default_rng(8)
    points, labels = rng.normal(size=(9, 2)), np.where(rng.random(9) < 0.5, 1, -1)
    kernel = perceptron_kernel()
    data = kernel.prepare(points, labels, points[:4], labels[:4])
    n = 10
    target = Target(np.arange(11.0), np.arange(6.0), np.repeat(np.arange(n), 5), np.zeros(n))
    state = new_walkers(kernel, rng.uniform(-1, 1, (20, 2)), 3, n, 3)
    make_init(kernel)(state, target, data)
    make_step(kernel)(state, target, data, 1.0, 0.0, 50_000, 3, 7, 0, 0, 20)
    grid = (np.stack(np.meshgrid(np.arange(1000), np.arange(1000)), -1).reshape(-1, 2) + 0.5) / 500 - 1
    counts = ((grid @ points.T) * labels > 0).sum(axis=1)
    exact = np.bincount(counts, minlength=n) / len(grid)
    share = state.histogram / 50_000
    error = share.std(axis=0, ddof=1) / np.sqrt(20) + 1e-4
    assert (np.abs(share.mean(axis=0) - exact) < 5 * error).all()
    final = ((state.parameters @ points.T) * labels > 0).sum(axis=1)
    assert (state.values[:, 0] == final).all()
    assert (state.values[:, 1] == ((state.parameters @ points[:4].T) * labels[:4] > 0).sum(axis=1)).all()
