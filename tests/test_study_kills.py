"""A study that is killed: nothing is lost, nothing runs twice, and a run goes on after its last finished epoch.

`test_study_folder.py` kills at every write of the folder, in one process. KERAS_ENTROPY_KILLS sets the number of kills
of a whole program: few by default, because each start imports Keras.
"""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import pytest
from child_command import wait_until_gone
from study_cases import build, data

from keras_entropy import DenseEntropy, _files
from keras_entropy.study import Arm, Study, read_records

KILLS = int(os.environ.get("KERAS_ENTROPY_KILLS", "2"))
SEEDS = max(12, 2 * KILLS)

# The real folder, lock, plan and records, with runs of a few milliseconds in a thread, in forks of one process.
STORE = """
import json, os, random, signal, sys, time, warnings
import cloudpickle, filelock, loky  # once, and not in each fork
from concurrent.futures import ThreadPoolExecutor
sys.path.insert(0, {tests!r})
from study_cases import build, data
from keras_entropy.study import Arm, Study, arm_trial, single_run

def quick(job, task):
    with open({folder!r} + ".started", "a") as file:
        file.write(json.dumps([task.arm, task.seed]) + "\\n")
    time.sleep(0.015)
    return task.record(history={{"val_task_loss": [1.0] * 200}})

single_run.train = quick
arm_trial.problem = lambda payload, name, values, seed: {{name: arm_trial.Problem()}}  # a fork cannot build models
draw = random.Random(0)
kills = 0
warnings.simplefilter("ignore")  # JAX warns of every fork
study = Study(build, [Arm("a"), Arm("b")], range(150), data=data, output={folder!r})
while True:
    child = os.fork()
    if child == 0:
        study.run(ThreadPoolExecutor(1), progress=False)
        os._exit(0)
    time.sleep(draw.uniform(0.02, 0.8))
    finished, _ = os.waitpid(child, os.WNOHANG)
    if finished:
        break
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    kills += 1
print(kills)
"""


@pytest.mark.once
@pytest.mark.processes
def test_records_survive_many_kills(tmp_path, child_environment):
    """Each kill hits some moment of opening, describing, locking, repairing or appending."""
    folder = tmp_path / "out"
    code = STORE.format(tests=str(Path(__file__).parent), folder=str(folder))
    printed = subprocess.run(
        [sys.executable, "-c", code], env=child_environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert printed.returncode == 0, printed.stderr
    assert int(printed.stdout) >= 10  # about 20, fewer on a faster machine
    print(f"{int(printed.stdout)} kills")
    assert_complete(folder, {(arm, seed) for arm in "ab" for seed in range(150)})
    # A run is started again only if a kill came before its record was there: the last one, and that of the thread.
    started = (tmp_path / "out.started").read_text().splitlines()
    assert len(started) <= 300 + 2 * int(printed.stdout)


PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from study_cases import build, data
from keras_entropy import DenseEntropy
from keras_entropy.study import Arm, Study
arms = [Arm("a"), Arm("b", "first", DenseEntropy(0.1))]
Study(build, arms, range({seeds}), data=data, epochs=2, output={folder!r}).run(workers=2)
"""


@pytest.mark.once
@pytest.mark.processes
@pytest.mark.slow
def test_a_program_that_is_killed_goes_on_where_it_was(tmp_path, child_environment):
    folder = tmp_path / "out"
    code = PROGRAM.format(tests=str(Path(__file__).parent), seeds=SEEDS, folder=str(folder))
    draw = random.Random(0)
    kills, before = 0, b""
    while True:
        program = subprocess.Popen([sys.executable, "-c", code], env=child_environment, start_new_session=True)
        # Importing Keras takes some seconds, in which there is nothing to lose: most kills are to come later.
        moment = time.monotonic() + draw.uniform(3, 12) if kills < KILLS else float("inf")
        while program.poll() is None and time.monotonic() < moment:
            time.sleep(0.01)
        if program.poll() is not None:
            assert program.returncode == 0
            break
        program.send_signal(signal.SIGKILL)
        program.wait()
        kills += 1
        runs = folder / "runs.jsonl"
        after = runs.read_bytes() if runs.exists() else b""
        assert after.startswith(before[: before.rfind(b"\n") + 1])  # what was recorded stays
        before = after
        wait_until_gone(program.pid, 30)
    print(f"{kills} kills, {len(read_records(folder))} runs")
    assert_complete(folder, {(arm, seed) for arm in "ab" for seed in range(SEEDS)})


def assert_complete(folder, expected):
    lines = [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]
    keys = [(line["arm"], line["seed"]) for line in lines]
    assert len(keys) == len(set(keys))
    assert set(keys) == expected
    assert all(line["status"] == "finished" for line in lines)


class Killed(BaseException):
    """In place of kill -9: no handler of errors stops it."""


@pytest.mark.parametrize("write", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 3, 4, 5, 6, 7))])
def test_a_run_that_is_killed_goes_on_after_its_last_epoch_to_the_same_bits(write, tmp_path, monkeypatch):
    arms = [Arm("none", dropout=0.3), Arm("volume", "first", DenseEntropy(0.1, every=3), dropout=0.3)]
    epochs = []

    def callbacks():
        return [keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: epochs.append(epoch))]

    def study(folder):
        return Study(build, arms, [0], data=data, epochs=3, patience=2, callbacks=callbacks, output=tmp_path / folder)

    def run(folder):
        with ThreadPoolExecutor(1) as executor:
            return study(folder).run(executor, progress=False).records

    whole = run("whole")
    trained = len(epochs)
    assert not (tmp_path / "whole" / "checkpoints").exists()
    written, replacing = [], _files.replacing

    @contextlib.contextmanager
    def dies_after(path):
        with replacing(path) as temporary:
            yield temporary
        written.append(path)
        if Path(path).suffix == ".npz" and len([p for p in written if Path(p).suffix == ".npz"]) == write:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(_files, "replacing", dies_after)
        with contextlib.suppress(Killed):
            run("parts")
    parts = run("parts")

    assert [(r.history, r.final_weights, r.initial_weights) for r in parts] == [
        (r.history, r.final_weights, r.initial_weights) for r in whole
    ]
    assert len(epochs) == 2 * trained  # no epoch was trained twice
