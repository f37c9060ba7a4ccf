"""Every sampler: it samples what it should, counts what it does, and knows no network and no file."""

import ast
import subprocess
import sys

import numpy as np
import pytest
from landscape_cases import BACKENDS, DIMENSION, ball_window
from scipy import stats

from conftest import ROOT
from keras_entropy import datasets, landscape
from keras_entropy.landscape import Observable, samplers, splitting
from keras_entropy.landscape.axis import Axis, axis_of, bins_of

WALKERS = {"numba": 200, "numpy": 200, "jax": 500}
MOVES = {"numba": 20_000, "numpy": 1500, "jax": 8000}
SLOW_20 = pytest.param(20, marks=pytest.mark.slow)


@pytest.mark.parametrize("dimension", [DIMENSION, SLOW_20])
@pytest.mark.parametrize("backend", BACKENDS)
def test_at_the_exact_weights_the_histogram_is_flat(backend, dimension):
    window, count, moves = ball_window(dimension, octaves=6), WALKERS[backend], MOVES[backend]
    sampler = samplers.select_sampler(landscape.ball_problem(dimension), ("energy",), backend)
    state = samplers.init(sampler.problem, count, 0)
    sampler.step(
        state, window, max(2000, moves) // 4, samplers.WalkerInfo.zeros(count, window)
    )  # from the top to all bins
    info = samplers.WalkerInfo.zeros(count, window, 2, (3, 0))
    sampler.step(state, window, moves, info, 50)
    share = info.histogram / moves * 12
    error = share.std(0, ddof=1) / np.sqrt(count)
    assert np.abs(share.mean(0) - 1).max() < np.maximum(0.03, (4 if backend == "jax" else 5) * error).max()
    assert info.histogram.sum() == count * moves
    assert info.observed.sum() == count * moves // 50
    assert np.all(np.abs(state.parameters) <= 1)
    means = (info.sums / np.maximum(info.observed, 1)[..., None]).sum(0) / (info.observed > 0).sum(0)[:, None]
    edges = window.bins.axes[0].edges
    assert np.all((means[1:-1, 0] > edges[1:-2]) & (means[1:-1, 0] < edges[2:-1]))


@pytest.mark.parametrize("backend", BACKENDS)
def test_proposals_are_symmetric(backend):
    """At flat weights as many are made from a bin to another as back, and the box is sampled uniformly."""
    axis = Axis("energy", np.linspace(1.5, 5.1, 13))
    window = samplers.Window(bins_of([axis]), np.zeros(12), octaves=3)
    sampler = samplers.select_sampler(landscape.ball_problem(DIMENSION), ("energy",), backend)
    state = samplers.init(sampler.problem, 400, 1)
    info = samplers.WalkerInfo.zeros(400, window, 0, (3, 0))
    sampler.step(state, window, 2000, info)
    made = info.proposals[:, :, :, 0].astype(float)
    for distance in (1, 2, 3):
        difference = made[:, :-distance, 3 + distance] - made[:, distance:, 3 - distance]
        z = difference.mean(0) / (difference.std(0, ddof=1) / 20)
        assert np.abs(z).max() < 4
        assert made[:, :, 3 + distance].sum() > 1000
    for component in state.parameters.T:
        assert stats.kstest(component, "uniform", (-1, 2)).pvalue > 1e-4


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_state_takes_the_same_walk(backend):
    window = ball_window(octaves=6)
    sampler = samplers.select_sampler(landscape.ball_problem(DIMENSION), ("energy",), backend)
    walks = []
    for seed in (0, 0, 1):
        state, info = samplers.init(sampler.problem, 8, seed), samplers.WalkerInfo.zeros(8, window)
        for _ in range(2):
            sampler.step(state, window, 100, info)
        walks.append(state.parameters.tobytes() + state.random_states.tobytes() + info.histogram.tobytes())
    assert walks[0] == walks[1] != walks[2]


@pytest.mark.parametrize("backend", BACKENDS)
def test_walkers_outside_of_every_bin_stay_where_they_are(backend):
    bins = bins_of([Axis("energy", [0.0, 0.5, 1.0, 10.0])], [True, True, False])
    window = samplers.Window(bins, np.zeros(2))
    sampler = samplers.select_sampler(landscape.ball_problem(DIMENSION), ("energy",), backend)
    state = samplers.init_at(np.full((4, DIMENSION), 0.5), samplers.random_states(0, 4))
    state.parameters[0] = 0.1
    info = samplers.WalkerInfo.zeros(4, window, 2)
    sampler.step(state, window, 100, info, 10)
    assert state.bins[0] >= 0
    assert np.all(state.bins[1:] == -1)
    assert np.all(state.parameters[1:] == 0.5)
    assert info.histogram.sum(1).tolist() == [100, 0, 0, 0]
    assert info.observed.sum(1).tolist() == [10, 0, 0, 0]
    assert info.accepted[1:].sum() == info.sums[1:].sum() == info.proposals[1:].sum() == 0


def _network():
    return landscape.network_problem(3, 6, datasets.spirals(seed=0)), "train_accuracy"


@pytest.mark.once
@pytest.mark.parametrize(
    "problem",
    [lambda: (landscape.ball_problem(DIMENSION), "energy"), pytest.param(_network, marks=pytest.mark.slow)],
    ids=["ball", "network"],
)
def test_the_number_of_threads_changes_nothing(problem):
    from keras_entropy.landscape.samplers.numba_sampler import NumbaSampler

    problem, name = problem()
    axis = axis_of(problem, name, {}) or ball_window().bins.axes[0]
    found = []
    for threads in (1, 2, 3):
        sampler = NumbaSampler(problem, problem.kernel((name,)), threads)
        split = splitting.split(sampler, (axis,), 100, 400, 5)
        found.append(split.entropy.tobytes() + split.parameters.tobytes())
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("backend", BACKENDS[2:])
def test_jax_compiles_one_program_for_windows_of_one_shape(backend):
    sampler = samplers.select_sampler(landscape.ball_problem(DIMENSION), ("energy",), backend)
    state = samplers.init(sampler.problem, 8, 0)
    for octaves, log_f, moves in ((2, 0.0, 10), (6, 0.1, 20), (3, 0.0, 30)):
        window = ball_window(octaves=octaves, log_f=log_f)
        sampler.step(state, window, moves, samplers.WalkerInfo.zeros(8, window), observe_every=moves)
    assert sampler._run._cache_size() == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_backend_is_chosen(backend):
    problem = landscape.ball_problem(DIMENSION)
    name = type(samplers.select_sampler(problem, ("energy",), backend)).__name__
    assert name == f"{backend.capitalize()}Sampler"
    assert type(samplers.select_sampler(problem, ("energy",))).__name__ == "NumbaSampler"
    by_user = landscape.function_problem(lambda c: {"top": c.max(0)}, 3, 1.0, {"top": Observable()})
    assert type(samplers.select_sampler(by_user, ("top",))).__name__ == "NumpySampler"


@pytest.mark.once
def test_samplers_know_no_network_and_no_file():
    """They import each other, the bins, the problem as an interface, and compiled code."""
    allowed = {"axis", "problems.problem", "kernels", "kernels.kernel", "kernels.random_walk"}
    folder, prefix = ROOT / "keras_entropy" / "landscape" / "samplers", "keras_entropy.landscape."
    imported = set()
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module)
    own = {name for name in imported if name.startswith("keras_entropy") and not name.startswith(f"{prefix}samplers")}
    assert own <= {prefix + name for name in allowed} | {"keras_entropy", "keras_entropy._backend"}
    assert imported.isdisjoint({"os.path", "pathlib", "io", "json", "tempfile"})


@pytest.mark.once
@pytest.mark.processes
def test_importing_loads_no_compiler_and_no_figures(child_environment):
    code = "import sys, keras; before = set(sys.modules); import keras_entropy.landscape; "
    code += "print(*set(sys.modules) - before)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=child_environment, capture_output=True, text=True, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert "keras_entropy" in loaded
    assert loaded.isdisjoint({"numba", "llvmlite", "jax", "matplotlib"})
