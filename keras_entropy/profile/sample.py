"""A run of a model on a sample of inputs, while its layers are recorded."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from keras_entropy import _backend, _checks

_ROWS = 128
"""Rows of the sample in one call of a model that takes batches of any size."""

Recorder = Callable[..., None]
"""A function of the arguments of a call, or of its outputs."""

_MISSING = object()


class SamplePass:
    """One run of a model on a sample, in inference mode, on which recorders see what functions of layers compute.

    What a recorder itself calls is not recorded, such as the activation of which it takes the slope. Neither is a value
    that is not known yet, such as those of a loop that JAX compiles.
    """

    def __init__(self) -> None:
        self._watched: list[tuple[Any, str, Recorder | None, Recorder | None]] = []
        self._recording = False
        self._failure: Exception | None = None

    def watch(self, layer: Any, name: str, before: Recorder | None = None, after: Recorder | None = None) -> None:
        """Record the calls of an attribute of a layer: the arguments before each, and the outputs after it."""
        self._watched.append((layer, name, before, after))

    def run(self, model: Any, sample: Any) -> None:
        """Call a built model on a sample from `checked_sample`, batch by batch."""
        with contextlib.ExitStack() as stack:
            for layer, name, before, after in self._watched:
                stand_in = functools.partial(self._call, getattr(layer, name), before, after)
                stack.enter_context(_in_place(layer, name, stand_in))
            for batch in _batches(model, sample):
                try:
                    _call(model, sample, batch)
                except ValueError:
                    if self._failure is not None:  # the sample is not to blame
                        raise self._failure from None
                    raise

    def _call(
        self, own: Callable[..., Any], before: Recorder | None, after: Recorder | None, *args: Any, **kwargs: Any
    ) -> Any:
        self._record(before, *args, **kwargs)
        outputs = own(*args, **kwargs)
        self._record(after, outputs)
        return outputs

    def _record(self, recorder: Recorder | None, *args: Any, **kwargs: Any) -> None:
        if recorder is None or self._recording or not all(map(_known, keras.tree.flatten((args, kwargs)))):
            return
        self._recording = True
        try:
            recorder(*args, **kwargs)
        except Exception as error:
            self._failure = error
            raise
        finally:
            self._recording = False


def _known(value: Any) -> bool:
    return not keras.ops.is_tensor(value) or _backend.host_value(value) is not None


@contextlib.contextmanager
def _in_place(layer: Any, name: str, stand_in: Any) -> Iterator[None]:
    """Replace an attribute without Keras's tracking, so that a layer used as activation stays tracked."""
    attributes = vars(layer)
    before = attributes.get(name, _MISSING)
    attributes[name] = stand_in
    try:
        yield
    finally:
        if before is _MISSING:
            del attributes[name]
        else:
            attributes[name] = before


def checked_sample(sample: Any) -> Any:
    """Return a sample as arrays of finite numbers with the same number of rows for each input, at least one; or None.

    Raises:
        ValueError: If it is anything else.
    """
    if sample is None:
        return None
    rows = [leaf.shape[0] if len(getattr(leaf, "shape", ())) else 0 for leaf in keras.tree.flatten(sample)]
    if not rows or not all(rows) or len(set(rows)) > 1:
        expected = "arrays of shape (n, ...), as for `model.predict`, with the same n > 0 for all inputs"
        remedy = "Give rows of the training inputs, such as x[:500]: np.asarray of lists, a batch of a data set."
        raise ValueError(_checks.message("sample", expected, _shapes(sample), remedy))
    sample = keras.tree.map_structure(_sliceable, sample)
    for leaf in keras.tree.flatten(sample):
        values = np.asarray(leaf.data if hasattr(leaf, "tocsr") else keras.ops.convert_to_numpy(leaf))
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise ValueError(
                "`sample` should be finite numbers. Received: "
                f"{np.count_nonzero(~np.isfinite(values))} of {values.size} values NaN or infinite. Leave out these "
                "rows, or replace the values."
            )
    return sample


def _sliceable(leaf: Any) -> Any:
    """Return an array, or a sparse matrix of SciPy, whose rows can be taken by slices."""
    if hasattr(leaf, "tocsr"):
        return leaf.tocsr()
    if hasattr(leaf, "to_numpy"):  # a table of pandas
        return leaf.to_numpy()
    return keras.ops.convert_to_numpy(leaf) if type(leaf).__name__ == "SparseTensor" else leaf


def _shapes(sample: Any) -> Any:
    """What a message shows of a sample: an array, or the shapes of several."""
    if hasattr(sample, "dtype"):
        return sample
    return keras.tree.map_structure(lambda leaf: tuple(leaf.shape) if hasattr(leaf, "shape") else leaf, sample)


def check_sample_fits(model: Any, sample: Any) -> None:
    """Raise `ValueError` if a model cannot be called on the first rows of a sample."""
    _call(model, sample, next(_batches(model, sample)))


def _batches(model: Any, sample: Any) -> Iterator[Any]:
    """Yield the rows of a sample in batches; whole batches alone, if the model takes batches of a fixed size."""
    rows = keras.tree.flatten(sample)[0].shape[0]
    inputs = [x for x in keras.tree.flatten(getattr(model, "inputs", None)) if x is not None]
    if inputs and isinstance(sample, list | tuple) and len(keras.tree.flatten(sample)) != len(inputs):
        count = len(inputs)
        expected = "one array, for the one input of the model" if count == 1 else f"{count} arrays, one for each input"
        raise ValueError(_checks.message("sample", expected, _shapes(sample), "Give all inputs, and no labels."))
    size = next((x.shape[0] for x in inputs if x.shape[0] is not None), None)
    if size is not None and rows < size:
        expected = f"inputs of at least {size} rows, the batch size of the model"
        raise ValueError(_checks.message("sample", expected, _shapes(sample)))
    for start in range(0, rows, _ROWS) if size is None else range(0, rows - size + 1, size):
        yield keras.tree.map_structure(lambda x, i=start: _dense(x[i : i + (size or _ROWS)]), sample)


def _dense(rows: Any) -> Any:
    return rows.toarray() if hasattr(rows, "toarray") else rows


def _call(model: Any, sample: Any, batch: Any) -> None:
    """Call a model on a batch in inference mode, without changing its state."""
    takes_training = "training" in inspect.signature(model.call).parameters
    try:
        # In this scope no state of the model changes, such as that of a random generator.
        with keras.StatelessScope():
            model(batch, training=False) if takes_training else model(batch)
    except Exception as error:  # Keras, the backend and layers of the user raise anything
        shape = getattr(model, "input_shape", None)
        expected = "inputs of the model" if shape is None else f"inputs of the model, of shape {shape}"
        said = f"{type(error).__name__}: {_checks.in_a_line(error)[:300]}"
        remedy = f"Give rows of the training inputs, such as x[:500]. The model raised {said}."
        raise ValueError(_checks.message("sample", expected, _shapes(sample), remedy)) from error
