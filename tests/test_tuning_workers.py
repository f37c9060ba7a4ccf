"""Searches in several processes, whose processes are killed."""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest
from keras_tuner import errors
from tuning_cases import arrays, hypermodel

from keras_entropy.tuning import EntropyTuner, workers
from keras_entropy.tuning.oracles import STATE, read_state

pytestmark = pytest.mark.processes

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


def test_two_workers_find_what_one_process_finds_also_where_it_has_begun(tmp_path):
    EntropyTuner(**options(tmp_path / "alone", 2)).search(**fit())
    shutil.copytree(tmp_path / "alone", tmp_path / "team")
    alone = EntropyTuner(**options(tmp_path / "alone", 5))
    alone.search(**fit())
    seen = []
    workers.run(options(tmp_path / "team", 5), fit(), 2, lambda trials: seen.append(len(trials)))
    team = EntropyTuner(**options(tmp_path / "team", 5))
    assert scores(team) == scores(alone)
    assert max(seen) == 5
    assert not team.oracle.ongoing_trials


class Slow(keras.callbacks.Callback):
    """So that kills find something to kill."""

    def on_epoch_end(self, epoch, logs=None):
        time.sleep(0.3)


@pytest.mark.slow
@pytest.mark.once
def test_killed_processes_are_started_again_and_no_trial_is_lost(tmp_path):
    trials = 3 + KILLS
    alone = EntropyTuner(**options(tmp_path / "alone", trials, seeds=[0]))
    alone.search(**fit())
    killed, over, draw = [], threading.Event(), random.Random(0)

    def kill():
        while not over.wait(draw.uniform(3, 9)) and len(killed) < KILLS:
            names = ("worker-0", "worker-1", "chief")
            found = [pid for name in names for pid in processes(name, tmp_path / "team")]
            if found:
                pid = draw.choice(found)
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        workers.run(options(tmp_path / "team", trials, seeds=[0]), fit(callbacks=[Slow()]), 2, lambda trials: None)
    finally:
        over.set()
        thread.join()
    print(f"{len(killed)} kills, {trials} trials")
    assert killed
    team = EntropyTuner(**options(tmp_path / "team", trials, seeds=[0]))
    assert scores(team) == scores(alone)
    assert len(team.oracle.end_order) == len(set(team.oracle.end_order)) == trials


def processes(name, folder):
    """The members of a team, by the variables that they were started with."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            environment = (path / "environ").read_bytes().split(b"\0")
            command = (path / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if f"KERASTUNER_TUNER_ID={name}".encode() in environment and str(folder).encode() in command:
            found.append(int(path.name))
    return found


def in_a_mortal_chief(death):
    """A model whose chief, once, dies as it is asked for a trial that a worker has trained."""

    def build(hp):
        from tuning_cases import plain

        from keras_entropy.tuning import oracles

        if os.environ.get("KERASTUNER_TUNER_ID") == "chief":

            def get_trial(oracle, trial_id):
                if not death.exists():
                    death.write_text(trial_id)
                    os.kill(os.getpid(), signal.SIGKILL)
                return oracle.trials[trial_id]

            oracles.DurableOracle.get_trial = get_trial
        return plain()

    return build


@pytest.mark.once
def test_a_chief_that_dies_amid_an_answer_fails_no_trial(tmp_path):
    death = tmp_path / "death"
    mortal = options(tmp_path, 3, hypermodel=hypermodel(in_a_mortal_chief(death)), seeds=[0])
    workers.run(mortal, fit(), 1, lambda trials: None)
    assert death.exists()
    assert [trial.status for trial in EntropyTuner(**mortal).oracle.trials.values()] == ["COMPLETED"] * 3


class Deadly(keras.callbacks.Callback):
    """Kills the process that trains with a certain placement."""

    def on_epoch_begin(self, epoch, logs=None):
        if self.model.get_layer("b").kernel_regularizer is not None:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.once
def test_a_trial_that_kills_its_worker_three_times_has_failed(tmp_path):
    tuned = hypermodel(placements=["first", "b"], factors=[0.1])
    deadly = options(tmp_path, 2, hypermodel=tuned, tuner="grid", seeds=[0])
    workers.run(deadly, fit(callbacks=[Deadly()]), 1, lambda trials: None)
    trials = EntropyTuner(**deadly).oracle.trials.values()
    states = {(t.hyperparameters["entropy/placement"], t.status) for t in trials}
    assert states == {("first", "COMPLETED"), ("b", "FAILED")}
    assert len(trials) == 2


def test_an_error_in_a_worker_ends_the_search(tmp_path):
    with pytest.raises(errors.FatalRuntimeError, match="in a trial"):
        workers.run(options(tmp_path, 4), fit(y=np.ones((32, 7))), 1, lambda trials: None)


BY_HAND = """
import sys
sys.path.insert(0, {tests!r})
from tuning_cases import arrays, hypermodel
from keras_entropy.tuning import EntropyTuner

tuner = EntropyTuner(hypermodel(), max_trials=4, seeds=[0, 1], directory={folder!r})
tuner.search(**arrays(), epochs=2, verbose=0)
"""


@pytest.mark.once
def test_chief_and_workers_may_be_started_by_hand_in_folders_of_their_own(tmp_path, child_environment):
    code = BY_HAND.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "shared"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = child_environment | {"KERASTUNER_ORACLE_IP": "127.0.0.1", "KERASTUNER_ORACLE_PORT": str(port)}
    started = []
    for name in ("chief", "one", "two"):
        (tmp_path / name).mkdir()
        variables = own | {"KERASTUNER_TUNER_ID": name}
        started.append(subprocess.Popen([sys.executable, "-c", code], env=variables, cwd=tmp_path / name))
    assert [process.wait(timeout=120) for process in started] == [0, 0, 0]
    state = read_state(tmp_path / "shared" / "search" / STATE)
    assert [trial["status"] for trial in state["trials"].values()] == ["COMPLETED"] * 4
    assert len(set(state["end_order"])) == 4
    assert not any(list((tmp_path / name).iterdir()) for name in ("chief", "one", "two"))
