"""Densities of states, against exact ones and against uniform samples."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from keras_entropy import datasets, landscape
from keras_entropy.landscape import Observable, exact, pipeline, samplers, splitting, wang_landau
from keras_entropy.landscape.axis import Axis, axis_of, bins_of

pytestmark = pytest.mark.once


def without_kernel(problem):
    return dataclasses.replace(problem, kernel=None)


@pytest.mark.parametrize("backend", ["numba", "numpy"])
@pytest.mark.parametrize("dimension", [10, 20])
def test_at_the_exact_weights_the_histogram_is_flat(backend, dimension):
    problem = landscape.ball_problem(dimension)
    edges = exact.ball_edges(dimension, bins=12)
    entropy = exact.ball_entropy(dimension, edges)
    sampler = samplers.select_sampler(problem, ("energy",), backend)
    walkers = samplers.init(problem, 200, 0)
    window = samplers.Window(bins_of([Axis("energy", edges)]), entropy, octaves=6)
    moves = 20_000 if backend == "numba" else 1500
    sampler.step(walkers, window, moves // 4, samplers.WalkerInfo.zeros(200, window))  # from the top to all bins
    info = samplers.WalkerInfo.zeros(200, window)
    sampler.step(walkers, window, moves, info)
    share = info.histogram / moves * 12
    error = share.std(0, ddof=1) / np.sqrt(200)
    assert np.abs(share.mean(0) - 1).max() < np.maximum(0.03, 5 * error).max()


@pytest.mark.parametrize("dimension", [10, 20])
def test_ball_in_a_cube(dimension):
    edges = exact.ball_edges(dimension)
    truth = exact.ball_entropy(dimension, edges)
    z = []
    for seed in range(4):
        found = landscape.density_of_states(
            landscape.ball_problem(dimension), ["energy"], 1e7, seed, edges={"energy": edges}
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
    found = landscape.density_of_states(problem, ["energy", "positive"], 3e6, edges={"energy": edges}, walkers=128)
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
        found = landscape.density_of_states(problem, ["train_accuracy", "test_accuracy"], 4e6, seed)
        seen = found.visited
        assert (seen == np.isfinite(truth)).all()
        assert found.entropy[seen] == pytest.approx(truth[seen], abs=0.1)
        chi.append(np.mean(((found.entropy[seen] - truth[seen]) / found.standard_error[seen]) ** 2))
    assert np.mean(chi) < 1.3


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_proposals_are_symmetric(backend):
    """At flat weights as many are made from a bin to another as back, and the box is sampled uniformly."""
    problem = landscape.ball_problem(6)
    axis = Axis("energy", np.linspace(0.5, 3.5, 13))
    window = samplers.Window(bins_of([axis]), np.zeros(12), octaves=3)
    walkers = samplers.init(problem, 400, 1)
    info = samplers.WalkerInfo.zeros(400, window, 0, (3, 0))
    samplers.select_sampler(problem, ("energy",), backend).step(walkers, window, 2000, info)
    made = info.proposals[:, :, :, 0].astype(float)
    for distance in (1, 2, 3):
        difference = made[:, :-distance, 3 + distance] - made[:, distance:, 3 - distance]
        z = difference.mean(0) / (difference.std(0, ddof=1) / 20)
        assert np.abs(z).max() < 4
        assert made[:, :, 3 + distance].sum() > 1000
    for component in walkers.parameters.T:
        assert stats.kstest(component, "uniform", (-1, 2)).pvalue > 1e-4


@pytest.fixture(scope="module")
def network():
    return landscape.network_problem(3, 6, datasets.spirals(seed=0))


def test_a_network_as_uniform_samples_have_it(network):
    found = landscape.density_of_states(network, ["train_accuracy"], 1e7)
    rng = np.random.default_rng(0)
    counts = np.zeros(41)
    for _ in range(10):
        samples = rng.uniform(-network.half_width, network.half_width, (116, 20_000))
        right = np.rint(40 * network.energy(samples)["train_accuracy"]).astype(int)
        counts += np.bincount(right, minlength=41)
    often = counts > 1000
    assert often.sum() >= 15
    assert np.abs(found.entropy - np.log(counts.clip(1) / counts.sum()))[often].max() < 0.25
    assert found.entropy == pytest.approx(found.entropy[::-1], abs=1.5)  # swap the outputs
    assert found.entropy[-1] == pytest.approx(-28.9, abs=1.0)
    assert 0.8 < found.conditional_mean("test_accuracy")[0][-1] < 0.95


def test_bins_of_the_loss_are_found(network):
    found = landscape.density_of_states(network, ["train_loss"], 4e6, target_loss=0.55)
    (axis,) = found.axes
    assert axis.edges[1] == pytest.approx(0.55)
    assert found.visited.all()
    deep = np.log(np.exp(found.entropy[axis.centers < 0.6]).sum())
    assert deep == pytest.approx(-8.5, abs=1.5)
    assert np.all(np.abs(np.diff(found.entropy)) < 2)


def test_seeds_and_threads(network):
    from keras_entropy.landscape.samplers.numba_sampler import NumbaSampler

    kernel = network.kernel(("train_accuracy",))
    axis = axis_of(network, "train_accuracy", {})
    found = []
    for threads in (1, 2, 3):
        sampler = NumbaSampler(network, kernel, threads)
        split = splitting.split(sampler, (axis,), 100, 400, 5)
        found.append(split.entropy.tobytes() + split.parameters.tobytes())
    assert found[0] == found[1] == found[2]


class Killed(Exception):
    pass


@pytest.mark.parametrize("general", [False, True])
def test_an_interrupted_walk_goes_on_to_the_same_bits(general, tmp_path, monkeypatch):
    problem = landscape.ball_problem(5)
    problem = without_kernel(problem) if general else problem
    options = {"axes": ["energy"], "moves": 2e5, "edges": {"energy": exact.ball_edges(5, bins=8)}, "walkers": 16}
    monkeypatch.setattr("keras_entropy.landscape.wang_landau._CHUNK", 2000)
    whole = landscape.density_of_states(problem, **options)
    monkeypatch.setattr(pipeline, "_SECONDS", 0.0)
    step, calls = pipeline.wang_landau.step, []
    for limit in (3, 25, 28):

        def dies(*arguments, limit=limit):
            if len(calls) == limit:
                raise Killed
            calls.append(1)
            return step(*arguments)

        monkeypatch.setattr(pipeline.wang_landau, "step", dies)
        with pytest.raises(Killed):
            landscape.density_of_states(problem, checkpoint=tmp_path / "walk", **options)
    monkeypatch.setattr(pipeline.wang_landau, "step", step)
    again = landscape.density_of_states(problem, checkpoint=tmp_path / "walk", **options)
    assert again.entropy.tobytes() == whole.entropy.tobytes()
    assert again.histogram.tobytes() == whole.histogram.tobytes()


def test_a_checkpoint_of_something_else_is_refused(tmp_path):
    problem = landscape.ball_problem(5)
    options = {"axes": ["energy"], "moves": 1e4, "edges": {"energy": exact.ball_edges(5, bins=4)}, "walkers": 8}
    path = tmp_path / "walk"
    landscape.density_of_states(problem, checkpoint=path, **options)
    with pytest.raises(ValueError, match="different problem"):
        landscape.density_of_states(landscape.ball_problem(6), checkpoint=path, **options)
    with pytest.raises(ValueError, match="different seed"):
        landscape.density_of_states(problem, checkpoint=path, seed=1, **options)
    whole = path.read_bytes()
    for damaged in (whole[:-10], b"", whole[:100] + b"x" + whole[101:], b"something else"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is corrupted"):
            landscape.density_of_states(problem, checkpoint=path, **options)
        assert path.read_bytes() == damaged


def test_a_checkpoint_of_another_function_of_the_users_is_refused(tmp_path):
    def square(power):
        return landscape.function_problem(lambda c: {"norm": (c**power).sum(0)}, 3, 1.0, {"norm": Observable()})

    options = {"axes": ["norm"], "moves": 1e4, "edges": {"norm": [0.0, 1.0, 3.0]}, "walkers": 8}
    landscape.density_of_states(square(2), checkpoint=tmp_path / "walk", **options)
    landscape.density_of_states(square(2), checkpoint=tmp_path / "walk", **options)
    with pytest.raises(ValueError, match="different problem"):
        landscape.density_of_states(square(4), checkpoint=tmp_path / "walk", **options)


def test_a_users_function():
    problem = landscape.function_problem(lambda c: {"top": c.max(0)}, 3, 1.0, {"top": Observable()})
    edges = {"top": [-1.0, -0.5, 0.0, 0.5, 1.0]}
    found = landscape.density_of_states(problem, ["top"], 2e5, edges=edges, walkers=16)
    truth = np.log(np.diff(((np.array(edges["top"]) + 1) / 2) ** 3))
    assert found.entropy == pytest.approx(truth, abs=0.1)


def test_a_short_run_is_not_called_converged():
    found = landscape.density_of_states(
        landscape.ball_problem(10), ["energy"], 2e5, edges={"energy": exact.ball_edges(10)}, walkers=8
    )
    assert not found.converged
    assert "use more moves" in found.status


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
        ({"moves": 0}, "a positive integer"),
        ({"moves": -1e6}, "a positive integer"),
        ({"moves": "many"}, "a finite number"),
        ({"moves": float("nan")}, "a finite number"),
        ({"seed": -1}, "an integer from 0"),
        ({"seed": 0.5}, "an integer from 0"),
        ({"seed": 2**32}, "an integer from 0"),
        ({"seed": "zero"}, "a finite number"),
        ({"seed": None}, "a finite number"),
        ({"seed": True}, "a finite number"),
        ({"walkers": 0}, "a positive integer"),
        ({"particles": 0}, "a positive integer"),
        ({"edges": {"energy": [1.0, 0.5]}}, "increasing finite numbers"),
        ({"edges": {"energy": [0.0, 1.0, 1.0, 5.0]}}, "increasing finite numbers"),
        ({"edges": {"energy": [0.0, np.nan, 5.0]}}, "increasing finite numbers"),
        ({"edges": {"energy": "all"}}, "increasing finite numbers"),
        ({"edges": {"energy": 3.0}}, "increasing finite numbers"),
        ({"edges": {"enrgy": [0.0, 1.0]}}, "one of 'energy', 'positive'"),
        ({"edges": [0.0, 1.0]}, "a dictionary from names"),
        ({"edges": None}, "`target_loss` should be"),
        ({"edges": None, "target_loss": np.nan}, "a finite number"),
    ],
)
def test_bad_arguments_are_named(change, words):
    options = {"problem": landscape.ball_problem(5), "axes": ["energy"], "moves": 1e4}
    with pytest.raises((TypeError, ValueError), match=words):
        landscape.density_of_states(**options | {"edges": {"energy": [0.0, 1.0, 5.0]}} | change)


@pytest.mark.parametrize("general", [False, True])
def test_edges_that_do_not_cover_the_box_count_it_whole(general):
    problem = landscape.ball_problem(6)
    problem = without_kernel(problem) if general else problem
    found = landscape.density_of_states(problem, "energy", 2e5, edges={"energy": [1.2, 1.5, 2.0, 2.1]}, walkers=64)
    truth = exact.ball_entropy(6, np.array([0.0, 1.5, 2.0, 6.0]))
    assert found.entropy == pytest.approx(truth, abs=0.05)
    assert np.exp(found.entropy).sum() == pytest.approx(1)


def test_values_that_are_not_finite_somewhere_are_named():
    def energy(c):
        size = (c**2).sum(0)
        return {"size": size, "root": 0.3 - size + 0 * (0.3 - size) ** 0.5}

    problem = landscape.ball_problem(3)
    problem = dataclasses.replace(problem, energy=energy, kernel=None, traceable=False)
    problem = dataclasses.replace(problem, observables={"size": Observable(), "root": Observable()})
    with (
        np.errstate(invalid="ignore"),
        pytest.raises(ValueError, match="everywhere in the box.*'root' that is not finite"),
    ):
        landscape.density_of_states(problem, "root", 1e4, edges={"root": [-3.0, 0.1, 0.2, 0.3]})


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_a_start_outside_of_every_bin_is_named(backend):
    problem, axis = landscape.ball_problem(5), Axis("energy", np.array([0.0, 0.5, 1.0, 5.0]))
    schedule = wang_landau.Schedule(bins_of([axis], [True, True, False]), 2, 100, 100, (1, 0))
    state = wang_landau.init(schedule, np.zeros(2), np.full((4, 5), 0.9), samplers.random_states(0, 4), 2)
    with pytest.raises(ValueError, match="4 walkers outside of all 2 bins. Start them from"):
        wang_landau.step(samplers.select_sampler(problem, ("energy",), backend), schedule, state)


@pytest.mark.parametrize(
    ("energy", "words"),
    [
        (lambda c: {"other": c[0]}, "a value for 'value'"),
        (lambda c: {"value": c}, r"of shape \(3,\)"),
        (lambda c: {"value": c[0] * np.nan}, "not finite"),
        ("text", "a function of parameters"),
    ],
)
def test_bad_energies_are_named(energy, words):
    with pytest.raises((TypeError, ValueError), match=words):
        landscape.function_problem(energy, 2, 1.0, {"value": Observable()})


@pytest.mark.parametrize(("half_width", "dimension"), [(0.0, 2), (-1.0, 2), (float("inf"), 2), (1.0, 0)])
def test_an_empty_box_is_refused(half_width, dimension):
    with pytest.raises((TypeError, ValueError), match="half_width|dimension"):
        landscape.function_problem(lambda c: {"value": c[0]}, dimension, half_width, {"value": Observable()})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"depth": 0}, "a positive integer"),
        ({"reduction": "median"}, "one of 'mean', 'sum'"),
        ({"ties": "last"}, "one of 'wrong', 'first'"),
        ({"strength": -1.0}, "at least 0"),
        ({"half_width": 0.0}, "above 0"),
        ({"data": (np.ones((3, 2)), np.ones(3))}, "x_train, y_train, x_test and y_test"),
        ({"data": (np.ones((3, 2)), np.ones(3), np.ones((3, 2)), np.ones(3, int))}, "integers from 0 on"),
        ({"data": (np.ones((3, 2)), np.ones(3, int), np.ones((3, 3)), np.ones(3, int))}, "as many inputs"),
        ({"data": (np.full((3, 2), np.nan), np.ones(3, int), np.ones((3, 2)), np.ones(3, int))}, "not finite"),
    ],
)
def test_bad_networks_are_named(change, words):
    options = {"depth": 2, "width": 3, "data": tuple(datasets.spirals(seed=0)), **change}
    with pytest.raises((TypeError, ValueError), match=words):
        landscape.network_problem(**options)


def test_it_is_saved_as_json(tmp_path):
    import json

    found = landscape.density_of_states(
        landscape.ball_problem(5), ["energy"], 1e4, edges={"energy": exact.ball_edges(5, bins=4)}, walkers=8
    )
    found.save(tmp_path / "density.json")
    record = json.loads((tmp_path / "density.json").read_text())
    assert record["schema"] == "keras-entropy/density-of-states/2"
    assert np.array(record["entropy"], float) == pytest.approx(found.entropy)
    again = landscape.DensityOfStates.load(tmp_path / "density.json")
    for field in dataclasses.fields(found):
        one, other = getattr(found, field.name), getattr(again, field.name)
        if field.name == "axes":
            one, other = ([(axis.name, axis.edges, axis.deep) for axis in axes] for axes in (one, other))
        elif field.name == "means":
            one, other = dict(one), dict(other)
        np.testing.assert_equal(other, one)
    assert again.visited.dtype == bool
    assert again.histogram.dtype == np.int64


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record.update(schema="keras-entropy/profile/1"),
        lambda record: record.pop("entropy"),
        lambda record: record.update(entropy=[1.0]),
        lambda record: record.update(entropy=["a", "b", "c", "d"]),
        lambda record: record["axes"][0].update(edges=[1.0, 0.0]),
        lambda record: record.update(more=1),
    ],
)
def test_a_file_of_something_else_is_refused(change, tmp_path):
    import json

    path = tmp_path / "density.json"
    edges = {"energy": exact.ball_edges(5, bins=4)}
    landscape.density_of_states(landscape.ball_problem(5), ["energy"], 1e4, edges=edges, walkers=8).save(path)
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="is not a density of states"):
        landscape.DensityOfStates.load(path)
