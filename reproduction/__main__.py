"""`python -m reproduction`: a figure or table of source A, run again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from keras_entropy_cli.errors import user_errors


def reproduce(
    name: Annotated[str, typer.Argument(help="Such as a-fig3 or a-table1; 'list' shows all.")],
    scale: Annotated[str, typer.Option(help="small, or full for the paper's protocol.")] = "small",
    seeds: Annotated[int | None, typer.Option(min=2, help="How many are compared.")] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="Folder of prepared sets (mnist, cifar10), or with imagenette, segmentation, weights."),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the results; runs/NAME by default.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one on each core by default.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Train runs again that did not finish.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin anew; the old folder is renamed.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the reproduction in the folder.")] = False,
) -> None:
    r"""Train what a figure or table of "Entropy-based guidance of deep neural networks" shows, and compare.

    Writes page.html and page.md with the paper's numbers beside those of the runs, and the records, which --resume goes
    on with. What the small scale leaves out stands at the top of the page.

    Example: python -m reproduction a-fig3 --seeds 3 --output runs/a-fig3
    """
    folder = Path("runs") / name if output is None else output
    with user_errors():
        from reproduction import Settings, command

        if name == "list":
            command.show_names()
            return
        settings = Settings(
            output=folder, scale=scale, seeds=seeds, data=data, workers=workers, retry_failed=retry_failed
        )
        kept = command.check_folder(name, folder, overwrite=overwrite, resume=resume)
    try:
        with user_errors():
            command.run(name, settings)
    except KeyboardInterrupt:
        how = "--resume in place of --overwrite" if overwrite else "--resume"
        sys.stderr.write(f"\nStopped. Go on with the same command and {how}: what had ended is in {folder}.\n")
        raise typer.Exit(130) from None
    except typer.Exit:
        if kept is not None:
            command.put_back(kept, folder)
        raise


app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
app.command()(reproduce)

if __name__ == "__main__":
    app()
