"""`keras-entropy search`: tune a model with an entropy term and its rivals, and compare them on new seeds."""

from __future__ import annotations

import contextlib
import enum
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_entropy_cli import options, user_file
from keras_entropy_cli.errors import echo, interruptible, user_errors
from keras_entropy_cli.start import load_keras

if TYPE_CHECKING:
    from keras_entropy.tuning import SearchResult
    from keras_entropy_cli.presets import Choice

_TERMS = {"cnn": ("ConvCornerEntropy", "ConvEntropy"), "autoencoder": ("DenseEntropy", "TotalCorrelation")}
_OWN_MODEL_TERMS = (*_TERMS["cnn"], "DenseEntropy")
_FACTORS = (1e-4, 1e-1)
_PLACEMENTS = ("first", "all")
_INPUTS = {"cnn": "standardised", "autoencoder": "centred"}
"""Default preprocessing. It costs no training time, so a term should improve on a model that has it."""
_OPTIMIZERS = ("adam", "muon")
"""Choice for the command's own models."""


class _Tuner(enum.StrEnum):
    random = "random"
    grid = "grid"
    bayesian = "bayesian"
    hyperband = "hyperband"


class _Inputs(enum.StrEnum):
    unchanged = "unchanged"
    centred = "centred"
    standardised = "standardised"


def search(
    dataset: Annotated[
        str,
        typer.Option(metavar="DATA", help=options.DATASET.format(more="")),
    ] = "digits",
    data_dir: options.DataDir = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            callback=options.known_model,
            help=f"cnn, autoencoder, or your own function, {user_file.FORMS}. It takes hyperparameters or nothing, and "
            "returns a compiled model.",
        ),
    ] = "cnn",
    inputs: Annotated[
        _Inputs | None,
        typer.Option(
            help="Preprocessing of the inputs of all runs; standardised is by channel.",
            show_default="standardised for cnn, centred for autoencoder, unchanged for your own model",
        ),
    ] = None,
    tuner: Annotated[_Tuner, typer.Option(help="Search algorithm of KerasTuner.")] = _Tuner.random,
    max_trials: Annotated[
        int, typer.Option(min=1, help="Maximum number of trials of each contender; hyperband sets its own.")
    ] = 12,
    controls: Annotated[
        str,
        typer.Option(
            help="Simpler changes that the term should beat too, separated by commas: soft orthogonality, L2, "
            "orthogonal initialisation, centred inputs, standardised inputs; or none."
        ),
    ] = "soft orthogonality",
    tune_baseline: Annotated[
        bool,
        typer.Option(
            "--tune-baseline/--no-tune-baseline",
            help="Tune learning rate and L2 of all contenders, and the optimizer of the command's own models, if the "
            "model has no hyperparameters.",
        ),
    ] = True,
    epochs: Annotated[int, typer.Option(min=1, help="Number of epochs of each run.")] = 10,
    batch_size: options.BatchSize = 32,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds on which each trial is trained.")] = 2,
    holdout_seeds: Annotated[
        int, typer.Option(min=2, help="Number of new seeds for the comparison of the best settings.")
    ] = 5,
    seed: Annotated[int, typer.Option(min=0, help="First seed of the trials, and seed of the tuner.")] = 0,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of trials at once, each in a process of its own.", show_default="one per core or GPU"
        ),
    ] = None,
    scheduler: options.Scheduler = None,
    output: options.Output = Path("runs/search"),
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
) -> None:
    """Search for the best entropy term and the best model without one, and compare them on new seeds.

    The model with a term, the baseline and each control have as many trials. Writes trials.csv, search.png,
    result.json, best_model.keras, KerasTuner's files, and logs/ for TensorBoard with its HParams page.

    Example: keras-entropy search --tuner bayesian --max-trials 20 --output runs/bayesian
    """
    with user_errors():
        options.check_exclusive(overwrite=overwrite, resume=resume)
        options.check_output(output, "search", overwrite=overwrite, resume=resume)
        options.check_code_and_data(model, dataset, data_dir)
        load_keras()

        from keras_entropy import _backend, _optional
        from keras_entropy_cli.presets import Choice

        for module in ("loky", "filelock", "pandas", "matplotlib", "tensorboard"):
            _optional.require(module, extra="search")
        with interruptible(options.how_to_continue(output, "search", overwrite=overwrite)):
            _backend.framework().disable_pipeline_tuning()
            choice = Choice(model, dataset, None if data_dir is None else str(data_dir))
            arrays = choice.arrays(seed)
            names = _TERMS.get(model, _OWN_MODEL_TERMS)
            with _located_errors(choice):
                hypermodel = _hypermodel(_build(choice, arrays, names, tune_baseline), names)
            how = inputs.value if inputs else _INPUTS.get(model, "unchanged")
            echo(f"Inputs of all runs: {how}.")
            with options.executor_of(scheduler) as executor:
                result = _search(
                    hypermodel,
                    _preprocessed(arrays, how),
                    tuner=tuner.value,
                    max_trials=max_trials,
                    epochs=epochs,
                    batch_size=batch_size,
                    seeds=seeds,
                    holdout_seeds=holdout_seeds,
                    seed=seed,
                    workers=workers or _workers(),
                    controls=[] if controls == "none" else [name.strip() for name in controls.split(",")],
                    tune_baseline=tune_baseline,
                    executor=executor,
                    output=output,
                    overwrite=overwrite,
                )
            _save_for_raw_inputs(result, arrays[0], how)
            _print(result)


def _build(choice: Choice, arrays: Any, terms: tuple[str, ...], tune: bool) -> Callable[..., Any]:
    from keras_entropy.tuning.own_space import TunedBuild
    from keras_entropy_cli.presets import TERMS

    build = choice.build(arrays)
    if choice.own_model is not None or not tune:
        return build
    return TunedBuild(build, tuple(TERMS[name](1.0) for name in terms), _OPTIMIZERS)


def _workers() -> int:
    """One process for each GPU, or for each core where there is none."""
    from keras_entropy.runs.pool import shares

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    gpus = {gpu for _, gpu in shares(64) if gpu}
    return len(gpus) or cores


def _located_errors(choice: Choice) -> contextlib.AbstractContextManager[None]:
    if choice.own_model is None:
        return contextlib.nullcontext()
    return user_file.located_errors(choice.model, choice.model_option, choice.folder)


def _hypermodel(build: Callable[..., Any], names: tuple[str, ...]) -> Any:
    """The model with the choice of those terms that at least one of its layers takes."""
    from keras_entropy import _optional
    from keras_entropy.placement.resolution import takes
    from keras_entropy.profile import measurable_weights
    from keras_entropy.tuning import EntropyHyperModel
    from keras_entropy_cli.presets import TERMS

    keras_tuner = _optional.require("keras_tuner", extra="search")
    terms = [TERMS[name] for name in names]
    baseline = EntropyHyperModel(build, terms).baseline(keras_tuner.HyperParameters())
    weights = measurable_weights(baseline)
    found = [term for term in terms if any(takes(weight, term(1.0)) for weight in weights)]
    if not found:
        raise ValueError(
            f"The model should have a layer that takes one of {', '.join(names)}. Received: a model with the kernels "
            f"{', '.join(weight.path for weight in weights) or 'none'}. Use a model with dense or convolution layers."
        )
    return EntropyHyperModel(build, found, _PLACEMENTS, _FACTORS)


def _preprocessed(data: tuple[Any, Any, Any, Any], how: str) -> tuple[Any, Any, Any, Any]:
    from keras_entropy.study.controls import transform

    x_train, y_train, x_val, y_val = data
    change = transform(None if how == "unchanged" else how, x_train)
    return change(x_train), y_train, change(x_val), y_val


def _search(hypermodel: Any, data: Any, **settings: Any) -> SearchResult:
    from keras_entropy import EntropyWarning, _optional, tuning

    errors = _optional.require("keras_tuner.errors", extra="search")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("default", EntropyWarning)
            return tuning.search(hypermodel, data, **settings)
    except (errors.FatalError, RuntimeError) as error:  # a trial that raised, or no trial that succeeded
        raise ValueError(str(error)) from error


def _save_for_raw_inputs(result: SearchResult, x_train: Any, how: str) -> None:
    """Put the preprocessing of all runs into the saved model."""
    from keras_entropy import _files
    from keras_entropy.study.controls import transform, with_raw_inputs
    from keras_entropy.tuning.contenders import INPUTS

    path = Path(result.output) / "best_model.keras"
    if how == "unchanged" or not path.exists():  # a model that Keras cannot save; a warning has said why
        return
    model, control = result.best_model(), INPUTS.get(result.winner)
    if control is not None:
        model = with_raw_inputs(model, control, transform(how, x_train)(x_train))
    with _files.replacing(path) as temporary:
        with_raw_inputs(model, how, x_train).save(temporary)
    echo(f"best_model.keras takes the inputs of the data set as they are: it makes them {how} itself.")


def _print(result: SearchResult) -> None:
    folder = Path(result.output)
    echo(f"{result}\n\nWritten to {folder}: trials.csv, search.png, result.json, best_model.keras")
    echo(f"Look at the runs with: tensorboard --logdir {folder / 'logs'}")
