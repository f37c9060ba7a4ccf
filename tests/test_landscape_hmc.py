"""Hamiltonian Monte Carlo: exact, reversible, resumable, and refused where there is no gradient."""

import keras
import numpy as np
import pytest
from landscape_cases import ON_JAX, Killed, ball_window, bits, kill_at_write, without_kernel
from scipy import stats

from keras_entropy import datasets, landscape
from keras_entropy.landscape import Observable, exact, pipeline, samplers
from keras_entropy.landscape.axis import Axis, bins_of

OPTIONS = {
    "axes": "energy",
    "edges": {"energy": exact.ball_edges(6, bins=8)},
    "hmc_fraction": 0.5,
    "num_leapfrog_steps": 3,
}


@ON_JAX
@pytest.mark.parametrize(("dimension", "num_leapfrog_steps"), [(10, 1), pytest.param(20, 4, marks=pytest.mark.slow)])
def test_at_the_exact_weights_the_histogram_is_flat(dimension, num_leapfrog_steps):
    window = ball_window(dimension, octaves=6, hmc=samplers.HMC(0.5, num_leapfrog_steps))
    sampler = samplers.select_sampler(landscape.ball_problem(dimension), ("energy",), "jax")
    state = samplers.init(sampler.problem, 1000, 0)
    sampler.step(state, window, 2000, samplers.WalkerInfo.zeros(1000, window))  # from the top to all bins
    info = samplers.WalkerInfo.zeros(1000, window, 0, (3, 0))
    sampler.step(state, window, 8000, info)
    share = info.histogram / 8000 * 12
    error = share.std(0, ddof=1) / np.sqrt(1000)
    assert error.max() < 0.02
    off = np.log(share.mean(0))
    assert np.abs(off).max() < 0.03 + 2 * error.max()
    assert np.abs(off / error).max() < 4
    assert info.histogram.sum() == 1000 * 8000
    assert info.proposals.sum() == pytest.approx(4000 * 1000, rel=0.1)  # those of the other moves only
    assert np.all(np.abs(state.parameters) <= 1)


@ON_JAX
@pytest.mark.parametrize("hmc", [None, samplers.HMC(0.5, 3)])
def test_flat_weights_sample_the_box_uniformly(hmc):
    problem = landscape.ball_problem(5)
    window = samplers.Window(bins_of([Axis("energy", np.linspace(0, 5, 6))]), np.zeros(5), hmc=hmc)
    walkers = samplers.init(problem, 2000, 0)
    samplers.select_sampler(problem, ("energy",), "jax").step(
        walkers, window, 200, samplers.WalkerInfo.zeros(2000, window)
    )
    for component in walkers.parameters.T:
        assert stats.kstest(component, "uniform", (-1, 2)).pvalue > 1e-4


@ON_JAX
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_values_that_are_not_finite_somewhere_are_named(share):
    import jax.numpy as jnp

    def energy(c):
        return {"energy": jnp.where(c[0] > 0.99, jnp.nan, 0.0) + (c**2).sum(0)}

    problem = landscape.function_problem(energy, 2, 1.0, {"energy": Observable()})
    options = {"edges": {"energy": [0.0, 0.5, 1.0, 2.0]}, "hmc_fraction": share, "backend": "jax"}
    with pytest.raises(ValueError, match="everywhere in the box.*'energy' that is not finite"):
        landscape.density_of_states(problem, "energy", 1e5, **options)


@ON_JAX
def test_a_force_that_is_not_finite_is_rejected():
    """Along sqrt|x| the force has no bound; at 0 it is not even a number."""
    import jax.numpy as jnp

    def energy(c):
        return {"energy": jnp.sqrt(jnp.abs(jnp.round(10 * c[0]) / 10 + 0 * c[0]) + 0.0) + c[1] ** 2}

    problem = landscape.function_problem(energy, 2, 1.0, {"energy": Observable()})
    window = samplers.Window(bins_of([Axis("energy", np.linspace(0, 2, 5))]), np.arange(4.0), hmc=samplers.HMC(0.5, 3))
    walkers = samplers.init(problem, 500, 0)
    info = samplers.WalkerInfo.zeros(500, window)
    samplers.select_sampler(problem, ("energy",), "jax").step(walkers, window, 100, info)
    assert np.all(np.isfinite(walkers.parameters))
    assert info.histogram.sum() == 500 * 100


@ON_JAX
@pytest.mark.slow
def test_the_entropy_of_the_ball_and_its_errors():
    edges = exact.ball_edges(10, bins=12)
    truth, z = exact.ball_entropy(10, edges), []
    for seed in range(5):
        found = landscape.density_of_states(
            landscape.ball_problem(10), moves=1e6, seed=seed, walkers=256, **OPTIONS | {"edges": {"energy": edges}}
        )
        assert found.converged, found.status
        assert np.sqrt(np.mean((found.entropy - truth) ** 2)) < 0.2
        z.append((found.entropy - truth) / found.standard_error)
    # The errors of near bins are alike: some two free ones a run, ten in all, of which 99 % of roots lie within.
    assert 0.46 < np.sqrt(np.mean(np.square(z))) < 1.59


@ON_JAX
def test_steps_are_reversible_and_keep_volume():
    """There and back, with bounces; and the determinant of the map of (parameters, momenta)."""
    import jax
    import jax.numpy as jnp

    from keras_entropy.landscape.samplers.hamiltonian import leapfrog

    def push(x):
        return 3 * jnp.sin(2 * x) + x.sum(0), x[0]

    def steps(x, momenta):
        end = leapfrog(push, (x, momenta, *push(x)), step, 1.0, 5)
        return end[0], end[1]

    rng = np.random.default_rng(0)
    step = jnp.asarray(rng.uniform(0.1, 0.5, 50))
    x, momenta = jnp.asarray(rng.uniform(-1, 1, (3, 50))), jnp.asarray(rng.normal(size=(3, 50)))
    end, last = steps(x, momenta)
    assert np.abs(end).max() <= 1
    assert np.mean(np.abs(x + 5 * step * momenta) > 1) > 0.2  # many have bounced
    again, reverse = steps(end, -last)
    np.testing.assert_allclose(again, x, atol=2e-4)
    np.testing.assert_allclose(-reverse, momenta, atol=2e-4)

    def one(both):
        return jnp.concatenate([part[:, 0] for part in steps(both[:3, None], both[3:, None])])

    for i in range(8):
        step = jnp.asarray([0.3])
        jacobian = jax.jacfwd(one)(jnp.concatenate([x[:, i], momenta[:, i]]))
        assert np.linalg.det(jacobian) == pytest.approx(1, abs=1e-3)


@ON_JAX
def test_a_killed_walk_is_resumed_bit_identically(tmp_path, monkeypatch):
    problem, options = landscape.ball_problem(6), {"moves": 2e5, "walkers": 32, **OPTIONS}
    expected, path = bits(landscape.density_of_states(problem, **options)), tmp_path / "walk"
    monkeypatch.setattr(pipeline, "_SECONDS", -1.0)
    with monkeypatch.context() as patch:
        kill_at_write(patch, 5, "after")
        with pytest.raises(Killed):
            landscape.density_of_states(problem, checkpoint=path, **options)
    with pytest.raises(ValueError, match="different hmc_fraction, num_leapfrog_steps"):
        landscape.density_of_states(problem, checkpoint=path, **options | {"hmc_fraction": 0.0, "backend": "jax"})
    with pytest.raises(ValueError, match="different num_leapfrog_steps"):
        landscape.density_of_states(problem, checkpoint=path, **options | {"num_leapfrog_steps": 2})
    assert bits(landscape.density_of_states(problem, checkpoint=path, **options)) == expected


@ON_JAX
@pytest.mark.slow
def test_two_kinds_of_moves_find_the_same_entropy_of_a_loss():
    problem = without_kernel(landscape.network_problem(2, 4, datasets.spirals(seed=0)))
    split = {"walkers": 128, "particles": 100, "split_moves": 200}
    expected = landscape.density_of_states(problem, "train_loss", 1e6, target_loss=0.6, **split)
    edges = {"train_loss": expected.axes[0].edges}
    found = landscape.density_of_states(
        problem, "train_loss", 2e5, edges=edges, hmc_fraction=0.5, num_leapfrog_steps=2, **split
    )
    z = (found.entropy - expected.entropy) / np.hypot(found.standard_error, expected.standard_error)
    assert np.sqrt(np.mean(z**2)) < 2.5
    assert found.standard_error.max() < 0.3


@ON_JAX
@pytest.mark.parametrize("options", [{}, {"final_relu": True, "ties": "first", "reduction": "sum", "strength": 0.1}])
def test_a_network_in_jax_is_that_in_numpy(options):
    import jax

    problem = landscape.network_problem(3, 6, datasets.spirals(seed=0), **options)
    parameters = np.random.default_rng(0).uniform(-problem.half_width, problem.half_width, (problem.dimension, 50))
    expected, found = problem.energy(parameters), jax.jit(problem.energy)(parameters)
    for name in problem.observables:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-5, atol=1e-6)


@ON_JAX
@pytest.mark.parametrize(
    ("energy", "words"),
    [
        (lambda c: {"energy": np.abs(np.asarray(c)).max(0)}, "JAX cannot differentiate 'energy'"),
        (lambda c: {"energy": (c > 0).sum(0) / 2}, "is zero at all of 64 points"),
        (lambda c: {"energy": (0 * c[0]) ** 0.5}, "is not finite at some points"),
    ],
)
def test_an_energy_without_a_gradient_is_refused(energy, words):
    problem = landscape.function_problem(energy, 2, 1.0, {"energy": Observable()})
    with pytest.raises(ValueError, match=words + ".*hmc_fraction=0"):
        landscape.density_of_states(problem, moves=1e4, **OPTIONS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"hmc_fraction": 1.0}, "at least 0 and below 1"),
        ({"hmc_fraction": -0.1}, "at least 0 and below 1"),
        ({"hmc_fraction": "half"}, "a finite number"),
        ({"num_leapfrog_steps": 0}, "a positive integer"),
        ({"num_leapfrog_steps": 1.5}, "a positive integer"),
        ({"axes": "positive"}, "which has 7 levels and is flat between them. Use hmc_fraction=0"),
        ({"axes": ["energy", "positive"]}, "needs a single axis"),
        ({"backend": "numba"}, "needs backend='jax'"),
        ({"backend": "numpy"}, "needs backend='jax'"),
    ],
)
def test_bad_arguments_are_named(change, words):
    with pytest.raises((TypeError, ValueError), match=words):
        landscape.density_of_states(landscape.ball_problem(6), moves=1e4, **OPTIONS | change)


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="there it serves")
@pytest.mark.parametrize("backend", [None, "jax"])
def test_other_backends_are_refused(backend):
    problem = without_kernel(landscape.ball_problem(6))
    with pytest.raises(ValueError, match="needs the JAX backend.*KERAS_BACKEND=jax, or use hmc_fraction=0"):
        landscape.density_of_states(problem, moves=1e4, **OPTIONS, backend=backend)
