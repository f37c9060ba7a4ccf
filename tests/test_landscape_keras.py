"""Keras models as problems, on every backend, against NumPy."""

import keras
import numpy as np
import pytest
from landscape_cases import ON_JAX

from keras_entropy import datasets, landscape
from keras_entropy.landscape import Observable, samplers
from keras_entropy.runs.pool import packed, unpacked

BOX = 2 / np.sqrt(6)


@pytest.fixture(scope="module")
def data():
    return datasets.spirals(seed=0)


@pytest.fixture(scope="module")
def model():
    dense = [keras.layers.Dense(6, activation="relu") for _ in range(3)]
    return keras.Sequential([keras.Input((2,)), *dense, keras.layers.Dense(2)])


@pytest.mark.parametrize("options", [{}, {"reduction": "sum", "strength": 0.1, "ties": "first"}])
def test_it_is_the_network_of_network_problem(model, data, options):
    ours = landscape.network_problem(3, 6, data, half_width=BOX, **options)
    theirs = landscape.keras_problem(model, data, BOX, **options)
    assert (theirs.dimension, theirs.observables) == (ours.dimension, ours.observables)
    parameters = np.random.default_rng(0).uniform(-BOX, BOX, (50, ours.dimension))
    expected, found = samplers.evaluate(ours, parameters), samplers.evaluate(theirs, parameters)
    np.testing.assert_allclose(found["train_loss"], expected["train_loss"], rtol=1e-5)
    for name in ("train_accuracy", "test_accuracy"):
        np.testing.assert_allclose(found[name], expected[name], atol=1e-6)


def test_a_run_finds_the_entropy_of_uniform_samples(model, data):
    problem = landscape.keras_problem(model, data, BOX)
    edges = np.array([0.0, 0.4875, 0.5125, 0.5375, 1.0])
    options = {"moves": 1e4, "walkers": 64, "particles": 64, "split_moves": 10, "edges": {"train_accuracy": edges}}
    found = landscape.density_of_states(problem, "train_accuracy", **options)
    network = landscape.network_problem(3, 6, data, half_width=BOX)
    parameters = np.random.default_rng(1).uniform(-BOX, BOX, (20_000, network.dimension))
    counts = np.histogram(samplers.evaluate(network, parameters)["train_accuracy"], edges)[0]
    expected, error = np.log(counts / counts.sum()), np.sqrt(1 / counts - 1 / counts.sum())
    difference = found.entropy - expected
    assert np.abs(difference).max() < 4 * np.hypot(found.standard_error, error).max() < 1.0
    again = landscape.density_of_states(problem, "train_accuracy", **options)
    assert again.entropy.tobytes() == found.entropy.tobytes()


def test_it_is_sent_to_another_process_and_compiled_there(model, data):
    problem = landscape.keras_problem(model, data, BOX)
    parameters = np.random.default_rng(0).uniform(-BOX, BOX, (5, problem.dimension))
    here = samplers.evaluate(problem, parameters)  # compiled
    there = unpacked(packed(problem, "problem"))
    assert there.digest == problem.digest
    for name, values in samplers.evaluate(there, parameters).items():
        assert values.tolist() == here[name].tolist()


@ON_JAX
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


def test_a_backend_that_cannot_evaluate_a_problem_is_refused(model, data):
    problem = landscape.keras_problem(model, data, BOX)
    with pytest.raises(ValueError, match="no kernel"):
        landscape.density_of_states(problem, backend="numba")
    with pytest.raises(ValueError, match="one of 'numba'"):
        landscape.density_of_states(problem, backend="cuda")
    if keras.backend.backend() != "jax":
        with pytest.raises(ValueError, match="needs the JAX backend"):
            landscape.density_of_states(problem, backend="jax")
