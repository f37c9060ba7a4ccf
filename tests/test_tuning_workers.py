"""Searches with several trials at once, in processes that are killed, and on executors."""

import os
import random
import shutil
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
from keras_tuner import errors
from tuning_cases import arrays, hypermodel

from keras_entropy.runs.pool import ProcessPool, shares
from keras_entropy.tuning import EntropyTuner

KILLS = int(os.environ.get("KERAS_ENTROPY_KILLS", "2"))


def options(folder, trials, **more):
    return {
        "hypermodel": hypermodel(),
        "max_trials": trials,
        "seeds": [0, 1],
        "directory": str(folder),
        "project_name": "search",
        **more,
    }


def fit(**more):
    return {**arrays(), "epochs": 1, "verbose": 0, **more}


def scores(tuner):
    found = [(str(sorted(t.hyperparameters.values.items())), t.score, t.status) for t in tuner.oracle.trials.values()]
    return sorted(found)


def in_processes(tuner, count=2, **more):
    with ProcessPool(count, tries=3, shares=shares(count)) as pool:
        tuner.search_on(pool, count, **fit(**more))


@pytest.mark.processes
def test_two_workers_find_what_one_process_finds_also_where_it_has_begun(tmp_path):
    EntropyTuner(**options(tmp_path / "alone", 2)).search(**fit())
    shutil.copytree(tmp_path / "alone", tmp_path / "team")
    alone = EntropyTuner(**options(tmp_path / "alone", 5))
    alone.search(**fit())
    team = EntropyTuner(**options(tmp_path / "team", 5))
    in_processes(team)

    again = EntropyTuner(**options(tmp_path / "team", 5))
    assert scores(team) == scores(alone) == scores(again)
    assert not again.oracle.ongoing_trials
    assert team.load_model(team.oracle.get_best_trials()[0]).count_params()


@pytest.mark.parametrize(
    "kind", ["grid", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("random", "bayesian", "hyperband"))]
)
def test_every_tuner_searches_on_an_executor(kind, tmp_path):
    more = {"factors": [1e-3, 1e-2, 1e-1]} if kind == "grid" else {}
    tuner = EntropyTuner(**options(tmp_path, 3, tuner=kind, max_epochs=4, hypermodel=hypermodel(**more)))
    with ThreadPoolExecutor(1) as executor:
        tuner.search_on(executor, 2, **fit(epochs=2))

    ended = [trial.status for trial in tuner.oracle.trials.values()]
    assert set(ended) == {"COMPLETED"}
    assert len(tuner.oracle.end_order) == len(set(tuner.oracle.end_order)) == len(ended) >= 3


class Slow(keras.callbacks.Callback):
    """So that kills find something to kill."""

    def on_epoch_end(self, epoch, logs=None):
        time.sleep(0.3)


def children():
    """Processes that this process has started, such as those of a pool."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            command = (path / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if parent == os.getpid() and b"loky" in command and b"resource_tracker" not in command:
            found.append(int(path.name))
    return found


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.once
def test_killed_processes_are_started_again_and_no_trial_is_lost(tmp_path):
    trials = 3 + KILLS
    alone = EntropyTuner(**options(tmp_path / "alone", trials, seeds=[0]))
    alone.search(**fit(callbacks=[Slow()]))
    killed, over, draw = [], threading.Event(), random.Random(0)

    def kill():
        while not over.wait(draw.uniform(4, 9)) and len(killed) < KILLS:
            found = children()
            if found:
                killed.append(draw.choice(found))
                os.kill(killed[-1], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    team = EntropyTuner(**options(tmp_path / "team", trials, seeds=[0]))
    try:
        in_processes(team, callbacks=[Slow()])
    finally:
        over.set()
        thread.join()
    print(f"{len(killed)} kills, {trials} trials")
    assert killed
    assert scores(team) == scores(alone)
    assert len(team.oracle.end_order) == len(set(team.oracle.end_order)) == trials


class Deadly(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.processes
@pytest.mark.once
def test_a_trial_that_kills_its_process_three_times_has_failed(tmp_path):
    tuner = EntropyTuner(**options(tmp_path, 1, seeds=[0]))
    with pytest.raises(RuntimeError, match="All 1 trials failed.* Seed 0: its process was killed or crashed 3 times"):
        in_processes(tuner, 1, callbacks=[Deadly()])


class Raising(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise KeyError("no such thing")


@pytest.mark.processes
def test_an_error_in_a_worker_ends_the_search(tmp_path):
    tuner = EntropyTuner(**options(tmp_path, 3))
    with pytest.raises(errors.FatalRuntimeError, match="KeyError in a trial: 'no such thing'"):
        in_processes(tuner, callbacks=[Raising()])
    again = EntropyTuner(**options(tmp_path, 3))
    assert not again.oracle.end_order  # no trial has failed for it


def test_machines_without_the_folder_train_too(tmp_path, monkeypatch):
    """An executor whose workers do not see the folder of the search."""
    from keras_entropy.tuning import trial_run

    train = trial_run.train

    def elsewhere(job, task):
        import dataclasses

        return train(dataclasses.replace(job, folder=tmp_path / "not" / "here"), task)

    monkeypatch.setattr(trial_run, "train", elsewhere)
    tuner = EntropyTuner(**options(tmp_path / "remote", 2, log_dir=str(tmp_path / "remote" / "logs")))
    with ThreadPoolExecutor(1) as executor:
        tuner.search_on(executor, 1, **fit())
    monkeypatch.undo()

    local = EntropyTuner(**options(tmp_path / "local", 2))
    local.search(**fit())
    assert scores(tuner) == scores(local)
    assert not (tmp_path / "not").exists()
    assert not list((tmp_path / "remote").rglob("*.weights.h5"))


def test_the_variables_of_keras_tuners_workers_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "worker-0")
    with pytest.raises(ValueError, match="KERASTUNER_TUNER_ID .* Unset it"):
        EntropyTuner(**options(tmp_path, 2))


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.once
def test_dask_searches_and_survives_the_death_of_a_worker(tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="needs dask[distributed]")
    from keras_entropy.study import environment

    alone = EntropyTuner(**options(tmp_path / "alone", 4, seeds=[0]))
    alone.search(**fit(callbacks=[Slow()]))
    for name, value in environment().items():
        monkeypatch.setenv(name, value)  # before the workers start
    team = EntropyTuner(**options(tmp_path / "team", 4, seeds=[0]))
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        workers = list(client.run(os.getpid).values())

        def kill():
            while not team.oracle.end_order:
                time.sleep(0.05)
            os.kill(workers[0], signal.SIGKILL)

        killer = threading.Thread(target=kill)
        killer.start()
        team.search_on(client.get_executor(), 2, **fit(callbacks=[Slow()]))
        killer.join()

    assert [status for *_, status in scores(team)] == ["COMPLETED"] * 4
    np.testing.assert_allclose([s for _, s, _ in scores(team)], [s for _, s, _ in scores(alone)], rtol=1e-5)
