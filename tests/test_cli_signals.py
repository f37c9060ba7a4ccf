"""A cluster stops a command with SIGTERM: none of its processes remains, whenever that comes."""

import signal
import time

import pytest
from child_command import child_command, processes_of, wait_until, wait_until_gone

pytestmark = [pytest.mark.once, pytest.mark.processes, pytest.mark.slow]

STUDY = """
seeds = 200
epochs = 5
[[arms]]
name = "baseline"
"""
ARGUMENTS = {
    "study": ["study.toml"],
    "search": ["--epochs", 5, "--seeds", 1, "--max-trials", 200, "--model", "autoencoder"],
}


@pytest.mark.parametrize("moment", ["as the workers start", "as they import Keras", "after a record"])
@pytest.mark.parametrize("command", ARGUMENTS)
def test_no_process_remains(command, moment, tmp_path, child_environment):
    pytest.importorskip("sklearn", reason="the digits need scikit-learn")
    (tmp_path / "study.toml").write_text(STUDY)
    arguments = [command, *ARGUMENTS[command], "--workers", 2, "--output", tmp_path / "out"]
    with child_command(child_environment, *arguments, cwd=tmp_path, start_new_session=True) as child:
        wait_until(lambda: len(processes_of(child.pid)) >= 3, child)  # itself, loky's tracker, and a worker
        if moment == "as they import Keras":
            time.sleep(1.5)
        elif moment == "after a record":
            wait_until(lambda: any(path.stat().st_size for path in tmp_path.glob("out/**/runs.jsonl")), child)
        assert len(processes_of(child.pid)) >= 3
        child.send_signal(signal.SIGTERM)
        assert child.wait() == -signal.SIGTERM
        wait_until_gone(child.pid, 5)
