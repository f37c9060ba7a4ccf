"""The TOML file of `keras-entropy study`."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

from keras_entropy import _checks
from keras_entropy.study import Arm, Constant, Study, control_arms
from keras_entropy_cli import user_file
from keras_entropy_cli.options import MODELS
from keras_entropy_cli.presets import TERMS, Choice

_REGULARIZERS = {
    **TERMS,
    "L1": keras.regularizers.L1,
    "L2": keras.regularizers.L2,
    "OrthogonalRegularizer": keras.regularizers.OrthogonalRegularizer,
    "Constant": Constant,
}
_OWN = {"dataset", "data_dir", "model", "controls", "seeds", "tune_seeds", "arms"}
_KNOWN = (inspect.signature(Study).parameters.keys() - {"build", "data", "output", "callbacks"}) | _OWN
_MOST_SEEDS = 10**6
_TUNE_SEEDS = 1000
"""First tuning seed, if the file gives the number of tuning seeds: `seeds` can grow without meeting it."""


def study_of(text: Mapping[str, Any], file: Path, output: Path, first_seed: int) -> Study:
    """Return the study that a file describes.

    Args:
        text: Mapping. Content of the file.
        file: Path of the file. The files and modules that it names may lie beside it.
        output: Path of the folder of the study.
        first_seed: Integer. First seed, if the file gives numbers of seeds.

    Returns:
        A `Study`.

    Raises:
        FileNotFoundError: If a Python file that it names does not exist.
        TypeError, ValueError: If the file does not describe a study.
    """
    with _located(str(file)):
        return _study_of(text, file, output, first_seed)


@contextlib.contextmanager
def _located(where: str, *known: str) -> Iterator[None]:
    """Write `where` before the message of an error, unless it begins with `where` or one of `known`."""
    try:
        yield
    except (TypeError, ValueError) as error:
        if str(error).startswith((where, *known)):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{where}: {error}") from error


def _study_of(text: Mapping[str, Any], file: Path, output: Path, first_seed: int) -> Study:
    unknown = sorted(text.keys() - _KNOWN)
    if unknown:
        raise ValueError(f"{file} has unknown entries: {', '.join(unknown)}. Known: {', '.join(sorted(_KNOWN))}.")
    arms = _arms(text, file)
    build, data = _build_and_data(text, file)
    return Study(
        build,
        arms,
        _seeds("seeds", text.get("seeds", 10), first_seed),
        data=data,
        output=output,
        tune_seeds=_seeds("tune_seeds", text.get("tune_seeds", []), first_seed + _TUNE_SEEDS),
        **{name: value for name, value in text.items() if name not in _OWN},
    )


def _seeds(name: str, value: Any, first: int) -> list[int]:
    if isinstance(value, int) and not isinstance(value, bool):
        if _checks.positive_integer(name, value) > _MOST_SEEDS:
            raise ValueError(_checks.message(name, f"at most {_MOST_SEEDS} seeds", value))
        return list(range(first, first + value))
    if not isinstance(value, list):
        raise TypeError(_checks.message(name, "a number of seeds or a list of them", value))
    return value


def _arms(text: Mapping[str, Any], file: Path) -> list[Arm]:
    described = text.get("arms")
    if not isinstance(described, list) or not all(isinstance(arm, dict) for arm in described) or not described:
        raise ValueError(f"{file} should have at least one [[arms]] with a name.")
    arms = [_arm(dict(values), file) for values in described]
    if "controls" not in text:
        return arms
    names = [arm.name for arm in arms]
    if text["controls"] not in names:
        raise ValueError(f"{file}: `controls` should name one of the arms. Received: {text['controls']!r}.")
    controls = control_arms(arms[names.index(text["controls"])])
    return arms + [arm for arm in controls if arm.name not in names]


def _arm(values: dict[str, Any], file: Path) -> Arm:
    name = values.pop("name", None)
    where = f"{file}, arm {name!r}"
    known = [p for p in inspect.signature(Arm).parameters if p != "arguments"]
    allowed = [*known, "arguments", "factor", "options"]
    unknown = sorted(values.keys() - set(allowed))
    if unknown:
        raise ValueError(f"{where} has unknown entries: {', '.join(unknown)}. Known: {', '.join(allowed)}.")
    with _located(where, "Arm "):
        arguments = values.pop("arguments", {})
        if not isinstance(arguments, dict):
            raise TypeError(_checks.message("arguments", "a table of arguments of the build function", arguments))
        regularizer = _regularizer(values, where)
        return Arm(name, regularizer=regularizer, **values, **arguments)


def _regularizer(values: dict[str, Any], where: str) -> Any:
    """The regularizer; if its factor varies between runs, the function that makes it."""
    name, factor, options = values.pop("regularizer", None), values.pop("factor", None), values.pop("options", {})
    if name is None:
        if factor is not None or options:
            raise ValueError(f"{where} has a `factor` or `options`, but no `regularizer`. Name one.")
        return None
    if isinstance(factor, str | bool | dict):  # a list has one factor for each filter
        raise TypeError(_checks.message("factor", "a finite number", factor))
    if not isinstance(options, dict):
        raise TypeError(_checks.message("options", 'a table, such as { block = "leading" }', options))
    for axes in ("tune", "grid"):
        if factor is not None and isinstance(values.get(axes), dict) and "factor" in values[axes]:
            raise ValueError(f"{where} has `factor` and `{axes}.factor`. Leave out `factor`.")
    kind = _REGULARIZERS[_checks.one_of("regularizer", name, tuple(_REGULARIZERS))]
    known = list(inspect.signature(kind).parameters)[1:]
    unknown = sorted(set(options) - set(known))
    if unknown:
        hint = " The arm has a key `factor` of its own." if "factor" in unknown else ""
        raise ValueError(
            f"{where}: {name} has no options {', '.join(unknown)}. It has: {', '.join(known) or 'none'}.{hint}"
        )
    return functools.partial(kind, **options) if factor is None else kind(factor, **options)


def _build_and_data(text: Mapping[str, Any], file: Path) -> tuple[Callable[..., Any], Any]:
    model, dataset, data_dir = text.get("model", "autoencoder"), text.get("dataset", "digits"), text.get("data_dir")
    for entry, value, expected in (
        ("model", model, f"{', '.join(MODELS)}, {user_file.FORMS}"),
        ("dataset", dataset, f'a name, such as "digits", the path of a folder, {user_file.FORMS}'),
        ("data_dir", "" if data_dir is None else data_dir, "the path of a folder"),
    ):
        if not isinstance(value, str):
            raise TypeError(_checks.message(entry, expected, value))
    choice = Choice(model, dataset, data_dir, file.parent, f"{file}: `model`", f"{file}: `dataset`")
    return choice.build(choice.arrays(0) if choice.own_model is None else None), choice.data
