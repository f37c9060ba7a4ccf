"""Walks that are killed and resumed are bit-identical to walks that are not, and no other file is read."""

import hashlib
import io
import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from landscape_cases import BACKENDS, DIMENSION, Killed, bits, kill_at_write

from conftest import ROOT
from keras_entropy import landscape
from keras_entropy.landscape import Observable, exact, pipeline, wang_landau

OPTIONS = {
    "axes": "energy",
    "moves": 2e4,
    "edges": {"energy": exact.ball_edges(DIMENSION, bins=8)},
    "walkers": 16,
    "particles": 50,
}


def walk(**options):
    return landscape.density_of_states(landscape.ball_problem(DIMENSION), **OPTIONS | options)


@pytest.fixture
def saving(monkeypatch):
    """A checkpoint after each of about ten short steps."""
    monkeypatch.setattr(pipeline, "_SECONDS", -1.0)
    monkeypatch.setattr(wang_landau, "_CHUNK", 200)


@pytest.mark.once
@pytest.mark.parametrize("moment", ["before", "within", "after"])
def test_a_kill_at_any_write_changes_nothing(moment, tmp_path, monkeypatch, saving):
    expected, kills = bits(walk()), 0
    for number in itertools.count():
        path = tmp_path / f"walk{number}"
        with monkeypatch.context() as patch:
            kill_at_write(patch, number, moment)
            try:
                assert bits(walk(checkpoint=path)) == expected
                break
            except Killed:
                kills += 1
        assert bits(walk(checkpoint=path)) == expected
    assert kills >= 8


@pytest.mark.parametrize("backend", BACKENDS)
def test_many_kills_of_one_walk_change_nothing(backend, tmp_path, monkeypatch, saving):
    expected = bits(walk(backend=backend))
    for kills in itertools.count():
        with monkeypatch.context() as patch:
            kill_at_write(patch, 2, "after")
            try:
                assert bits(walk(backend=backend, checkpoint=tmp_path / "walk")) == expected
                break
            except Killed:
                assert kills < 20
    assert kills >= 3


@pytest.mark.once
def test_a_checkpoint_of_another_walk_is_refused(tmp_path):
    path = tmp_path / "walk"
    walk(checkpoint=path)
    with pytest.raises(ValueError, match="different problem"):
        landscape.density_of_states(landscape.ball_problem(6), checkpoint=path, **OPTIONS)
    for change in ({"seed": 1}, {"walkers": 8}, {"moves": 3e4}, {"backend": "numpy"}, {"target_loss": 1.0}):
        with pytest.raises(ValueError, match=f"different {next(iter(change))}"):
            walk(checkpoint=path, **change)


@pytest.mark.once
def test_a_damaged_checkpoint_is_refused(tmp_path):
    path = tmp_path / "walk"
    walk(checkpoint=path)
    whole = path.read_bytes()
    for damaged in (whole[:-10], b"", whole[:100] + b"x" + whole[101:], b"something else"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is not the checkpoint of such a walk: its checksum is wrong. Delete it"):
            walk(checkpoint=path)
        assert path.read_bytes() == damaged


def changed(whole, change):
    """A checkpoint with other arrays and a right checksum."""
    with np.load(io.BytesIO(whole[32:])) as file:
        arrays = dict(file)
    head = json.loads(arrays["head"].tobytes())
    change(head, arrays)
    body = io.BytesIO()
    np.savez(body, **arrays | {"head": np.frombuffer(json.dumps(head).encode(), np.uint8)})
    return hashlib.sha256(body.getvalue()).digest() + body.getvalue()


def setting(name, value):
    """A change of one element of an array."""
    return lambda head, arrays: arrays[name].__setitem__((0,) * arrays[name].ndim, value)


def replacing(name, change):
    return lambda head, arrays: arrays.update({name: change(arrays[name])})


@pytest.mark.once
@pytest.mark.parametrize(
    "change",
    [
        *(
            replacing(name, lambda a: a[:-1])
            for name in ("log_g", "recent", "proposed", "visited", "visits", "walkers/bins")
        ),
        *(replacing(name, lambda a: a[:-1]) for name in ("walkers/parameters", "info/histogram", "extra/mapping")),
        *(replacing(name, lambda a: a[:-1]) for name in ("extra/splitting", "walkers/random_states", "info/sums")),
        *(replacing(name, lambda a: a.astype("f4")) for name in ("log_g", "visited", "visits", "walkers/bins")),
        *(replacing(name, lambda a: a[::-1]) for name in ("extra/edges0", "extra/mapping")),
        replacing("extra/edges0", lambda a: a * 1.001),
        replacing("walkers/random_states", lambda a: a * 0),
        *(setting(name, np.nan) for name in ("log_g", "walkers/parameters", "info/sums", "extra/splitting")),
        *(setting(name, 10**8) for name in ("walkers/bins", "walkers/trips", "walkers/parameters", "extra/mapping")),
        *(setting(name, -2) for name in ("walkers/bins", "recent", "visited", "proposed", "info/histogram")),
        *(setting(name, -1) for name in ("extra/spent", "extra/seconds", "extra/octaves")),
        setting("extra/octaves", 10**6),
        setting("visits", 10**6),
        lambda head, arrays: arrays.pop("log_g"),
        lambda head, arrays: arrays.pop("extra/mapping"),
        lambda head, arrays: head["state"].update(phase="resting"),
        lambda head, arrays: head["state"].update(phase=["learning"]),
        lambda head, arrays: head["state"].update(moves=-1),
        lambda head, arrays: head["state"].update(moves=10**9),
        lambda head, arrays: head["state"].update(moves=2.5),
        lambda head, arrays: head["state"].update(log_f=1e9),
        lambda head, arrays: head["state"].update(more=1),
        lambda head, arrays: head.update(identity=3),
        lambda head, arrays: head.update(schema="keras-entropy/landscape/1"),
    ],
)
def test_a_checkpoint_that_cannot_be_right_is_refused_before_compiled_code_sees_it(change, tmp_path, stopped):
    path = tmp_path / "walk"
    path.write_bytes(changed(stopped, change))
    with pytest.raises(ValueError, match="walk is not the checkpoint of such a walk: .*Delete it"):
        walk(checkpoint=path)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """The checkpoint of a walk that was stopped while it learned."""
    path = tmp_path_factory.mktemp("stopped") / "walk"

    def stop(progress):
        if progress.phase == "learning":
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "_SECONDS", 0.0)
        patch.setattr(pipeline, "_PROGRESS_SECONDS", 0.0)
        with pytest.raises(KeyboardInterrupt):
            walk(checkpoint=path, progress=stop)
    return path.read_bytes()


@pytest.mark.once
def test_a_checkpoint_of_another_function_of_the_users_is_refused(tmp_path):
    def square(power):
        return landscape.function_problem(lambda c: {"norm": (c**power).sum(0)}, 3, 1.0, {"norm": Observable()})

    options = {"axes": ["norm"], "moves": 1e4, "edges": {"norm": [0.0, 1.0, 3.0]}, "walkers": 8}
    landscape.density_of_states(square(2), checkpoint=tmp_path / "walk", **options)
    landscape.density_of_states(square(2), checkpoint=tmp_path / "walk", **options)
    with pytest.raises(ValueError, match="different problem"):
        landscape.density_of_states(square(4), checkpoint=tmp_path / "walk", **options)


# Compiled once, then in forks of one process: each kill hits some moment of splitting, learning, production or saving.
PROGRAM = """
import os, random, signal, sys, time
from landscape_cases import bits
from keras_entropy import landscape
from keras_entropy.landscape import exact, pipeline

pipeline._SECONDS = 0.01
edges = {"energy": exact.ball_edges(10, 20)}

def walk(moves, checkpoint=None):
    return landscape.density_of_states(landscape.ball_problem(10), "energy", moves, edges=edges, checkpoint=checkpoint)

walk(1e5)
expected, draw, kills, wait = bits(walk(5e6)), random.Random(0), 0, 0.1
while True:
    child = os.fork()
    if child == 0:
        os._exit(0 if bits(walk(5e6, sys.argv[1])) == expected else 3)
    time.sleep(draw.uniform(0.2, 1.0) * wait)
    wait *= 1.1  # splitting, which is not saved, gets its time in the end on a slow machine too
    finished, status = os.waitpid(child, os.WNOHANG)
    if not finished:
        os.kill(child, signal.SIGKILL)
        finished, status = os.waitpid(child, 0)
    if os.WIFEXITED(status):
        break
    kills += 1
assert os.WEXITSTATUS(status) == 0, "other bits"
print(kills)
"""


@pytest.mark.once
@pytest.mark.processes
@pytest.mark.slow
def test_killed_processes_end_with_the_same_bits(tmp_path, child_environment):
    environment = {**child_environment, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests")))}
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path / "walk")]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert printed.returncode == 0, printed.stderr
    assert int(printed.stdout) >= 3
