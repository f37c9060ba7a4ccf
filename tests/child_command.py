"""`keras-entropy` in a process of its own, to be interrupted or killed."""

import contextlib
import signal
import subprocess
import sys
import time

from conftest import BLOCKED

PATIENCE = 300
"""Seconds; a busy machine takes a minute to import TensorFlow."""


@contextlib.contextmanager
def child_command(environment, *arguments):
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
