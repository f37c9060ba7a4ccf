"""`keras-entropy` in a process of its own, to be interrupted or killed, and the processes that it leaves behind."""

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path

from conftest import BLOCKED

PATIENCE = 300
"""Seconds; a busy machine takes a minute to import TensorFlow."""


@contextlib.contextmanager
def child_command(environment, *arguments, **options):
    """Start the command; kill it at the end of the block, if it still runs."""
    # Started from a background job of a shell, it would inherit that Ctrl-C is ignored.
    code = "import signal, sys\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "sys.modules['tensorflow'] = None\n" if BLOCKED else ""
    code += "from keras_entropy_cli import main\nsys.argv[0] = 'keras-entropy'\nmain()"
    child = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def wait_until(condition, child):
    """Wait for a condition while the command runs."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert child.poll() is None, child.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.02)


def interrupt(child):
    """Send Ctrl-C and return what the command writes to stderr."""
    child.send_signal(signal.SIGINT)
    return child.communicate(timeout=PATIENCE)[1]


def processes_of(session):
    """The processes of a session that have not ended."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if _session_of(path) == session]


def wait_until_gone(session, seconds):
    """The processes of a killed program end by themselves, and soon."""
    deadline = time.monotonic() + seconds
    while left := processes_of(session):
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def _session_of(process):
    try:
        fields = (process / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[3])
