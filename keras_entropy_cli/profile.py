"""`keras-entropy profile`: where a network keeps entropy, and where a placement would guide it."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from keras_entropy_cli.errors import user_errors


class _Measure(enum.StrEnum):
    corner = "corner"
    log_volume = "log_volume"
    total_correlation = "total_correlation"


def profile(
    model: Annotated[
        str,
        typer.Argument(
            help="A .keras or .h5 file, or an architecture: autoencoder, cnn, squeezenet, unet, or a model of "
            "keras.applications, such as vgg16 or resnet50."
        ),
    ],
    weights: Annotated[
        str | None,
        typer.Option(
            help="A file of weights for the architecture (.weights.h5, .keras; .npz for squeezenet), or imagenet: "
            "Keras downloads its own. Random weights without it."
        ),
    ] = None,
    measure: Annotated[
        _Measure,
        typer.Option(
            help="corner: leading determinants and corner elements; log_volume: exact log-volumes; "
            "total_correlation: how much outputs repeat each other."
        ),
    ] = _Measure.log_volume,
    random: Annotated[
        int | None,
        typer.Option(min=0, metavar="SEED", help="Compare with the random twin, drawn with this seed."),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(
            help="A profile that --json wrote: compared with this one, and what --placement empirical goes by."
        ),
    ] = None,
    placement: Annotated[
        str | None,
        typer.Option(
            help="Mark the layers that a placement names: first, first:k, all, pre_skip, pre_concat, empirical, "
            "empirical:k, or a glob on layer paths."
        ),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a box plot to this file (.png, .svg, .pdf).")] = None,
    json: Annotated[Path | None, typer.Option(help="Write the profile to this file.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the files of --plot and --json.")] = False,
) -> None:
    r"""Show the change of entropy that each weight of a network makes.

    Files are loaded with Keras's safe mode on: code in them is never run.

    Example: keras-entropy profile resnet50 --random 0 --placement pre_skip --plot resnet50.png
    """
    with user_errors():
        from keras_entropy_cli import profiling

        profiling.run(
            profiling.Arguments(
                model=model,
                weights=weights,
                measure=measure.value,
                random=random,
                reference=reference,
                placement=placement,
                plot=plot,
                json=json,
                overwrite=overwrite,
            )
        )
