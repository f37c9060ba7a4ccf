"""The program that searches with several workers is killed: no worker is left behind, and the search goes on.

By default on Dask alone; KERAS_ENTROPY_KILLS adds processes of this machine.
"""

import collections
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tuning_cases import read_if_any, search_with_team

from keras_entropy.study import read_records

TRIALS = 5

PROGRAM = """
from tuning_cases import search_with_team
if __name__ == "__main__":
    search_with_team({folder!r}, {trials}, {executor!r}, kills_worker={kills_worker})
"""


def start(folder, executor, environment, *, kills_worker=False):
    code = PROGRAM.format(folder=str(folder), trials=TRIALS, executor=executor, kills_worker=kills_worker)
    paths = [str(Path(__file__).parent), environment.get("PYTHONPATH", "")]
    return subprocess.Popen([sys.executable, "-c", code], env=environment | {"PYTHONPATH": os.pathsep.join(paths)})


def family(process):
    """The processes that a process has started, and those that these have started."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
    found = {process}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {process}


def alive(pids):
    states = [Path(f"/proc/{pid}/stat") for pid in pids]
    return [str(path) for path in states if path.exists() and ") Z" not in path.read_text()]


@pytest.mark.processes
@pytest.mark.slow
@pytest.mark.once
@pytest.mark.parametrize("executor", ["dask", "processes"] if "KERAS_ENTROPY_KILLS" in os.environ else ["dask"])
def test_a_killed_program_leaves_no_worker_and_its_search_goes_on(executor, tmp_path, child_environment):
    search_with_team(tmp_path / "alone", TRIALS, None)
    running = start(tmp_path / "killed", executor, child_environment, kills_worker=executor == "dask")
    while len(read_if_any(tmp_path / "killed")) < 4:
        assert running.poll() is None
        time.sleep(0.02)
    workers = family(running.pid)
    assert len(workers) >= 2
    running.send_signal(signal.SIGKILL)
    running.wait()
    before = read_if_any(tmp_path / "killed")
    end = time.monotonic() + 5
    while alive(workers) and time.monotonic() < end:
        time.sleep(0.05)
    assert not alive(workers)

    assert start(tmp_path / "killed", executor, child_environment).wait() == 0
    alone, found = (read_records(tmp_path / name / "search") for name in ("alone", "killed"))
    assert {run.slot: run.history for run in found} == {run.slot: run.history for run in alone}
    lines = (tmp_path / "killed" / "search" / "runs.jsonl").read_bytes().splitlines()
    assert len(lines) == len(found) == 2 * TRIALS  # none was trained twice
    assert [run.wall_seconds for run in found[: len(before)]] == [run.wall_seconds for run in before]
    assert collections.Counter(run.status for run in found) == {"finished": len(found)}
