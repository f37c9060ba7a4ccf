"""A cluster stops a command with SIGTERM: none of its processes remains, whenever that comes."""

import signal
import time

import pytest
from child_command import child_command, processes_of, wait_until, wait_until_gone

pytestmark = [pytest.mark.once, pytest.mark.processes, pytest.mark.slow]

STUDY = """
seeds = 4
epochs = 300
[[arms]]
name = "baseline"
"""
ARGUMENTS = {"study": ["study.toml"], "search": ["--epochs", 300, "--seeds", 1]}


@pytest.mark.parametrize("seconds", [0, 1.5])
@pytest.mark.parametrize("command", ARGUMENTS)
def test_no_process_remains(command, seconds, tmp_path, child_environment):
    """The workers are at their start here: they import Keras, which takes seconds."""
    pytest.importorskip("sklearn", reason="the digits need scikit-learn")
    (tmp_path / "study.toml").write_text(STUDY)
    arguments = [command, *ARGUMENTS[command], "--workers", 2, "--output", tmp_path / "out"]
    with child_command(child_environment, *arguments, cwd=tmp_path, start_new_session=True) as child:
        wait_until(lambda: len(processes_of(child.pid)) >= 3, child)  # itself, loky's tracker, and a worker
        time.sleep(seconds)
        assert len(processes_of(child.pid)) >= 3
        child.send_signal(signal.SIGTERM)
        assert child.wait() == -signal.SIGTERM
        wait_until_gone(child.pid, 5)
