"""The first seconds of a command: Keras and its backend load without their own lines."""

from __future__ import annotations

import os
import sys
import tempfile


def load_keras() -> None:
    """Load Keras and its backend.

    TensorFlow writes lines to stderr while it loads and when it looks for devices, before any of its settings can stop
    them. They are shown only if loading fails.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        failed = True
        try:
            import keras_entropy  # noqa: F401, I001  # first: it names the extra of a backend that is missing
            import keras

            keras.ops.ones(1)  # now TensorFlow looks for devices
            failed = False
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            if failed:
                hidden.seek(0)
                sys.stderr.write(hidden.read().decode(errors="replace"))
