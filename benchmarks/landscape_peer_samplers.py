"""The samplers of `landscape_peers.py`. Each returns log shares, stated errors, evaluations, and maybe seconds."""

import functools
import importlib.util
import time

import numpy as np

from keras_entropy.landscape import density_of_states

PACKAGES = {"flatwalk": "flatwalk", "dynesty": "dynesty", "ultranest": "ultranest", "blackjax": "blackjax optax"}

STEEPNESS = 1000.0
"""Log likelihoods are -STEEPNESS * ln(energy): so steep that no nested sampler stops before the deepest level."""


def missing(sampler):
    """Say how to install a sampler, and return whether it is missing."""
    packages = PACKAGES.get(sampler, "")
    absent = [name for name in packages.split() if importlib.util.find_spec(name) is None]
    if absent:
        print(f"{sampler} is missing: pip install {packages}", flush=True)
    return bool(absent)


def below(values, log_volumes, levels):
    """Return the log volumes at levels of the energy, from decreasing values."""
    return np.interp(-np.asarray(levels), -np.asarray(values), log_volumes)


def stated_error(log_shares, live):
    """Return the standard errors of log volumes by nested sampling (Skilling, 2006)."""
    return np.sqrt(-np.asarray(log_shares) / live)


def batch_log_volumes(live, batch, steps):
    """Return the expected log volumes at the points that nested sampling removes in batches, worst first."""
    return -np.cumsum(np.tile(1 / (live - np.arange(batch)), steps))


# Small budgets need fewer particles, so that splitting leaves most moves to the walk.
_SMALL = {
    "ising": {3e4: (16, 20), 1e5: (32, 40)}, "ball10": {1e5: (32, 40)}, "ball20": {1e5: (32, 40)},
    "loss": {1e6: (64, 100)},
}  # fmt: skip


@functools.cache
def _compiled(problem, observable, edges):
    density_of_states(problem, observable, 1e5, edges={observable: np.array(edges)}, particles=32, split_moves=40)


def ours(task, moves, seed):
    particles, split_moves = _SMALL.get(task.name, {}).get(moves, (200, None))
    if len(task.levels):
        _compiled(task.problem, task.observable, tuple(task.edges))
    begin = time.process_time()
    found = density_of_states(
        task.problem, task.observable, moves, seed, edges={task.observable: task.edges}, particles=particles,
        split_moves=split_moves, threads=1, backend=None if len(task.levels) else "numpy",
    )  # fmt: skip
    seconds = time.process_time() - begin
    if found.moves < 0.5 * moves + 64:  # splitting has taken more than its share
        raise RuntimeError(f"{task.name}: {moves:g} moves are too few for {particles} particles.")
    if not len(task.levels):
        return found.entropy, found.standard_error, int(moves), seconds
    chosen = np.searchsorted(found.axes[0].edges, task.levels) - 1
    shares = np.logaddexp.accumulate(found.entropy)[chosen]
    # The uppermost bin below a level holds most of the volume, and so has the largest part in the error.
    return shares, found.standard_error[chosen], int(moves), seconds


def flatwalk(task, moves, seed):
    """Wang-Landau with the 1/t schedule; the flatness is tested often enough for the number of moves."""
    import flatwalk as package

    rng = np.random.default_rng(seed)
    state, energy, propose, scheme, index = (_spins if not len(task.levels) else _box)(task, rng)
    check = 1000 if moves <= 1e5 else 10_000
    config = package.WLConfig(scheme, n_check=check, ln_f_final=1e-12)
    result = package.WLDriver(config).run(state, energy, energy, propose, max_trials=int(moves), rng=rng)
    entropy = np.where(result.visited, result.g, -np.inf)[index]
    entropy -= np.logaddexp.reduce(entropy)
    if not len(task.levels):
        return entropy, [np.nan], int(moves)
    chosen = np.searchsorted(task.edges, task.levels) - 1
    return np.logaddexp.accumulate(entropy)[chosen], [np.nan], int(moves)


def _spins(task, rng):
    """A torus of 4 x 4 spins whose energy changes by what a flip changes, as in flatwalk's own example."""
    from flatwalk import Bin1D

    near = [[(i // 4 * 4) + (i + 1) % 4, (i // 4 * 4) + (i - 1) % 4, (i + 4) % 16, (i - 4) % 16] for i in range(16)]

    def propose(state, rng):
        spins, energy = state
        i = int(rng.integers(16))
        a, b, c, d = near[i]
        change = 2.0 * spins[i] * (spins[a] + spins[b] + spins[c] + spins[d])
        return ((*spins[:i], -spins[i], *spins[i + 1 :]), energy + change), 0.0

    spins = np.where(rng.random(16) < 0.5, 1, -1)
    start = float(task.problem.energy(spins[:, None])["energy"][0])
    levels = np.arange(-32, 33, 4)
    index = np.flatnonzero(~np.isin(levels, (-28, 28)))
    return (tuple(int(s) for s in spins), start), lambda state: state[1], propose, Bin1D(-34.0, 34.0, 17), index


def _box(task, rng):
    """Parameters in a box, over bins by their number; a move changes one of them by a step of a random size."""
    from flatwalk import Bin1D

    half, inner = task.problem.half_width, np.asarray(task.edges[1:-1])

    def bin_of(parameters):
        return int(np.searchsorted(inner, task.energy(np, parameters[None])[0], side="right"))

    def propose(state, rng):
        parameters = state[0].copy()
        i, size = int(rng.integers(len(parameters))), 2.0 * half * 0.5 ** rng.integers(5)
        value = parameters[i] + rng.uniform(-size, size)
        period = (value + half) % (4 * half)  # reflect at the walls
        parameters[i] = min(period, 4 * half - period) - half
        return (parameters, bin_of(parameters)), 0.0

    start = rng.uniform(-half, half, task.problem.dimension)
    count = len(inner) + 1
    return (start, bin_of(start)), lambda s: float(s[1]), propose, Bin1D(-0.5, count - 0.5, count), np.arange(count)


def dynesty(task, live, seed):
    """The default bounds and moves for the dimension; without bounds in more than 20 dimensions."""
    import dynesty as package

    def log_likelihood(parameters):
        return -STEEPNESS * np.log(task.energy(np, parameters[None])[0])

    def box(unit):
        return (2 * unit - 1) * task.problem.half_width

    sampler = package.NestedSampler(
        log_likelihood, box, task.problem.dimension, live, bound="multi" if task.problem.dimension <= 20 else "none",
        rstate=np.random.default_rng(seed),
    )  # fmt: skip
    stop = -STEEPNESS * np.log(task.levels.min())
    sampler.run_nested(logl_max=stop, dlogz=1e-12, add_live=False, print_progress=False)
    results = sampler.results
    shares = below(np.exp(-results.logl / STEEPNESS), results.logvol, task.levels)
    return shares, stated_error(shares, live), int(results.ncall.sum())


def ultranest(task, live, seed):
    """Regions of MLFriends up to 10 dimensions, and slices with two steps for each dimension beyond."""
    import ultranest as package
    from ultranest import popstepsampler, stepsampler

    dimension, half = task.problem.dimension, task.problem.half_width
    np.random.seed(seed)  # noqa: NPY002 - UltraNest draws from NumPy's global generator
    sampler = package.ReactiveNestedSampler(
        [f"x{i}" for i in range(dimension)],
        lambda rows: -STEEPNESS * np.log(task.energy(np, rows)),
        lambda unit: (2 * unit - 1) * half,
        vectorized=True,
    )
    if dimension > 20:
        sampler.stepsampler = popstepsampler.PopulationSimpleSliceSampler(
            popsize=live // 2, nsteps=2 * dimension, generate_direction=popstepsampler.generate_mixture_random_direction
        )
    elif dimension > 10:
        sampler.stepsampler = stepsampler.SliceSampler(
            nsteps=2 * dimension, generate_direction=stepsampler.generate_mixture_random_direction
        )
    depth = -float(np.min(task.truth))
    sampler.run(
        min_num_live_points=live, max_iters=int(live * (depth + 5 * np.sqrt(depth / live) + 1)), show_status=False,
        viz_callback=False, max_num_improvement_loops=0, frac_remain=1e-12, dlogz=1e9, dKL=1e9, min_ess=0,
    )  # fmt: skip
    sequence = sampler.run_sequence
    shares = below(np.exp(-np.array(sequence["logl"]) / STEEPNESS), np.array(sequence["logvol"]), task.levels)
    return shares, stated_error(shares, live), int(sampler.ncall)


@functools.cache
def _slice_step(task, live):
    """Compile a step of BlackJAX: slices along directions of the live points, two for each dimension."""
    import blackjax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    half, batch = task.problem.half_width, max(1, live // 10)
    algorithm = blackjax.nss(
        logprior_fn=lambda x: jnp.where(jnp.all(jnp.abs(x) <= half), 0.0, -jnp.inf),
        # A slice tests the likelihood only, so the box belongs to it too.
        loglikelihood_fn=lambda x: jnp.where(
            jnp.all(jnp.abs(x) <= half), -STEEPNESS * jnp.log(task.energy(jnp, x[None])[0]), -jnp.inf
        ),
        num_inner_steps=2 * task.problem.dimension,
        num_delete=batch,
    )
    init, step = jax.jit(algorithm.init), jax.jit(algorithm.step)

    def start(seed):
        shape = (live, task.problem.dimension)
        return init(jax.random.uniform(jax.random.key(seed), shape, minval=-half, maxval=half))

    jax.block_until_ready(step(jax.random.key(0), start(0)))
    return start, step, batch


def blackjax(task, live, seed):
    import jax

    start, step, batch = _slice_step(task, live)
    begin = time.process_time()
    state, key = start(seed), jax.random.key(seed + 100_000)
    stop, values, evaluations, reached = -STEEPNESS * np.log(task.levels.min()), [], live, -np.inf
    while reached < stop:
        key, now = jax.random.split(key)
        state, info = step(now, state)
        values.append(np.sort(np.asarray(info.particles.loglikelihood)))
        reached = values[-1][0]
        slices = info.update_info
        # Each slice tests both ends once more than it expands.
        evaluations += int(np.sum(slices.num_expansions + slices.num_shrink + 2))
    log_volumes = batch_log_volumes(live, batch, len(values))
    shares = below(np.exp(-np.concatenate(values) / STEEPNESS), log_volumes, task.levels)
    return shares, stated_error(shares, live), evaluations, time.process_time() - begin


PEERS = {"ours": ours, "flatwalk": flatwalk, "dynesty": dynesty, "blackjax": blackjax, "ultranest": ultranest}
