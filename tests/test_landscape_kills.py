"""Walks that are killed at random moments, again and again: they end with the bits of one that is not."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.once

# Compiled once, then in forks of one process: each kill hits some moment of splitting, learning, production or saving.
PROGRAM = """
import os, random, signal, sys, time
import numpy as np
from keras_entropy import landscape
from keras_entropy.landscape import exact, pipeline

pipeline._SECONDS = 0.01
edges = {"energy": exact.ball_edges(10, 20)}

def walk(moves, checkpoint=None):
    return landscape.density_of_states(landscape.ball_problem(10), "energy", moves, edges=edges, checkpoint=checkpoint)

walk(1e5)
whole, draw, kills = walk(5e6), random.Random(0), 0
bits = whole.entropy.tobytes() + whole.standard_error.tobytes() + whole.histogram.tobytes()
for run in range(int(sys.argv[2])):
    path, wait = f"{sys.argv[1]}/walk{run}", 0.1
    while True:
        child = os.fork()
        if child == 0:
            found = walk(5e6, path)
            same = found.entropy.tobytes() + found.standard_error.tobytes() + found.histogram.tobytes() == bits
            os._exit(0 if same else 3)
        time.sleep(draw.uniform(0.2, 1.0) * wait)
        wait *= 1.1  # what is not saved, the first phase, gets its time in the end on a slow machine too
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


def test_killed_walks_end_with_the_same_bits(tmp_path, child_environment):
    command = [sys.executable, "-W", "ignore", "-c", PROGRAM, str(tmp_path), "2"]
    printed = subprocess.run(command, env=child_environment, capture_output=True, text=True, timeout=300, check=False)
    assert printed.returncode == 0, printed.stderr
    print(f"{int(printed.stdout)} kills")
    assert int(printed.stdout) >= 5
