"""Whole runs, against exact entropies and against uniform samples."""

import dataclasses

import numpy as np
import pytest
from landscape_cases import DIMENSION, without_kernel

from keras_entropy import datasets, landscape
from keras_entropy.landscape import Observable, exact, samplers, splitting, wang_landau
from keras_entropy.landscape.axis import Axis, bins_of

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("dimension", "bins", "moves"),
    [
        (10, 16, 1e6),
        pytest.param(10, 44, 1e7, marks=pytest.mark.slow),
        pytest.param(20, 44, 1e7, marks=pytest.mark.slow),
    ],
)
def test_ball_in_a_cube(dimension, bins, moves):
    edges = exact.ball_edges(dimension, bins)
    truth = exact.ball_entropy(dimension, edges)
    z = []
    for seed in range(4):
        found = landscape.density_of_states(
            landscape.ball_problem(dimension), ["energy"], moves, seed, edges={"energy": edges}
        )
        assert found.visited.all()
        assert np.exp(found.entropy).sum() == pytest.approx(1)
        assert np.sqrt(np.mean((found.entropy - truth) ** 2)) < 0.3
        assert np.sqrt(np.mean((found.histogram_entropy - truth) ** 2)) < 0.6
        z.append((found.entropy - truth) / found.standard_error)
    assert 0.5 < np.sqrt(np.mean(np.square(z))) < 2.0


def test_two_axes():
    dimension = 6
    problem = landscape.ball_problem(dimension)
    edges = exact.ball_edges(dimension, bins=6)
    found = landscape.density_of_states(problem, ["energy", "positive"], 1e6, edges={"energy": edges}, walkers=128)
    signs = np.array([1, 6, 15, 20, 15, 6, 1])
    truth = exact.ball_entropy(dimension, edges)[:, None] + np.log(signs / 64)
    assert found.entropy.shape == (6, 7)
    assert found.visited.all()
    assert np.sqrt(np.mean((found.entropy - truth) ** 2)) < 0.2
    mean, error, deviation = found.conditional_mean("positive")
    assert mean[0] == pytest.approx(np.arange(7) / 6)
    assert deviation == pytest.approx(np.zeros((6, 7)), abs=1e-3)  # from squares in float32, on JAX
    assert error.shape == (6, 7)


def test_perceptron():
    rng = np.random.default_rng(3)
    train, test = ((rng.normal(size=(n, 2)) + 0.5, np.where(rng.random(n) < 0.8, 1, -1)) for n in (6, 5))
    truth, chi = exact.perceptron_entropy(train, test), []
    problem = landscape.perceptron_problem(train, test)
    for seed in range(6):
        found = landscape.density_of_states(problem, ["train_accuracy", "test_accuracy"], 2e6, seed)
        seen = found.visited
        assert (seen == np.isfinite(truth)).all()
        assert found.entropy[seen] == pytest.approx(truth[seen], abs=0.1)
        chi.append(np.mean(((found.entropy[seen] - truth[seen]) / found.standard_error[seen]) ** 2))
    assert np.mean(chi) < 1.3


@pytest.fixture(scope="module")
def network():
    return landscape.network_problem(3, 6, datasets.spirals(seed=0))


@pytest.mark.slow
def test_a_network_as_uniform_samples_have_it(network):
    found = landscape.density_of_states(network, ["train_accuracy"], 1e7)
    rng = np.random.default_rng(0)
    counts = np.zeros(41)
    for _ in range(10):
        parameters = rng.uniform(-network.half_width, network.half_width, (116, 20_000))
        right = np.rint(40 * network.energy(parameters)["train_accuracy"]).astype(int)
        counts += np.bincount(right, minlength=41)
    often = counts > 1000
    assert often.sum() >= 15
    assert np.abs(found.entropy - np.log(counts.clip(1) / counts.sum()))[often].max() < 0.25
    assert found.entropy == pytest.approx(found.entropy[::-1], abs=1.5)  # swap the outputs
    assert found.entropy[-1] == pytest.approx(-28.9, abs=1.0)
    assert 0.8 < found.conditional_mean("test_accuracy").mean[-1] < 0.95


@pytest.mark.slow
def test_bins_of_a_loss_are_found(network):
    found = landscape.density_of_states(network, ["train_loss"], 4e6, target_loss=0.55)
    (axis,) = found.axes
    assert axis.edges[1] == pytest.approx(0.55)
    assert found.visited.all()
    deep = np.log(np.exp(found.entropy[axis.centers < 0.6]).sum())
    assert deep == pytest.approx(-8.5, abs=1.5)
    assert np.all(np.abs(np.diff(found.entropy)) < 2)


def test_bins_of_the_ball_are_found_and_have_their_entropy():
    found = landscape.density_of_states(landscape.ball_problem(DIMENSION), "energy", 1e6, target_loss=0.5)
    (axis,) = found.axes
    assert axis.edges[1] == pytest.approx(0.5)
    assert found.visited.all()
    truth = exact.ball_entropy(DIMENSION, np.array([0.0, *axis.edges[1:-1], DIMENSION]))
    assert np.sqrt(np.mean((found.entropy - truth) ** 2)) < 0.1
    log_volumes = [exact.ball_log_probability(DIMENSION, edge) for edge in axis.edges[2:-1]]
    assert len(log_volumes) >= 6
    # 200 particles know a threshold of one nat to sqrt((1 - 1/e) / (200/e)) = 0.09 nats.
    assert np.diff(log_volumes) == pytest.approx(np.ones(len(log_volumes) - 1), abs=0.4)


def test_a_users_function():
    problem = landscape.function_problem(lambda c: {"top": c.max(0)}, 3, 1.0, {"top": Observable()})
    edges = {"top": [-1.0, -0.5, 0.0, 0.5, 1.0]}
    found = landscape.density_of_states(problem, ["top"], 2e5, edges=edges, walkers=16)
    truth = np.log(np.diff(((np.array(edges["top"]) + 1) / 2) ** 3))
    assert found.entropy == pytest.approx(truth, abs=0.1)


def test_a_short_run_is_not_called_converged():
    found = landscape.density_of_states(
        landscape.ball_problem(DIMENSION), ["energy"], 2e5, edges={"energy": exact.ball_edges(DIMENSION)}, walkers=8
    )
    assert not found.converged
    assert "use more moves" in found.status


def test_progress_is_reported(monkeypatch):
    monkeypatch.setattr(landscape.pipeline, "_PROGRESS_SECONDS", -1.0)
    reports = []
    landscape.density_of_states(
        landscape.ball_problem(DIMENSION),
        "energy",
        2e5,
        edges={"energy": exact.ball_edges(DIMENSION, 8)},
        progress=reports.append,
    )
    assert list(dict.fromkeys(report.phase for report in reports)) == ["splitting", "learning", "production"]
    done = [report.done for report in reports]
    assert done == sorted(done)
    assert done[0] == 0
    assert done[-1] == pytest.approx(1)
    assert reports[-1].visited == 1
    assert reports[-1].moves_per_second > 0


def test_an_end_that_cannot_be_reached_is_an_error():
    def never(c):
        return {"level": np.minimum(np.floor(3 * np.abs(c[0])), 2) / 3}

    problem = landscape.function_problem(never, 2, 1.0, {"level": Observable(3, "high")})
    with pytest.raises(RuntimeError, match=r"level = 0.66.* on the way to 1.*particles"):
        landscape.density_of_states(problem, ["level"], 1e4)
    smooth = landscape.function_problem(lambda c: {"size": np.abs(c[0])}, 2, 1.0, {"size": Observable()})
    with pytest.raises(RuntimeError, match="Splitting has died out"):
        landscape.density_of_states(smooth, ["size"], 1e4, target_loss=-1.0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"axes": ["nothing"]}, "one of 'energy', 'positive'"),
        ({"axes": []}, "one or two names"),
        ({"axes": ["energy", "energy"]}, "one or two names"),
        ({"axes": ["energy", "enrgy"]}, "one of 'energy', 'positive'"),
        ({"axes": 3}, "one or two names"),
        ({"problem": "ball"}, "a Problem, such as network_problem"),
        ({"moves": 0}, "from 1 to 1e18"),
        ({"moves": -1e6}, "from 1 to 1e18"),
        ({"moves": "many"}, "a finite number"),
        ({"moves": float("nan")}, "a finite number"),
        ({"seed": -1}, "an integer from 0"),
        ({"seed": 0.5}, "an integer from 0"),
        ({"seed": 2**32}, "an integer from 0"),
        ({"seed": "zero"}, "an integer from 0"),
        ({"seed": None}, "an integer from 0"),
        ({"seed": True}, "an integer from 0"),
        ({"walkers": 0}, "a positive integer"),
        ({"particles": 0}, "a positive integer"),
        ({"split_moves": 0}, "a positive integer"),
        ({"threads": 0}, "a positive integer"),
        ({"backend": "cuda"}, "one of 'numba', 'jax', 'numpy'"),
        ({"edges": {"energy": [1.0, 0.5]}}, "increasing finite numbers"),
        ({"edges": {"energy": [0.0, 1.0, 1.0, 5.0]}}, "increasing finite numbers"),
        ({"edges": {"energy": [0.0, np.nan, 5.0]}}, "increasing finite numbers"),
        ({"edges": {"energy": "all"}}, "increasing finite numbers"),
        ({"edges": {"energy": 3.0}}, "increasing finite numbers"),
        ({"edges": {"enrgy": [0.0, 1.0]}}, "one of 'energy', 'positive'"),
        ({"edges": [0.0, 1.0]}, "a dictionary from names"),
        ({"edges": None}, "`target_loss` should be"),
        ({"edges": None, "target_loss": np.nan}, "a finite number"),
        ({"target_loss": "low"}, "a finite number"),
        (
            {"edges": None, "target_loss": 1e9},
            "`target_loss` should be deeper than .*, the 'energy' that 37% of the box",
        ),
    ],
)
def test_bad_arguments_are_named(change, words):
    options = {"problem": landscape.ball_problem(DIMENSION), "axes": ["energy"], "moves": 1e4}
    with pytest.raises((TypeError, ValueError), match=words):
        landscape.density_of_states(**options | {"edges": {"energy": [0.0, 1.0, 5.0]}} | change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"axes": []}, "one or two names"),
        ({"axes": ["energy", "positive", "energy"]}, "one or two names"),
        ({"axes": 3}, "one or two names"),
        ({"axes": "enrgy"}, "one of 'energy', 'positive'"),
        ({"problem": "ball"}, "a Problem, such as network_problem"),
    ],
)
def test_the_published_schedule_names_bad_arguments_too(change, words):
    options = {"problem": landscape.ball_problem(DIMENSION), "axes": "energy", "edges": {"energy": [0.0, 1.0, 5.0]}}
    with pytest.raises((TypeError, ValueError), match=words):
        landscape.zhang_schedule(**options | change)


def test_the_deep_end_of_an_axis_is_low_or_high():
    with pytest.raises(ValueError, match="`deep` should be one of 'high', 'low'"):
        Axis("energy", [0.0, 1.0], "left")


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_edges_that_do_not_cover_the_box_count_it_whole(backend):
    problem, edges = landscape.ball_problem(DIMENSION), {"energy": [2.2, 2.5, 3.0, 3.1]}
    found = landscape.density_of_states(problem, "energy", 2e5, edges=edges, walkers=64, backend=backend)
    truth = exact.ball_entropy(DIMENSION, np.array([0.0, 2.5, 3.0, DIMENSION]))
    assert found.entropy == pytest.approx(truth, abs=0.05)
    assert np.exp(found.entropy).sum() == pytest.approx(1)


def test_values_that_are_not_finite_somewhere_are_named():
    def energy(c):
        size = (c**2).sum(0)
        return {"size": size, "root": 0.3 - size + 0 * (0.3 - size) ** 0.5}

    problem = dataclasses.replace(without_kernel(landscape.ball_problem(3)), energy=energy, traceable=False)
    problem = dataclasses.replace(problem, observables={"size": Observable(), "root": Observable()})
    words = "everywhere in the box.*'root' that is not finite"
    with np.errstate(invalid="ignore"), pytest.raises(ValueError, match=words):
        landscape.density_of_states(problem, "root", 1e4, edges={"root": [-3.0, 0.1, 0.2, 0.3]})


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_a_start_outside_of_every_bin_is_named(backend):
    problem, axis = landscape.ball_problem(DIMENSION), Axis("energy", np.array([0.0, 0.5, 1.0, 10.0]))
    schedule = wang_landau.Schedule(bins_of([axis], [True, True, False]), 2, 100, 100, (1, 0))
    parameters = np.full((4, DIMENSION), 0.9)
    state = wang_landau.init(schedule, np.zeros(2), parameters, samplers.random_states(0, 4), 2)
    with pytest.raises(ValueError, match="4 walkers outside of all 2 bins. Start them from"):
        wang_landau.step(samplers.select_sampler(problem, ("energy",), backend), schedule, state)


@pytest.mark.parametrize("target", [0.45, 0.47, 0.5, 0.53])
def test_the_bin_above_the_target_is_as_wide_as_the_others(target):
    """In nats, wherever the target lies between two thresholds."""
    sampler = samplers.select_sampler(landscape.ball_problem(DIMENSION), ("energy",), "numba")
    edges = splitting.find_axis(sampler, "energy", target, 400, 200, 0).edges
    widths = np.diff([exact.ball_log_probability(DIMENSION, edge) for edge in edges[1:4]])
    assert 0.42 < widths[0] < 1.65
