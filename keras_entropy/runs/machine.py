"""The environment of a run: device, versions, and the settings of Keras that a new process does not inherit."""

from __future__ import annotations

import functools
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras

from keras_entropy import _backend

__all__ = [
    "device",
    "versions",
]


@functools.cache
def device() -> str:
    """Name of the accelerator that Keras trains on, else of the processor."""
    return _backend.framework().accelerator() or _processor()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@functools.cache
def versions() -> Mapping[str, str]:
    """Versions of Python, Keras, the backend and this package, and the name of the backend."""
    import importlib

    import keras_entropy

    backend = keras.backend.backend()
    return {
        "keras-entropy": keras_entropy.__version__,
        "keras": keras.__version__,
        "backend": backend,
        backend: importlib.import_module(backend).__version__,
        "python": platform.python_version(),
    }


def keras_settings() -> dict[str, Any]:
    """The settings of Keras that a new process does not inherit."""
    return {
        "floatx": keras.config.floatx(),
        "epsilon": keras.config.epsilon(),
        "image_data_format": keras.config.image_data_format(),
        "dtype_policy": keras.config.dtype_policy().name,
    }


def clear_session(settings: Mapping[str, Any]) -> None:
    """Count the names of layers from the start again, as in a new process with these settings."""
    keras.backend.clear_session(free_memory=False)  # resets the dtype policy; memory.free() frees
    apply_settings(settings)


def apply_settings(settings: Mapping[str, Any]) -> None:
    """Apply the settings of another process to this one."""
    keras.config.set_floatx(settings["floatx"])
    keras.config.set_epsilon(settings["epsilon"])
    keras.config.set_image_data_format(settings["image_data_format"])
    keras.config.set_dtype_policy(settings["dtype_policy"])
