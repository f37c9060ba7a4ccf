"""The command `python -m reproduction`, run from a checkout of the repository."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from reproduction import output_folder
from reproduction.entries import ENTRIES, SCALES, Outcome, Settings, entry

DESCRIPTION = """Train a figure or table of a paper again, and compare the result with what the paper prints.

The folder of the output gets page.html and page.md, with the paper's numbers beside those of the runs, and the records
of the runs. The top of the page says what the small scale leaves out."""

EPILOG = """example:
  python -m reproduction list
  python -m reproduction a-fig3 --seeds 3 --data ~/tensorflow_datasets --output runs/a-fig3"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Report a usage error in one line."""
        self.exit(2, f"Error: {message}. See python -m reproduction --help.\n")


def parser() -> argparse.ArgumentParser:
    """The parser of the command's arguments."""
    found = _Parser("python -m reproduction", description=DESCRIPTION, epilog=EPILOG, allow_abbrev=False)
    found.formatter_class = argparse.RawDescriptionHelpFormatter
    found.add_argument("name", help="name of a figure or table, such as a-fig3; 'list' shows all names")
    found.add_argument(
        "--scale", choices=SCALES, default="small", help="small (default), or full: the paper's protocol"
    )
    found.add_argument("--seeds", type=int, help="number of seeds to compare, at least 2")
    found.add_argument(
        "--data", type=Path, metavar="DIR", help="folder of prepared sets, or with imagenette, segmentation, weights"
    )
    found.add_argument("--output", type=Path, metavar="DIR", help="folder for the results; default: runs/NAME")
    found.add_argument("--workers", type=int, help="number of training processes; default: one per core")
    found.add_argument("--retry-failed", action="store_true", help="train runs again that did not finish")
    found.add_argument("--overwrite", action="store_true", help="start anew; the earlier folder is renamed")
    found.add_argument("--resume", action="store_true", help="continue the reproduction in the folder")
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        arguments: Words after the program's name. Defaults to those of the process.

    Raises:
        SystemExit: With code 2 and one line for an error that the user can mend, with 130 after Ctrl-C.
    """
    given = parser().parse_args(arguments)
    if given.name == "list":
        for found in ENTRIES.values():
            print(f"{found.name:10s}{found.title}")
        return
    with _one_line_errors():
        entry(given.name)
        output = given.output or Path("runs") / given.name
        names = ("scale", "seeds", "data", "workers", "retry_failed")
        settings = Settings(output=output, **{name: getattr(given, name) for name in names})
        earlier = output_folder.prepare(output, overwrite=given.overwrite, resume=given.resume)
    try:
        with _one_line_errors():
            _run(given.name, settings)
    except KeyboardInterrupt:
        option = "--resume in place of --overwrite" if given.overwrite else "--resume"
        sys.stderr.write(f"\nStopped. {output} keeps the finished runs. Continue with the same command and {option}.\n")
        raise SystemExit(130) from None
    except SystemExit:
        if earlier is not None:
            output_folder.put_back(earlier, output)
        raise


def _run(name: str, settings: Settings) -> Outcome:
    """Run an entry and print its conclusions."""
    from keras_entropy.study import JobError
    from reproduction.page import reproduce

    print(f"{name}: {entry(name).title}", flush=True)
    try:
        outcome = reproduce(name, settings)
    except JobError as error:  # a training process failed or was killed
        raise ValueError(str(error)) from error
    for sentence in outcome.reduced:
        print(f"Reduced: {sentence}")
    for sentence in outcome.conclusions:
        print(f"* {sentence}")
    print(f"Written to {settings.output}: page.html, page.md")
    return outcome


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
        sys.stderr.write(f"Error: {' '.join(str(error).split())}\n")
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
