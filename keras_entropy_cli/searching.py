"""A search over the terms that fit a model by name, or one of the user's."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import math
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from keras_tuner import errors

from keras_entropy import EntropyWarning
from keras_entropy.regularizers import ConvCornerEntropy, ConvEntropy, DenseEntropy, TotalCorrelation
from keras_entropy.runs import pipelines
from keras_entropy.study.controls import transform
from keras_entropy.tuning import EntropyHyperModel, SearchResult, search
from keras_entropy.tuning.output_folder import holds_search
from keras_entropy_cli.presets import NamedData, NamedModel

_TERMS: dict[str, list[Callable[[float], Any]]] = {
    "cnn": [ConvCornerEntropy, ConvEntropy],
    "autoencoder": [DenseEntropy, TotalCorrelation],
}
_FACTORS = (1e-4, 1e-1)
_INPUTS = {"cnn": "standardised", "autoencoder": "centred"}
"""What costs nothing comes first: a term is to add something to it."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Of the command."""

    dataset: str
    data_dir: str | None
    model: str
    user_module: str | None
    inputs: str | None
    tuner: str
    max_trials: int
    epochs: int
    batch_size: int
    seeds: int
    holdout_seeds: int
    seed: int
    workers: int
    output: Path


def check_folder(output: Path, *, overwrite: bool, resume: bool) -> None:
    """Make sure that an earlier search is replaced or gone on with only if that is asked for.

    Raises:
        FileExistsError, FileNotFoundError, ValueError: where it is not.
    """
    if overwrite and resume:
        raise ValueError("--overwrite and --resume exclude each other.")
    there = holds_search(output)
    if there and not (overwrite or resume):
        raise FileExistsError(
            f"{output} holds a search. Use --overwrite to replace it, --resume to go on with it, or --output for "
            "another folder."
        )
    if resume and not there:
        raise FileNotFoundError(f"{output} holds no search to resume.")


def run(arguments: Arguments, *, overwrite: bool) -> SearchResult:
    """Search, and print what came of it.

    Raises:
        ValueError: also for what KerasTuner calls fatal.
    """
    pipelines.tune_none()
    data = NamedData(arguments.dataset, arguments.data_dir, reconstruct=arguments.model == "autoencoder")
    build = _model(arguments, data)
    terms = _TERMS[arguments.model] if arguments.user_module is None else [*_TERMS["cnn"], DenseEntropy]
    options = {
        name: getattr(arguments, name)
        for name in (
            "tuner",
            "max_trials",
            "epochs",
            "batch_size",
            "seeds",
            "holdout_seeds",
            "seed",
            "workers",
            "output",
        )
    }
    x_train, y_train, x_val, y_val = data(arguments.seed)
    inputs = arguments.inputs or ("unchanged" if arguments.user_module else _INPUTS[arguments.model])
    print(f"Inputs: {inputs}, in all runs.")
    change = transform(None if inputs == "unchanged" else inputs, x_train)
    x_train, x_val = change(x_train), change(x_val)
    with _located(arguments.user_module):
        fitting = _fitting(build, terms)
    hypermodel = EntropyHyperModel(build, fitting, ("first", "all"), _FACTORS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", EntropyWarning)
            result = search(hypermodel, (x_train, y_train, x_val, y_val), overwrite=overwrite, **options)
    except (errors.FatalError, RuntimeError) as error:
        raise ValueError(str(error)) from error
    _print(result)
    return result


def _model(arguments: Arguments, data: NamedData) -> Any:
    if arguments.user_module is None:
        return NamedModel(arguments.model, data(arguments.seed)[0].shape[1:], data.classes)
    file, _, name = arguments.user_module.rpartition(":")
    path = Path(file)
    if not file or not path.is_file():
        raise FileNotFoundError(
            f"--user-module should be FILE.py:FUNCTION with a file that exists. Received: {arguments.user_module!r}."
        )
    spec = importlib.util.spec_from_file_location(f"user_{path.stem}", path.absolute())
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file. Its name should end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(path.absolute().parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's program raises
        raise ValueError(f"{path} cannot be imported: {type(error).__name__}: {error}.") from error
    if not callable(getattr(module, name, None)):
        raise ValueError(f"{path} has no function {name!r}. Name one that returns a compiled model.")
    import cloudpickle

    cloudpickle.register_pickle_by_value(module)  # the processes that train cannot import it by its name
    return getattr(module, name)


@contextlib.contextmanager
def _located(user_module: str | None) -> Iterator[None]:
    """Say where in the user's file an error has arisen, if it has there."""
    try:
        yield
    except Exception as error:  # whatever the user's program raises
        file = None if user_module is None else Path(user_module.rpartition(":")[0]).absolute()
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == file]
        if not frames:
            raise
        raise ValueError(f"{file}, line {frames[-1].lineno}: {type(error).__name__}: {error}") from error


def _fitting(build: Any, terms: list[Callable[[float], Any]]) -> list[Callable[[float], Any]]:
    """The terms that some layer of the model takes."""
    import keras_tuner

    from keras_entropy.placement.resolution import takes
    from keras_entropy.profile import measurable_weights

    model = EntropyHyperModel(build, terms).baseline(keras_tuner.HyperParameters())
    weights = measurable_weights(model)
    found = [term for term in terms if any(takes(weight, term(1.0)) for weight in weights)]
    if not found:
        names = ", ".join(getattr(term, "__name__", str(term)) for term in terms)
        raise ValueError(f"No layer of the model takes one of {names}.")
    return found


def _print(result: SearchResult) -> None:
    import csv

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    console = Console(width=max(80, console.width))
    with (Path(result.output) / "trials.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    scores = [float(row[result.metric]) * (1 if result.lower_is_better else -1) for row in rows]
    rows = [rows[i] for i in sorted(range(len(rows)), key=lambda i: (math.isnan(scores[i]), scores[i]))]
    shown = ["trial", *(name for name in rows[0] if name.startswith("entropy/")), result.metric]
    table = Table(title="Trials, the best one first")
    for name in shown:
        table.add_column(name.removeprefix("entropy/"), justify="left" if name == "trial" else "right")
    for row in rows:
        table.add_row(*(_short(row[name]) for name in shown))
    console.print(table)
    console.print(Text(result.sentence))
    folder = Path(result.output)
    console.print(
        Text(f"Written to {folder}: trials.csv, search.png, result.json (tensorboard --logdir {folder / 'logs'})"),
        soft_wrap=True,
    )


def _short(value: str) -> str:
    try:
        return f"{float(value):.4g}"
    except ValueError:
        return value
