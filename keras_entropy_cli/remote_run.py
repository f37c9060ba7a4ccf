"""A training run on another machine: the files that describe it go there, and its last checkpoint comes back."""

from __future__ import annotations

import json
from concurrent.futures import Executor
from pathlib import Path

from keras_entropy import _files, _sealed
from keras_entropy.runs import memory
from keras_entropy.runs.pool import packed, unpacked
from keras_entropy_cli import run_folder
from keras_entropy_cli.errors import one_line
from keras_entropy_cli.run_folder import CHECKPOINT, MODEL, RECORD, Run


def fetch(run: Run, executor: Executor) -> bool:
    """Train a run on an executor, whose workers need no access to its folder, and fetch its last checkpoint and logs.

    `Run.train` then has no epoch left to train, and writes the results.

    Returns:
        Boolean. False if the user stopped the command. The worker may train on, but nothing comes back.

    Raises:
        ValueError: If the worker died or cannot train the run.
    """
    files = {name: path.read_bytes() for name in (MODEL, CHECKPOINT) if (path := run.output / name).exists()}
    files[RECORD] = json.dumps(_sealed.sealed(run_folder.SCHEMA, run.record())).encode()
    future = executor.submit(_train, files, packed(run.choice, "run"))
    try:
        found = future.result()
    except KeyboardInterrupt:
        future.cancel()
        return False
    except (ValueError, TypeError, OSError, ImportError):
        raise
    except Exception as error:  # the executor's own, such as Dask's KilledWorker
        raise ValueError(
            f"The run failed on the executor: {type(error).__name__}: {one_line(str(error))}. Look at the log of its "
            "workers, and use --resume."
        ) from error
    for name, content in found.items():
        with _files.replacing(run.output / name) as temporary:
            temporary.write_bytes(content)
    return True


def _train(files: dict[str, bytes], choice: bytes) -> dict[str, bytes]:
    """Train the run that some files describe, in a temporary folder; return the files that it adds."""
    with memory.set_aside(), _files.temporary_folder() as name:
        folder = Path(name)
        for file, content in files.items():
            (folder / file).write_bytes(content)
        run_folder.open_stored(folder, unpacked(choice)).fit(verbose=0)
        added = [path for path in folder.rglob("*") if path.is_file() and path.name not in (MODEL, RECORD)]
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in added}
