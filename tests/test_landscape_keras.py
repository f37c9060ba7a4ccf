"""Keras models as problems, on every backend, against NumPy."""

import keras
import numpy as np
import pytest

from keras_entropy import datasets, landscape
from keras_entropy.landscape import Observable, exact, samplers
from keras_entropy.landscape.axis import Axis, bins_of

BOX = 2 / np.sqrt(6)


@pytest.fixture(scope="module")
def data():
    return datasets.spirals(seed=0)


@pytest.fixture(scope="module")
def model():
    dense = [keras.layers.Dense(6, activation="relu") for _ in range(3)]
    return keras.Sequential([keras.Input((2,)), *dense, keras.layers.Dense(2)])


@pytest.mark.parametrize("options", [{}, {"reduction": "sum", "strength": 0.1, "ties": "first"}])
def test_it_is_the_network_of_the_paper(model, data, options):
    ours = landscape.network_problem(3, 6, data, half_width=BOX, **options)
    theirs = landscape.keras_problem(model, data, BOX, **options)
    assert (theirs.dimension, theirs.observables) == (ours.dimension, ours.observables)
    parameters = np.random.default_rng(0).uniform(-BOX, BOX, (50, ours.dimension))
    expected, found = samplers.evaluate(ours, parameters), samplers.evaluate(theirs, parameters)
    np.testing.assert_allclose(found["train_loss"], expected["train_loss"], rtol=1e-5)
    for name in ("train_accuracy", "test_accuracy"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6)


def test_two_routes_find_the_same_entropy(model, data):
    problem = landscape.keras_problem(model, data, BOX)
    options = {"axes": "train_accuracy", "moves": 1e4, "walkers": 64, "particles": 64, "split_moves": 10}
    options["edges"] = {"train_accuracy": np.array([0.0, 0.4875, 0.5125, 0.5375, 1.0])}
    found = landscape.density_of_states(problem, **options)
    expected = landscape.density_of_states(
        landscape.network_problem(3, 6, data, half_width=BOX), **options | {"moves": 1e6}
    )
    difference = found.entropy - expected.entropy
    assert np.abs(difference).max() < 4 * np.hypot(found.standard_error, expected.standard_error).max() < 1.0
    again = landscape.density_of_states(problem, **options)
    assert again.entropy.tobytes() == found.entropy.tobytes()


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="that sampler is JAX's")
@pytest.mark.parametrize("dimension", [10, 20])
def test_at_the_exact_weights_the_histogram_of_jax_is_flat(dimension):
    problem = landscape.ball_problem(dimension)
    edges = exact.ball_edges(dimension, bins=12)
    window = samplers.Window(bins_of([Axis("energy", edges)]), exact.ball_entropy(dimension, edges), octaves=6)
    sampler = samplers.select_sampler(problem, ("energy",), "jax")
    walkers = samplers.init(problem, 500, 0)
    sampler.step(walkers, window, 2000, samplers.WalkerInfo.zeros(500, window))  # from the top to all bins
    info = samplers.WalkerInfo.zeros(500, window, 2, (3, 0))
    sampler.step(walkers, window, 8000, info, 50)
    share = info.histogram / 8000 * 12
    error = share.std(0, ddof=1) / np.sqrt(500)
    assert np.abs(share.mean(0) - 1).max() < np.maximum(0.03, 4 * error.max())
    assert info.histogram.sum() == 500 * 8000
    assert info.observed.sum() == 500 * 160
    means = (info.sums / np.maximum(info.observed, 1)[..., None]).sum(0) / (info.observed > 0).sum(0)[:, None]
    assert np.all((means[1:-1, 0] > edges[1:-2]) & (means[1:-1, 0] < edges[2:-1]))


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="that sampler is JAX's")
def test_a_users_function_in_jax():
    import jax.numpy as jnp

    problem = landscape.function_problem(lambda c: {"top": jnp.max(c, 0)}, 3, 1.0, {"top": Observable()})
    edges = {"top": [-1.0, -0.5, 0.0, 0.5, 1.0]}
    found = landscape.density_of_states(problem, ["top"], 2e5, edges=edges, walkers=16, backend="jax")
    truth = np.log(np.diff(((np.array(edges["top"]) + 1) / 2) ** 3))
    assert np.abs(found.entropy - truth).max() < 0.1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"half_width": -1.0}, "above 0"),
        ({"half_width": "a"}, "finite number"),
        ({"model": 3}, "built keras.Model"),
        ({"model": keras.Sequential([keras.layers.Dense(2)])}, "built keras.Model"),
        ({"model": keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])}, "an output for each of 2 classes"),
        ({"reduction": "max"}, "one of 'mean', 'sum'"),
        ({"ties": "none"}, "one of 'wrong', 'first'"),
        ({"from_logits": 1}, "True or False"),
        ({"data": (np.ones((3, 2)), np.ones(3), np.ones((3, 2)), np.ones(3, int))}, "integers from 0 on"),
    ],
)
def test_bad_arguments_are_named(change, words, model, data):
    with pytest.raises((TypeError, ValueError), match=words):
        landscape.keras_problem(**{"model": model, "data": data, "half_width": 1.0, **change})


def test_a_route_that_does_not_serve_is_refused(model, data):
    problem = landscape.keras_problem(model, data, BOX)
    with pytest.raises(ValueError, match="no kernel"):
        landscape.density_of_states(problem, backend="numba")
    with pytest.raises(ValueError, match="one of 'numba'"):
        landscape.density_of_states(problem, backend="cuda")
    if keras.backend.backend() != "jax":
        with pytest.raises(ValueError, match="needs the JAX backend"):
            landscape.density_of_states(problem, backend="jax")
