"""`keras-entropy profile`: show where a network keeps or loses entropy, and which layers a placement chooses."""

from __future__ import annotations

import enum
import itertools
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_entropy_cli import user_file
from keras_entropy_cli.errors import echo, printable, user_errors
from keras_entropy_cli.start import load_keras

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from keras_entropy.profile import EntropyProfile, ProfileComparison, ProfileRecord

_WIDTH = 160
"""Columns of a table that is not written to a terminal."""


class _Measure(enum.StrEnum):
    corner = "corner"
    log_volume = "log_volume"
    total_correlation = "total_correlation"


def profile(
    model: Annotated[
        str,
        typer.Argument(
            help="A .keras or .h5 file; an architecture: autoencoder, cnn, squeezenet, unet, or a model of "
            "keras.applications such as vgg16 or resnet50; or your own function that returns a model, "
            f"{user_file.FORMS}."
        ),
    ],
    builder: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="CODE",
            help="Your own function that returns the model of a .weights.h5 file, or of a .keras file with your own "
            f"classes: {user_file.FORMS}. Only its weights are read from the file.",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="Weights of the architecture or of your own function: a file (.weights.h5, .keras; .npz for "
            "squeezenet), or imagenet, which Keras downloads.",
            show_default="random weights",
        ),
    ] = None,
    measure: Annotated[
        _Measure,
        typer.Option(
            help="corner: leading determinants and corner elements; log_volume: exact log-volumes; "
            "total_correlation: how much outputs repeat each other."
        ),
    ] = _Measure.log_volume,
    randomize: Annotated[
        int | None,
        typer.Option(min=0, metavar="SEED", help="Compare with a randomly initialised copy, drawn with this seed."),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Compare with this profile, a file that --json wrote. --placement empirical needs it.",
        ),
    ] = None,
    placement: Annotated[
        str | None,
        typer.Option(
            help="Mark the layers that a placement chooses: first, first:k, all, pre_skip, pre_concat, empirical, "
            "empirical:k, or a glob on layer paths."
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a box plot to this file (.png, .svg, .pdf).")
    ] = None,
    json: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the profile to this file.")] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a page to open in a browser: what stands out, box plots, and details of each weight beside a "
            "randomly initialised copy.",
        ),
    ] = None,
    sample: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Look for outputs that are constant on these inputs of the model: an array that numpy.save wrote.",
        ),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Show the epochs of a training on the page: history.csv of the train command, or the file of "
            "keras.callbacks.CSVLogger.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the files of --plot, --json and --html.")
    ] = False,
) -> None:
    """Show the change of entropy that each weight of a network makes, and say what stands out.

    Model files are loaded in Keras's safe mode: code in them is never run.

    Example: keras-entropy profile resnet50 --randomize 0 --placement pre_skip --html resnet50.html
    """
    with user_errors():
        _check_files({"--plot": plot, "--json": json, "--html": html}, overwrite=overwrite)
        if log is not None and html is None:
            raise ValueError("--log shows epochs on the page of --html. Add --html FILE.")
        _check_inputs(model, builder, weights, {"--reference": reference, "--log": log, "--sample": sample})
        load_keras()

        from keras_entropy.profile import EntropyProfile, entropy_profile
        from keras_entropy.profile.epoch_log import epoch_log

        if plot is not None:
            from keras_entropy import _optional, plots

            _optional.require("matplotlib", extra="plot")
            plots.format_of(plot)
        epochs = None if log is None else epoch_log(log)
        if html is not None and reference is None and randomize is None:
            randomize = 0  # the page shows a randomly initialised copy
        compared = None if reference is None else EntropyProfile.load(reference)
        if compared is not None and randomize is None and compared.measure != measure.value:
            raise ValueError(
                f"{reference} is a profile of measure {compared.measure!r}: add --measure {compared.measure}."
            )
        inputs = None if sample is None else _inputs(sample)
        network = _model(model, weights, builder)
        chosen = _chosen(network, placement, compared)
        found = entropy_profile(network, measure.value, sample=inputs, progress=True)
        if epochs is not None:
            _check_log(log, epochs, found)
        other, name = compared, "reference"
        if randomize is not None:
            other, name = entropy_profile(network, measure.value, randomize, progress=True), "random"
        _print(found, None if other is None else found.compare(other), name, chosen)
        _print_findings(found, other)
        if placement is not None:
            echo(f"placement {placement!r}: {', '.join(chosen) or 'none'}")
        if json is not None:
            found.save(json)
        if plot is not None:
            found.plot(other, plot)
        if html is not None:
            found.to_html(html, other, epochs)


def _inputs(sample: Path) -> Any:
    """Read the array of --sample."""
    import numpy as np

    try:
        found = np.load(sample, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"--sample should name an array that numpy.save wrote. Received: {sample}. {error}") from error
    if not isinstance(found, np.ndarray):
        raise ValueError(f"--sample should name one array (.npy). Received: {sample} with {', '.join(found.files)}.")
    return found


def _check_log(log: Path | None, epochs: dict[str, list[float]], found: EntropyProfile) -> None:
    """Raise `ValueError` if the file of --log has no entry of a weight of the model."""
    from keras_entropy.profile.epoch_log import of_weights

    try:
        of_weights(epochs, [record.path for record in found.records])
    except ValueError as error:
        raise ValueError(
            f"--log {log} should be a log of this model. Received: the columns {', '.join(epochs) or 'none'}. "
            "Use history.csv of keras-entropy train, or the file of CSVLogger beside EntropyLogger."
        ) from error


def _check_files(files: Mapping[str, Path | None], *, overwrite: bool) -> None:
    """Make sure that the files can be written, before anything is computed."""
    given = {option: path for option, path in files.items() if path is not None}
    for (first, path), (second, other) in itertools.combinations(given.items(), 2):
        if path == other:
            raise ValueError(f"{first} and {second} should name two files. Received: {path} twice.")
    for option, path in given.items():
        if path.is_dir():
            raise IsADirectoryError(f"{option} should name a file. Received: {path}, which is a folder.")
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} exists. Use --overwrite to replace it, or name another file.")
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            raise PermissionError(f"Cannot write {path}. Name another file.")


def _check_inputs(model: str, builder: str | None, weights: str | None, files: Mapping[str, Path | None]) -> None:
    """Make sure that the files to read exist, before Keras is imported."""
    user_file.check_exists(model, "MODEL", Path())
    user_file.check_exists(builder or "", "--model", Path())
    for option, path in files.items():
        if path is not None and not path.exists():
            raise FileNotFoundError(f"{option} should name a file that exists. Received: {path}.")
    is_file = not user_file.is_code(model) and ("." in model or os.sep in model) and "://" not in model
    if is_file and not Path(model).exists():
        raise FileNotFoundError(f"There is no file {model}. Relative paths start at the working folder.")
    if weights is not None and weights.endswith((".h5", ".keras")) and not Path(weights).exists():
        raise FileNotFoundError(f"There is no file of weights {weights}. Relative paths start at the working folder.")


def _model(name: str, weights: str | None, builder: str | None) -> Any:
    """Load a model from a file, or build an architecture by its name or with a function of the user."""
    from keras_entropy import models

    if builder is not None:
        if weights is not None:
            raise ValueError("With --model, MODEL is the file of weights. Leave out --weights.")
        return _built(builder, "--model", name)
    if user_file.is_code(name):
        return _built(name, "MODEL", weights)
    if "." in name or os.sep in name or (Path(name).exists() and name not in models.names()):
        model = models.load_model(name)
        if weights is not None:
            models.load_weights(model, weights)
        return model
    _check_architecture(name, weights)
    if weights != "imagenet":
        return models.by_name(name, weights=weights)
    try:
        return models.by_name(name, weights=weights)
    except Exception as error:  # Keras raises a plain Exception if a download fails
        raise ValueError(f"Keras could not load its ImageNet weights of {name}: {error}") from error


def _built(code: str, argument: str, weights: str | None) -> Any:
    """Build a model with a function of the user, and load its weights from a file, if there is one."""
    import keras

    from keras_entropy import models

    function = user_file.function_of(code, argument, Path())
    with user_file.located_errors(code, argument, Path()):
        model = function()
    if not isinstance(model, keras.Model) or not model.built:
        raise ValueError(
            f"{argument} should name a function that returns a built keras.Model. Received: {type(model).__name__} "
            f"from {code}. Start the model with keras.Input, or call it once."
        )
    if weights is not None:
        models.load_weights(model, weights)
    return model


def _check_architecture(name: str, weights: str | None) -> None:
    """Raise `ValueError`, in the words of the command, for an unknown architecture or weights of another kind."""
    from keras_entropy.models import registry

    known = registry.known_name(name)
    if known is None:
        similar = ", ".join(registry.similar_names(name))
        remedy = f"Similar names: {similar}." if similar else "Architectures: " + ", ".join(registry.names()) + "."
        raise ValueError(
            f"MODEL should be a .keras or .h5 file, or the name of an architecture. Received: {name}. {remedy}"
        )
    imagenet = registry.has_imagenet_weights(known)
    suffixes = registry.suffixes_of_weights(known)
    if weights is None or (weights == "imagenet" and imagenet) or weights.endswith(suffixes):
        return
    choices = "imagenet, or a file" if imagenet else "a file"
    raise ValueError(
        f"--weights should be {choices} ending in {', '.join(suffixes)} for {known}. Received: {weights}. Leave out "
        "--weights for random weights."
    )


def _chosen(model: Any, placement: str | None, reference: EntropyProfile | None) -> list[str]:
    """Paths of the weights that a placement chooses."""
    from keras_entropy.placement import resolve_placement

    if placement is None:
        return []
    if placement.startswith("empirical") and reference is None:
        raise ValueError("--placement empirical compares with a trained network: name its profile with --reference.")
    return [weight.path for weight in resolve_placement(model, placement, reference)]


def _print(profile: EntropyProfile, comparison: ProfileComparison | None, other: str, chosen: Collection[str]) -> None:
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    console.print(_table(profile, comparison, other, chosen))
    for record in profile.records:
        if record.skipped is not None:
            console.print(_text(f"not measured: {record.path} ({record.kind}): {record.skipped}"))


def _print_findings(profile: EntropyProfile, other: EntropyProfile | None) -> None:
    """Say what stands out, with the numbers and what one may do."""
    from keras_entropy.profile import findings

    random = other if other is not None and other.randomize is not None else None
    copy = None if random is None else random.records
    for line in findings.conclusion(profile.findings(random), profile.records, profile.measure, copy, profile.constant):
        echo(line)
    if other is None:
        echo("Add --randomize 0 to compare with a randomly initialised copy.")


def _table(profile: EntropyProfile, comparison: ProfileComparison | None, other: str, chosen: Collection[str]) -> Table:
    from rich.table import Table

    from keras_entropy._table import decimals

    table = Table(title=_text(f"Change of entropy: {profile.title}"), title_justify="left")
    table.add_column("weight", overflow="fold")
    table.add_column("layer")
    table.add_column("shape")
    table.add_column("mean", justify="right")
    if comparison is not None:
        table.add_column(other, justify="right")
        table.add_column("difference", justify="right")
        table.add_column(f"outliers ({other})", justify="right")
    table.add_column("unit")
    differences = {} if comparison is None else {d.path: d for d in comparison.differences}
    for record in profile.measured:
        shape = "x".join(map(str, record.shape))
        cells = [record.path, record.kind, shape, "" if record.mean is None else decimals(record.mean)]
        if record.path in differences:
            found = differences[record.path]
            outliers = f"{found.outliers} ({found.other_outliers})"
            cells += [decimals(found.other), decimals(found.difference, sign="+"), outliers]
        elif comparison is not None:
            cells += ["", "", ""]
        table.add_row(*map(_text, [*cells, _unit(record)]), style="bold green" if record.path in chosen else None)
    return table


def _text(words: str) -> Text:
    """Text without markup: names may come from other people's files."""
    from rich.text import Text

    return Text(printable(words))


def _unit(record: ProfileRecord) -> str:
    pieces = f", {len(record.pieces)} pieces" if record.pieces else ""
    return f"{record.unit}{pieces}"
