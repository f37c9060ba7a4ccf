"""A study from a TOML file."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import sys
import tomllib
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
from rich.console import Console
from rich.text import Text

import keras_entropy
from keras_entropy import _checks
from keras_entropy.study import (
    Arm,
    Constant,
    JobError,
    Study,
    compare,
    control_arms,
    description,
    folder,
    report,
    report_files,
)
from keras_entropy_cli.presets import MODELS, NamedData, NamedModel

_TERMS = {
    name: getattr(keras_entropy, name)
    for name in ("DenseEntropy", "ConvCornerEntropy", "ConvEntropy", "TotalCorrelation")
}
_REGULARIZERS = {
    **_TERMS,
    "L1": keras.regularizers.L1,
    "L2": keras.regularizers.L2,
    "OrthogonalRegularizer": keras.regularizers.OrthogonalRegularizer,
    "Constant": Constant,
}
_OWN = ("dataset", "data_dir", "model", "build", "data", "controls", "seeds", "tune_seeds", "arms")
_REASONS = 5
"""How many different reasons of runs that did not finish are printed, the most frequent first."""

_TUNE_SEEDS = 1000
"""Tuning seeds count from here, where the file gives their number, so that `seeds` can grow."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Of the command."""

    output: Path
    workers: int | None
    replicas: int
    seed: int
    retry_failed: bool
    overwrite: bool
    resume: bool


def planned(file: Path, options: Options) -> Study:
    """The study that a file describes, for a folder that it may go to.

    Raises:
        FileExistsError: for a folder that is not empty, without `overwrite` or `resume`.
        FileNotFoundError: for no such file.
        ValueError: for a file that describes no study, an arm that no run can have, or options that exclude each other.
    """
    if options.overwrite and options.resume:
        raise ValueError("--overwrite and --resume exclude each other.")
    try:
        text = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{file} does not exist. Name the TOML file of a study.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not TOML: {error}.") from error
    study = _study(text, file, options)
    _try_arms(study)
    there = (options.output / folder.DESCRIPTION).exists()
    if there and not (options.overwrite or options.resume):
        raise FileExistsError(
            f"{options.output} holds a study. Use --overwrite to replace it, --resume to go on with it, or --output "
            "for another folder."
        )
    if options.resume and not there:
        raise FileNotFoundError(f"{options.output} holds no study to resume.")
    if options.overwrite:
        folder.clear(options.output)
        report_files.clear(options.output / "report")
    return study


def _try_arms(study: Study) -> None:
    """What each run of an arm would fail of, such as a placement that fits no layer, is said before the first run."""
    for arm in study.arms:
        values = [{**point, **candidate} for point in study.points(arm) for candidate in study.candidates(arm)]
        for one in {str(v.get("placement")): v for v in values}.values():
            try:
                arm.change(arm.build(study.build, one), one, 0)
            except (TypeError, ValueError) as error:
                raise ValueError(f"Arm {arm.name!r}: {error}") from error


def run(study: Study, options: Options) -> None:
    """Run the study, write its report, and print what it shows."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", keras_entropy.EntropyWarning)  # the report says how many runs failed, and why
        try:
            study.run(workers=options.workers, replicas=options.replicas, retry_failed=options.retry_failed)
        except JobError as error:
            raise ValueError(str(error)) from error
    redraw(options.output)


def redraw(output: Path) -> None:
    """Write the report of a study that was run before, and print what it shows."""
    written = report(output)
    plan, records = description.load(output)
    console = Console()
    failed = Counter(f"{r.arm}: {r.status}, {r.reason}" for r in records if not r.ok)
    console.print(f"{len(records)} runs, {failed.total()} of them did not finish.")
    for reason, number in failed.most_common(_REASONS):
        console.print(Text(_checks.printable(f"  {number} of {reason}")), soft_wrap=True)
    if any(record.arm == plan.baseline and record.role == "report" for record in records):
        found = compare(records, plan.metric, plan.baseline, lower_is_better=plan.lower_is_better)
        for sentence in found.sentences():
            console.print(Text(_checks.printable(f"* {sentence}.")), soft_wrap=True)
    console.print(Text(f"Written to {written}: report.html, report.md, tables and figures"), soft_wrap=True)


def _study(text: dict[str, Any], file: Path, options: Options) -> Study:
    settings = inspect.signature(Study).parameters.keys() - {"output", "callbacks"}
    known = sorted({*settings, *_OWN})
    unknown = sorted(text.keys() - set(known))
    if unknown:
        raise ValueError(f"{file} has unknown entries: {', '.join(unknown)}. Known: {', '.join(known)}.")
    arms = _arms(text.get("arms"), file)
    if "controls" in text:
        rival = next((arm for arm in arms if arm.name == text["controls"]), None)
        if rival is None:
            raise ValueError(f"{file}: `controls` should name one of the arms. Received: {text['controls']!r}.")
        taken = {arm.name for arm in arms}
        controls = control_arms(rival, orthogonality=text.get("model") != "cnn")
        arms += [arm for arm in controls if arm.name not in taken]
    build, data = _build_and_data(text, file)
    usual = {name: value for name, value in text.items() if name in settings and name not in _OWN}
    return Study(
        build,
        arms,
        _seeds("seeds", text.get("seeds", 10), options.seed),
        data=data,
        output=options.output,
        tune_seeds=_seeds("tune_seeds", text.get("tune_seeds", []), options.seed + _TUNE_SEEDS),
        **usual,
    )


def _seeds(name: str, value: Any, first: int) -> list[int]:
    if isinstance(value, int) and not isinstance(value, bool):
        return list(range(first, first + _checks.positive_integer(name, value)))
    if not isinstance(value, list):
        raise TypeError(_checks.message(name, "a number of seeds or a list of them", value))
    return value


def _arms(described: Any, file: Path) -> list[Arm]:
    if not isinstance(described, list) or not all(isinstance(arm, dict) for arm in described) or not described:
        raise ValueError(f"{file} should have at least one [[arms]] with a name.")
    return [_arm(dict(values), file) for values in described]


def _arm(values: dict[str, Any], file: Path) -> Arm:
    name = values.pop("name", None)
    known = [p for p in inspect.signature(Arm).parameters if p != "arguments"]
    allowed = [*known, "arguments", "factor", "options"]
    unknown = sorted(values.keys() - set(allowed))
    if unknown:
        raise ValueError(
            f"{file}, arm {name!r} has unknown entries: {', '.join(unknown)}. Known: {', '.join(allowed)}."
        )
    arguments = values.pop("arguments", {})
    if not isinstance(arguments, dict):
        raise TypeError(_checks.message("arguments", "a table of arguments of the build function", arguments))
    regularizer = _regularizer(values, f"{file}, arm {name!r}")
    return Arm(name, regularizer=regularizer, **values, **arguments)


def _regularizer(values: dict[str, Any], where: str) -> Any:
    """The regularizer, or where the factor is an axis the function that makes it."""
    name, factor, options = values.pop("regularizer", None), values.pop("factor", None), values.pop("options", {})
    if name is None:
        if factor is not None or options:
            raise ValueError(f"{where} has a `factor` or `options`, but no `regularizer` that they belong to.")
        return None
    kind = _REGULARIZERS[_checks.one_of("regularizer", name, tuple(_REGULARIZERS))]
    try:
        return functools.partial(kind, **options) if factor is None else kind(factor, **options)
    except TypeError as error:
        raise TypeError(f"{where}: {error}") from error


def _build_and_data(text: Mapping[str, Any], file: Path) -> tuple[Callable[..., Any], Any]:
    named = _checks.one_of("model", text.get("model", "autoencoder"), MODELS)
    if "build" in text:
        if "model" in text:
            raise ValueError(f"{file} has both `model` and `build`. Leave one of them out.")
        build = _function(text["build"], "build", file)
        return build, _function(text["data"], "data", file) if "data" in text else _data(text, named)
    if "data" in text:
        raise ValueError(f"{file} has `data` but no `build`: a model for your own data is to be built by you.")
    data = _data(text, named)
    return NamedModel(named, data(0)[0].shape[1:], data.classes), data


def _data(text: Mapping[str, Any], model: str) -> NamedData:
    return NamedData(
        text.get("dataset", "digits"), text.get("data_dir"), model == "autoencoder" and "build" not in text
    )


def _function(name: Any, entry: str, file: Path) -> Callable[..., Any]:
    """The function that an entry such as "module:function" names; modules beside the file are found too."""
    module, _, function = str(name).partition(":")
    if not (module and function):
        raise ValueError(f'{file}: `{entry}` should be "module:function". Received: {name!r}.')
    sys.path.insert(0, str(file.absolute().parent))
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{file}: `{entry}` = {name!r} cannot be imported: {error}.") from error
    if not callable(found):
        raise TypeError(_checks.message(entry, "the name of a function", found))
    return found  # type: ignore[no-any-return]
