"""Values by epoch: of a Keras history, or of a CSV file."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_entropy import _checks, _files

PREFIX = "entropy/"
LOSSES = ("loss", "val_loss", "task_loss", "val_task_loss")


def epoch_log(history: Any) -> dict[str, list[float]]:
    """Read values by epoch.

    Args:
        history: The `History` that `fit` returns, its `history`, or the path of a CSV file with one row per epoch, such
            as `history.csv` of `keras-entropy train` or the file of `keras.callbacks.CSVLogger`.

    Returns:
        A dict of lists of floats, one number per epoch.

    Raises:
        OSError: If the file cannot be read; of the kind FileNotFoundError if there is none.
        TypeError, ValueError: If it is anything else.
    """
    if isinstance(history, str | os.PathLike):
        return _of_csv(history)
    history = getattr(history, "history", history)
    if not isinstance(history, Mapping):
        expected = "a History of fit, its history, or the path of a CSV file"
        raise TypeError(_checks.message("history", expected, history))
    return {str(name): [float(value) for value in values] for name, values in history.items() if _is_list(values)}


def of_weights(log: Mapping[str, Sequence[float]], paths: Sequence[str]) -> dict[str, Sequence[float]]:
    """The entropy by epoch of the weights that have these paths.

    Raises:
        ValueError: If the log has none of them.
    """
    found = {path: log[PREFIX + path] for path in paths if PREFIX + path in log}
    if not found:
        names = ", ".join(log) or "nothing"
        expected = f"a log of this model with EntropyLogger, such as entries called {PREFIX}{paths[0] if paths else ''}"
        raise ValueError(_checks.printable(_checks.message("history", expected, names)))
    return found


def _is_list(values: Any) -> bool:
    return isinstance(values, Sequence) and all(
        isinstance(v, int | float) or (hasattr(v, "item") and np.ndim(v) == 0) for v in values
    )


def _of_csv(path: str | os.PathLike[str]) -> dict[str, list[float]]:
    name = _checks.printable(str(path))
    try:
        with _files.local(path).open(newline="", encoding="utf-8") as file:
            head, *rows = [row for row in csv.reader(file) if row] or [[]]
    except OSError as error:
        raise type(error)(
            f"Cannot read {name}: {error.strerror}. Give the History of fit, or the path of a CSV file: history.csv of "
            "keras-entropy train, or the file of CSVLogger."
        ) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{name} is not a CSV file: {_checks.in_a_line(error)}.") from error
    if len(set(head)) < len(head) or any(len(row) != len(head) for row in rows) or not rows:
        raise ValueError(
            f"{name} should have one row per epoch, each with the columns of its first row. Received: {len(rows)} rows "
            f"of {len(head)} columns. Use history.csv of keras-entropy train, or the file of CSVLogger."
        )
    columns = {}
    for column, values in zip(head, zip(*rows, strict=True), strict=True):
        try:
            columns[column] = [float(value) for value in values]
        except ValueError:
            continue  # a column of words
    return columns
