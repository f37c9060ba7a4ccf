"""Optional packages: how they are imported, and one error that names the extra to install.

`pip install keras-entropy` brings Keras, NumPy and SciPy, and what Keras depends on, such as rich and h5py. Any other
package comes with an extra of `pyproject.toml`, and the functions that need it import it through `require`.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from types import ModuleType

BACKENDS = ("tensorflow", "jax", "torch")
PACKAGES = {
    "tensorflow": "Reading prepared data sets on any backend",
    "matplotlib": "Drawing figures",
    "tensorboard": "Writing TensorBoard event files",
    "sklearn": "The digits data set",
    "tensorflow_datasets": "Reading prepared data sets",
    "PIL": "Reading image files",
    "typer": "The keras-entropy command",
    "loky": "Work in several processes",
    "filelock": "Locking a results folder",
    "cloudpickle": "Sending functions to other processes",
    "pandas": "Making data frames",
    "keras_tuner": "Searching with KerasTuner",
    "distributed": "Training on a Dask cluster",
    "numba": "Sampling parameter space",
}
"""Optional packages by the name under which Python imports them, and what needs each."""


def require(module: str, *, extra: str) -> ModuleType:
    """Import a module of an optional package.

    Args:
        module: String. Name of the module, such as `"matplotlib"` or `"matplotlib.figure"`.
        extra: String. The extra of keras-entropy that brings the package, such as `"plot"`.

    Returns:
        The imported module.

    Raises:
        ModuleNotFoundError: If the package is not installed. The message names the extra and the command to install it.
            Errors from inside an installed package, such as a missing dependency of its own, are raised unchanged.

    Examples:
        >>> from keras_entropy import _optional
        >>> _optional.require("json.decoder", extra="plot").__name__
        'json.decoder'
    """
    package = module.partition(".")[0]
    try:
        importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise _missing(PACKAGES[package], package, extra) from None
    return importlib.import_module(module)


def require_backend() -> None:
    """Import Keras on the backend that `KERAS_BACKEND` or Keras's configuration file selects.

    Raises:
        ModuleNotFoundError: If that backend is not installed. The message names the extra, and the other backends.
        ValueError: If `KERAS_BACKEND` is no backend of this package.
        SystemExit: In place of these for `python -m keras_entropy`, after one line on standard error: Python imports
            the package before the command can.
    """
    try:
        _import_keras()
    except (ModuleNotFoundError, ValueError) as error:
        if not _is_command():
            raise
        sys.stderr.write(f"Error: {' '.join(str(error).split())}\n")
        raise SystemExit(2) from None


def unsupported_backend(name: str) -> ValueError:
    """Return the error for a backend of Keras on which this package does not run."""
    return ValueError(
        f"keras-entropy needs the TensorFlow, JAX or torch backend of Keras. Received: {name!r}. "
        "Set KERAS_BACKEND to 'tensorflow', 'jax' or 'torch' before Keras is imported."
    )


def _is_command() -> bool:
    """Whether Python imports this package to run `python -m keras_entropy`."""
    options = sys.orig_argv
    named = "-m" in options and options[options.index("-m") + 1 :][:1] == ["keras_entropy"]
    return named and sys.argv[:1] == ["-m"]  # until Python has found the file to run


def _import_keras() -> None:
    backend = os.environ.get("KERAS_BACKEND")
    if backend and backend not in BACKENDS and "keras" not in sys.modules:
        raise unsupported_backend(backend)
    try:
        importlib.import_module("keras")
    except ModuleNotFoundError as error:
        backend = str(error.name).partition(".")[0]
        if backend not in BACKENDS or importlib.util.find_spec(backend) is not None:
            raise
        installed = [name for name in BACKENDS if sys.modules.get(name, name) and importlib.util.find_spec(name)]
        remedy = f" Or set KERAS_BACKEND to a backend that is installed: {' or '.join(installed)}." if installed else ""
        raise _missing("Keras", backend, backend, remedy) from None


def _missing(user: str, package: str, extra: str, remedy: str = "") -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"{user} needs {package}, which is not installed. "
        f'Install it with: pip install "keras-entropy[{extra}]"{"." + remedy if remedy else ""}',
        name=package,
    )
