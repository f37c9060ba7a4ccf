"""Safe loading of model files from unknown sources.

Keras's safe mode refuses Python code. But it does not limit how much memory a small file can allocate, it extracts a
`.keras` file beside itself if memory is short, and it raises many kinds of exceptions for damaged files. This module
checks a file before Keras loads it. It unpacks a `.keras` file into a temporary folder, and Keras loads that folder.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shutil
import stat
import threading
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_entropy import _checks, _files

# Keras saves without compression. A file that somebody compressed may grow by this factor, or to this size if it is
# small. Deflate reaches a factor of 1000, on zeros.
_GROWTH = 32
_ALWAYS_ALLOWED = 16 * 2**20
_CONFIG_SIZE = 16 * 2**20  # a thousand layers take 2 MB; a parsed config takes up to 25 times its size
_ENTRIES = 10_000
_DEPTH = 256  # a model in a model takes four levels; Keras's own recursion ends at about fifty models
_REASON_SIZE = 300

_CONFIG, _METADATA, _WEIGHTS, _ASSETS = "config.json", "metadata.json", "model.weights.h5", "assets"

_SAVE_AGAIN = "Save the model again with model.save('model.keras')."
_LOAD_WEIGHTS = (
    "Build the model and load its weights with models.load_weights; in the command, name the function that builds it "
    "with --model FILE.py:FUNCTION."
)
_LOAD_YOURSELF = "If you trust the file, load the model yourself and call keras_entropy.entropy_profile."

_ZIP, _HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
_SIGNATURES = {".keras": _ZIP, ".h5": _HDF5, ".hdf5": _HDF5}
_MAGIC = (
    (0, _ZIP, "a zip archive"),
    (0, _HDF5, "an HDF5 file"),
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"\x80", "a pickle"),
    (4, b"TFL3", "a TensorFlow Lite model"),
)

# Classes that run code from the file, or load another file that it names.
_UNSAFE = {
    "Lambda",
    "__lambda__",
    "__typespec__",
    "CompositeTensor",
    "FlaxLayer",
    "JaxLayer",
    "TFSMLayer",
    "TorchModuleWrapper",
    "TypeSpec",
}
_CONSTANTS = {
    "__bytes__",
    "__ellipsis__",
    "__keras_tensor__",
    "__numpy__",
    "__slice__",
    "__tensor__",
    "__tuple__",
}
_CLASS_NAME = re.compile(r"[A-Z]\w*")  # functions of Keras, some of which write files, begin with a lower-case letter
_FUNCTION_MODULES = re.compile(r"builtins|keras\.(activations|initializers|losses|metrics|ops|regularizers)(\.\w+)*")
_UNKNOWN = re.compile(r"(?:Could not locate function|Unknown [\w ]+:) '([^']+)'")  # of Keras
_DTYPE = re.compile(r"bool|bfloat16|(u?int|float|complex)\d{1,3}")  # a NumPy string may have any size


class _RefusalError(ValueError):
    """A file that is not a safe model: what is wrong with it, and what to do."""


def load_model(path: str | os.PathLike[str]) -> Any:
    """Load a Keras model from a `.keras` or whole-model `.h5` file that need not be trusted.

    Keras's safe mode is always on: no code from the file is executed. The file is checked before it can take much more
    memory than its size, and files are written to a temporary folder only. Register custom classes with
    `keras.saving.register_keras_serializable`; the classes of this package are registered.

    Args:
        path: Path of the file.

    Returns:
        A Keras model without optimizer, loss and metrics.

    Raises:
        FileNotFoundError: If the file does not exist.
        OSError: If the file cannot be read.
        MemoryError: If the model does not fit into memory.
        ValueError: If the file is not a Keras model, is damaged, or is not safe. The message has one line.

    Examples:
        >>> import pathlib, tempfile
        >>> from keras_entropy import models
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     models.autoencoder((4,), width=2).save(pathlib.Path(folder, "a.keras"))
        ...     models.load_model(pathlib.Path(folder, "a.keras")).name
        'autoencoder'
    """
    _files.local(path)
    shown = os.fspath(path)
    path = Path(os.path.abspath(shown))  # Keras would download a name that begins with hf://
    try:
        size, head = _look_at(path)
    except FileNotFoundError as error:
        remedy = "Relative paths start at the working folder."
        raise FileNotFoundError(_one_line(f"There is no file {shown}. {remedy}")) from error
    except OSError as error:
        raise OSError(_one_line(f"{shown} cannot be read: {error.strerror}. Check its permissions.")) from error
    except _RefusalError as error:
        raise ValueError(_one_line(f"{shown} {error}")) from error
    try:
        with _files.temporary_folder() as folder:
            bound = max(_ALWAYS_ALLOWED, _GROWTH * size)
            source = _checked(path, head, bound, Path(folder))
            _rehearse(source, bound)
            return keras.saving.load_model(source, compile=False, safe_mode=True)
    except _RefusalError as error:
        raise ValueError(_one_line(f"{shown} {error}")) from error
    except _files.WriteError:  # of the temporary folder: the model may be healthy
        raise
    except MemoryError as error:
        raise MemoryError(_one_line(f"{shown} needs more memory than this machine has left.")) from error
    except Exception as error:
        unknown = _UNKNOWN.search(_reason(error))
        if unknown:  # its module is not in the config: a function, or anything in an .h5 file
            raise ValueError(_one_line(f"{shown} {_foreign(unknown[1])}")) from error
        raise ValueError(
            _one_line(f"{shown} is damaged, or was saved by another version of Keras. {_reason(error)} {_SAVE_AGAIN}")
        ) from error


@contextlib.contextmanager
def checked_weights(path: Path) -> Iterator[Path]:
    """Yield the HDF5 file inside a weight file (`.h5` or `.keras`), after the checks of `load_model`.

    Raises:
        ValueError: If the file declares far more data than it has, contains links, or is another kind of zip archive.
    """
    bound = max(_ALWAYS_ALLOWED, _GROWTH * path.stat().st_size)
    with _files.temporary_folder() as folder:
        try:
            if path.suffix == ".keras":
                _unpack(path, Path(folder), bound)
                path = Path(folder) / _WEIGHTS
            _check_hdf5(path, bound)
        except _RefusalError as error:
            raise ValueError(f"it {error}") from error
        yield path


def _one_line(text: str) -> str:
    return _checks.printable(" ".join(text.split()))


def _reason(error: Exception) -> str:
    """Return what an error says, as a sentence."""
    # Keras writes the config before the reason, once per model around the layer.
    innermost = str(error).rsplit("Exception encountered: ", 1)[-1]
    text = " ".join(re.sub(r"\x1b\[\d*m", "", f"{type(error).__name__}: {innermost}").split())
    if len(text) > _REASON_SIZE:
        return text[: _REASON_SIZE - 3] + "..."
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _look_at(path: Path) -> tuple[int, bytes]:
    """Return the size and the first bytes of a file."""
    if "\0" in str(path):
        raise _RefusalError("is not a file name.")
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        kind = "a TensorFlow SavedModel" if (path / "saved_model.pb").exists() else "a folder"
        raise _RefusalError(f"is {kind}, not a Keras model. Expected a .keras or .h5 file.")
    if not stat.S_ISREG(status.st_mode):
        raise _RefusalError("is not a regular file. Expected a .keras or .h5 file.")
    if not status.st_size:
        raise _RefusalError(f"is empty. {_SAVE_AGAIN}")
    with path.open("rb") as file:
        return status.st_size, file.read(512)


def _checked(path: Path, head: bytes, bound: int, folder: Path) -> Path:
    """Check a file; return what Keras should load: the file, or the folder into which it was unpacked."""
    if path.suffix not in _SIGNATURES:
        raise _RefusalError(f"is not a Keras model: it looks like {_kind(head)}. Expected a .keras or .h5 file.")
    if not head.startswith(_SIGNATURES[path.suffix]):
        raise _RefusalError(f"is not a {path.suffix} file: it looks like {_kind(head)}. {_SAVE_AGAIN}")
    if path.suffix == ".keras":
        _unpack(path, folder, bound)
        config = _parsed((folder / _CONFIG).read_bytes())
        _check_config(config)
        with _files.writing(folder / _CONFIG):
            (folder / _CONFIG).write_text(json.dumps(config), encoding="ascii")
        _check_hdf5(folder / _WEIGHTS, bound)
        return folder
    text = _check_hdf5(path, bound)
    if text is None:
        raise _RefusalError(f"has weights but no model. {_LOAD_WEIGHTS}")
    _check_config(_parsed(text))
    return path


def _kind(head: bytes) -> str:
    for offset, magic, kind in _MAGIC:
        if head.startswith(magic, offset):
            return kind
    is_text = head.isascii() and all(c.isprintable() or c.isspace() for c in head.decode("ascii"))
    return "text" if is_text else "an unknown format"


def _unpack(path: Path, folder: Path, bound: int) -> None:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        _check_entries(entries, bound)
        for entry in entries:
            if not entry.is_dir():
                target = folder / entry.filename
                with _files.writing(target):
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(entry) as packed, target.open("wb") as unpacked:
                        shutil.copyfileobj(packed, unpacked)  # reads at most the declared size, and checks the CRC


def _check_entries(entries: Sequence[zipfile.ZipInfo], bound: int) -> None:
    names = [entry.filename for entry in entries]
    if len(names) > _ENTRIES:
        raise _RefusalError(f"has {len(names)} entries. Expected at most {_ENTRIES}. {_LOAD_YOURSELF}")
    if len(set(names)) < len(names):
        raise _RefusalError(f"has two entries with the same name. {_SAVE_AGAIN}")
    for entry in entries:
        top, *rest = entry.filename.removesuffix("/").split("/")
        known = top in (_CONFIG, _METADATA, _WEIGHTS) and not rest and not entry.is_dir()
        asset = top == _ASSETS and not any(part in ("", ".", "..") or re.search(r"[\\:]", part) for part in rest)
        if not (known or asset):
            raise _RefusalError(f"contains {entry.filename[:100]!r}, which Keras does not write. {_SAVE_AGAIN}")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise _RefusalError(f"contains {entry.filename[:100]!r}, which is a symbolic link. {_SAVE_AGAIN}")
    missing = [name for name in (_CONFIG, _METADATA, _WEIGHTS) if name not in names]
    if missing:
        raise _RefusalError(f"is not a Keras model: it lacks {', '.join(missing)}. {_SAVE_AGAIN}")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > bound:
        raise _RefusalError(f"would unpack to {unpacked} bytes. Expected at most {bound}. {_LOAD_YOURSELF}")


def _parsed(text: Any) -> dict[str, Any]:
    if not isinstance(text, str | bytes):
        raise _RefusalError(f"is not a Keras model: its config is of type {type(text).__name__}. {_SAVE_AGAIN}")
    if len(text) > _CONFIG_SIZE:
        raise _RefusalError(f"has a config of {len(text)} bytes. Expected at most {_CONFIG_SIZE}. {_LOAD_YOURSELF}")
    try:
        config = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _RefusalError(f"has a config that is not JSON. {_reason(error)} {_SAVE_AGAIN}") from error
    if not isinstance(config, dict) or "class_name" not in config:
        raise _RefusalError(f"has a config that does not describe a model. {_SAVE_AGAIN}")
    return config


def _check_config(config: dict[str, Any]) -> None:
    """Raise for objects that are not safe to build, and remove the compile configs of the model and its submodels."""
    stack: list[tuple[Any, int]] = [(config, 1)]
    while stack:
        item, depth = stack.pop()
        if depth > _DEPTH:
            raise _RefusalError(f"has a config nested more than {_DEPTH} deep. {_LOAD_YOURSELF}")
        if isinstance(item, dict):
            if "class_name" in item:
                item.pop("compile_config", None)
                _check_object(item)
            stack.extend((value, depth + 1) for value in item.values())
        elif isinstance(item, list):
            stack.extend((value, depth + 1) for value in item)


def _check_object(item: dict[str, Any]) -> None:
    kind, module, settings = item["class_name"], item.get("module", ""), item.get("config")
    is_function = kind == "function"
    name = settings if is_function else kind
    if not isinstance(name, str) or not isinstance(module, str | None):
        raise _RefusalError(f"has a config with an object without a name. {_SAVE_AGAIN}")
    if name in _UNSAFE:
        raise _RefusalError(f"contains {name}, which may run code or load other files. {_LOAD_WEIGHTS}")
    if isinstance(settings, dict):
        if kind in ("__numpy__", "__tensor__") and not _DTYPE.fullmatch(str(settings.get("dtype"))):
            raise _RefusalError(f"contains a constant of dtype {str(settings.get('dtype'))[:100]!r}. {_LOAD_YOURSELF}")
        if any(isinstance(settings.get(key), str) for key in ("vocabulary", "idf_weights")):
            raise _RefusalError(f"contains {name[:100]} with a vocabulary in another file. {_LOAD_YOURSELF}")
    registered = keras.saving.get_custom_objects()
    if name in registered or (not is_function and item.get("registered_name") in registered):
        return
    if is_function:
        known = bool(_FUNCTION_MODULES.fullmatch(module or "builtins")) and name.isidentifier()
    else:
        of_keras = module in ("", "builtins", "keras") or str(module).startswith("keras.")
        known = name in _CONSTANTS or (of_keras and bool(_CLASS_NAME.fullmatch(name)))
    if not known:
        # Keras writes null for the module of a script or notebook.
        origin = " of a script or notebook" if module is None else f" of module {module[:100]!r}" if module else ""
        raise _RefusalError(_foreign(name, origin))


def _foreign(name: str, origin: str = "") -> str:
    return (
        f"contains {name[:100]!r}{origin}, which is neither part of Keras nor registered in this program "
        f"with keras.saving.register_keras_serializable. {_LOAD_WEIGHTS}"
    )


def _check_hdf5(path: Path, bound: int) -> Any:
    """Check an HDF5 file without following links; return the config of its model, or None."""
    import h5py  # type: ignore[import-untyped]

    declared = 0
    with h5py.File(path, "r") as store:
        stack, seen = [store], set()
        while stack:
            item = stack.pop()
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                raise _RefusalError(f"has {item.name} under two names. {_SAVE_AGAIN}")
            seen.add(address)
            if isinstance(item, h5py.Dataset):
                declared += _declared(item)
                if declared > bound:
                    raise _RefusalError(f"declares {declared} bytes. Expected at most {bound}. {_LOAD_YOURSELF}")
            elif isinstance(item, h5py.Group):
                for name in item:
                    if not isinstance(item.get(name, getlink=True), h5py.HardLink):
                        raise _RefusalError(f"contains a link, {name[:100]!r}, in its weights. {_SAVE_AGAIN}")
                    stack.append(item[name])
            else:
                raise _RefusalError(f"contains a named type, {item.name}, in its weights. {_SAVE_AGAIN}")
        return store.attrs.get("model_config")


def _declared(dataset: Any) -> int:
    """Return the size of an array in memory, in bytes."""
    if dataset.external or dataset.is_virtual:
        raise _RefusalError(f"takes its weights {dataset.name} from another file. {_SAVE_AGAIN}")
    if dataset.dtype.hasobject or dataset.shape is None:
        raise _RefusalError(f"contains weights, {dataset.name}, that are not an array of numbers. {_SAVE_AGAIN}")
    return int(math.prod(dataset.shape) * dataset.dtype.itemsize)


def _rehearse(source: Path, bound: int) -> None:
    """Load without allocating variables, to compare their shapes with those in the file first.

    This runs in a separate thread, because Keras keeps one list of variables without a value per thread.
    """
    errors: list[Exception] = []

    def load() -> None:
        try:
            with keras.StatelessScope(initialize_variables=False) as scope:
                model = keras.saving.load_model(source, compile=False, safe_mode=True)
                if not isinstance(model, keras.Model):
                    raise _RefusalError(f"contains a {type(model).__name__}, not a model. {_LOAD_YOURSELF}")
                missing = [v for v in model.variables if scope.get_current_value(v) is None]
                if sum(math.prod(v.shape) for v in missing) > bound:
                    raise _RefusalError(f"lacks the weights of {missing[0].path} and others. {_SAVE_AGAIN}")
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
