"""Searches with real training that are killed at random moments: they end with the bits of one that is not.

KERAS_ENTROPY_KILLS sets the number of kills for each tuner; by default few, since each start imports Keras anew.
"""

import gc
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tuning_cases import TUNERS, arrays, hypermodel, search_compiled

from keras_entropy.study import read_records
from keras_entropy.tuning import EntropyTuner
from keras_entropy.tuning.oracles import STATE, read_state

KILLS = int(os.environ.get("KERAS_ENTROPY_KILLS", "2"))
TRIALS = max(4, KILLS)

PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from tuning_cases import search_compiled
search_compiled({kind!r}, {folder!r}, {trials})
"""


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.parametrize("kind", TUNERS if "KERAS_ENTROPY_KILLS" in os.environ else ("bayesian",))
def test_a_killed_search_ends_with_the_same_bits(kind, tmp_path, child_environment):
    def program(folder):
        code = PROGRAM.format(tests=str(Path(__file__).parent), kind=kind, folder=str(folder), trials=TRIALS)
        return subprocess.Popen([sys.executable, "-c", code], env=child_environment)

    search_compiled(kind, tmp_path / "whole", TRIALS)
    draw, kills = random.Random(0), 0
    state = tmp_path / "killed" / "search" / STATE
    while True:
        running = program(tmp_path / "killed")
        # Importing Keras takes some seconds, in which there is nothing to lose: most kills are to come later.
        moment = time.monotonic() + draw.uniform(3, 10) if kills < KILLS else float("inf")
        ended = set(read_state(state)["end_order"]) if state.exists() else set()
        while running.poll() is None and time.monotonic() < moment:
            time.sleep(0.01)
        if running.poll() is not None:
            assert running.returncode == 0
            break
        running.send_signal(signal.SIGKILL)
        running.wait()
        kills += 1
        assert ended <= (set(read_state(state)["end_order"]) if state.exists() else set())
    whole, killed = (read_state(tmp_path / name / "search" / STATE) for name in ("whole", "killed"))
    print(f"{kind}: {kills} kills, {len(killed['end_order'])} trials")
    assert killed["end_order"] == whole["end_order"]
    for name, trial in whole["trials"].items():
        assert killed["trials"][name]["hyperparameters"] == trial["hyperparameters"]
        assert killed["trials"][name]["metrics"] == trial["metrics"]
        assert killed["trials"][name]["status"] == "COMPLETED"
    assert histories(tmp_path / "killed") == histories(tmp_path / "whole")


def histories(folder):
    return {run.slot: run.history for run in read_records(folder / "search")}


def test_a_ctrl_c_that_hits_the_garbage_collector_ends_the_search(tmp_path):
    def tuner():
        return EntropyTuner(hypermodel(), max_trials=2, seeds=[0, 1], directory=tmp_path)

    def runs():
        path = tmp_path / "search" / "runs.jsonl"
        return path.read_bytes().splitlines() if path.exists() else []

    def hit(phase, info):
        if runs():
            gc.callbacks.remove(hit)
            signal.raise_signal(signal.SIGINT)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.callbacks.append(hit)
    try:
        with pytest.raises(KeyboardInterrupt):
            tuner().search(**arrays(), epochs=1, verbose=0)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert hit not in gc.callbacks
    assert 1 <= len(runs()) < 6
    again = tuner()
    again.search(**arrays(), epochs=1, verbose=0)
    assert again.complete
