"""A training run and its folder: create it, train it, resume it after a kill, and show what it learned."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import platform
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import keras
import msgspec

import keras_entropy
from keras_entropy import _backend, _checks, _files, _optional, _sealed, plots, profile
from keras_entropy._checks import EntropyWarning
from keras_entropy.callbacks import EntropyLogger
from keras_entropy.profile import WeightEntropy
from keras_entropy.runs import training
from keras_entropy.runs.checkpoint import Checkpoint
from keras_entropy.runs.execution import described
from keras_entropy.runs.folder import ResultsFolder
from keras_entropy.runs.watch import Watch
from keras_entropy.study.wording import plural
from keras_entropy_cli import options, run_arguments
from keras_entropy_cli.errors import echo
from keras_entropy_cli.presets import Choice
from keras_entropy_cli.run_arguments import Arguments

SCHEMA = "keras-entropy/train/5"
RECORD, MODEL, CHECKPOINT = "run.json", "model.keras", "checkpoint.npz"
_FILES = (RECORD, "history.csv", MODEL, "layers.csv", "entropy.png")


@contextlib.contextmanager
def opened(output: Path, arguments: Arguments, given: set[str], *, overwrite: bool, resume: bool) -> Iterator[Run]:
    """Lock a folder, and create a run there or open the one that is there to resume it.

    Args:
        output: Path of the folder.
        arguments: `Arguments` of the command. With `resume`, those that are not in `given` come from the run.
        given: Set of strings. Names of the arguments that the user typed.
        overwrite: Boolean. Whether to replace an earlier run.
        resume: Boolean. Whether to continue an earlier run.

    Raises:
        FileExistsError: If the folder has other files, or a run without `overwrite` or `resume`.
        FileNotFoundError: If there is no run to resume, or no data.
        BlockingIOError: If another process works on the folder.
        ValueError: If the arguments contradict the run to resume, or do not fit together.
    """
    results = _results_of(output)
    results.check()
    _optional.require("tensorboard", extra="tensorboard")
    _optional.require("matplotlib", extra="plot")
    # A mistake in the arguments of a new run creates no folder and deletes no earlier run.
    run = None if resume else _new(results, arguments)
    with results.locked(overwrite=overwrite):
        options.check_output(
            output, "run", overwrite=overwrite, resume=resume
        )  # another process may have ended a run meanwhile
        _files.remove_partial(output)
        if run is None:
            run = _resumed(results, {name: value for name, value in vars(arguments).items() if name in given})
        else:
            results.describe(RECORD, SCHEMA, run.record())
        yield run


def open_stored(output: Path, choice: Choice) -> Run:
    """Open the run in a folder that no other process knows, to resume it; `choice` has the code of the user."""
    return _resumed(_results_of(output), {}, choice)


def _results_of(output: Path) -> ResultsFolder:
    # A run writes these, event files in logs/, and a checkpoint until it has ended.
    return ResultsFolder(output, "run", (RECORD,), (*_FILES[1:], CHECKPOINT, "logs/events.out.tfevents.*"))


def _new(results: ResultsFolder, arguments: Arguments) -> Run:
    choice = arguments.choice()
    data = choice.arrays(arguments.seed)
    model, term = run_arguments.build(arguments, choice, data)
    arguments = dataclasses.replace(arguments, regularizer=term)
    return Run(results, arguments, choice, data, model, Watch(), before={e.path: e.mean for e in _measure(model)})


@dataclasses.dataclass(frozen=True)
class _Record:
    """What run.json says.

    Attributes:
        arguments: `Arguments` of the run.
        epochs_done: Integer. Epochs of `model.keras`.
        versions: Mapping. Versions of Python, Keras, the backend and this package, and the name of the backend.
        before: Mapping. Mean entropy of each weight before training.
        history: Mapping of names to lists with one value per epoch.
        model: String. Hash of `model.keras`; empty if there is none yet.
        code: String. Hash of the functions of the user; empty if there are none.
    """

    arguments: Arguments
    epochs_done: Annotated[int, msgspec.Meta(ge=0)]
    versions: dict[str, str]
    before: dict[str, float]
    history: dict[str, list[float]]
    model: str
    code: str


def _stored(results: ResultsFolder) -> _Record:
    """Read run.json."""
    found = results.description(RECORD, SCHEMA)
    assert found is not None
    try:
        numbers = {name: _sealed.numbers(found[name]) for name in ("before", "history") if name in found}
        record = _sealed.converted(found | numbers, _Record)
        if any(len(values) != record.epochs_done for values in record.history.values()):
            raise ValueError("its history has another number of epochs")
    except ValueError as error:
        raise results.damaged(RECORD, error) from error
    return record


def _resumed(results: ResultsFolder, typed: Mapping[str, Any], choice: Choice | None = None) -> Run:
    record, output = _stored(results), results.path
    stored, done = record.arguments, record.epochs_done
    others = [name for name, value in typed.items() if name != "epochs" and value != getattr(stored, name)]
    options = ["--" + name.replace("_", "-") for name in others]
    results.refuse_others(
        (f"{option} {getattr(stored, name)}" for option, name in zip(options, others, strict=True)),
        f"Resume it without {', '.join(options)}.",
    )
    stored = dataclasses.replace(stored, epochs=typed.get("epochs", stored.epochs))
    if stored.epochs < done:
        raise ValueError(
            f"The run in {output} has finished {done} epochs. Give at least as many with --epochs. Received: "
            f"{stored.epochs}."
        )
    backend = record.versions.get("backend")
    if backend != keras.backend.backend():
        raise ValueError(f"The run in {output} was trained on {backend}. Set KERAS_BACKEND={backend} to resume it.")
    choice = choice or stored.choice()
    if run_arguments.code_identity(choice) != record.code:
        raise ValueError(
            f"The run in {output} was started with other code in {stored.model} or {stored.dataset}. Restore the code, "
            "or start a new run with --overwrite."
        )
    data = choice.arrays(stored.seed)
    watch = Watch()
    if record.model and _files.digest(output / MODEL) == record.model:
        model = keras.models.load_model(output / MODEL)
        watch.resume(record.history, 0.0)
    elif not record.model or (output / CHECKPOINT).exists():  # the process was killed before it wrote both files
        model, _ = run_arguments.build(stored, choice, data)
    else:
        raise ValueError(
            f"{output / MODEL} is not the model that {RECORD} names: it is damaged, was replaced, or is missing. "
            "Restore it from a copy, or start a new run with --overwrite."
        )
    return Run(results, stored, choice, data, model, watch, before=record.before)


@dataclasses.dataclass
class Run:
    """A training run: its model, its data and its folder."""

    results: ResultsFolder
    arguments: Arguments
    choice: Choice
    data: tuple[Any, Any, Any, Any]
    model: Any
    watch: Watch
    before: dict[str, float]

    @property
    def output(self) -> Path:
        """Path of the folder."""
        return self.results.path

    @property
    def history(self) -> dict[str, list[float]]:
        """Values of all finished epochs by name."""
        return self.watch.history

    @property
    def epochs_done(self) -> int:
        """Number of finished epochs."""
        return self.watch.epochs

    def train(self) -> bool:
        """Train to the last epoch and write the results; return False if the user stopped the training early."""
        finished = True
        try:
            self.fit()
        except KeyboardInterrupt:
            if not self._go_back():
                return False
            finished = False
        self._finish()
        return finished

    def fit(self, verbose: str | int = "auto") -> None:
        """Train to the last epoch, with a checkpoint after each."""
        _backend.framework().disable_pipeline_tuning()
        x_train, y_train, x_test, y_test = self.data
        arguments = {
            "x": x_train,
            "y": y_train,
            "validation_data": (x_test, y_test),
            "batch_size": self.arguments.batch_size,
            "epochs": self.arguments.epochs,
            "initial_epoch": self.epochs_done,
            "verbose": verbose,
        }
        with self._errors_of_own_code():
            training.fit(
                self.model,
                arguments,
                self.arguments.seed,
                self.watch,
                callbacks=[EntropyLogger(log_dir=self.output / "logs")],
                observers=[_HistoryWriter(self)],
                checkpoint=self.output / CHECKPOINT,
                key=self.arguments.key,
            )

    @contextlib.contextmanager
    def _errors_of_own_code(self) -> Iterator[None]:
        """Turn what Keras and a backend raise for a model or data of the user into a `ValueError` that names both."""
        try:
            yield
        except (OSError, MemoryError):
            raise
        except Exception as error:
            if self.choice.own_model is None and self.choice.own_data is None:
                raise
            if not self.epochs_done:  # a mistake in the model or the data is no run to resume
                self.results.remove(*self.results.owns, *self.results.marks)
            raise ValueError(
                f"{self.arguments.model} cannot be trained on {self.arguments.dataset}: {described(error)}"
            ) from error

    def _go_back(self) -> bool:
        """Go back to the last finished epoch: the model in memory may be ahead. Return whether there is one."""
        earlier = _resumed(self.results, {}, self.choice)
        self.model, self.watch = earlier.model, earlier.watch
        checkpoint = Checkpoint(self.output / CHECKPOINT, self.arguments.key, [], self.watch)
        return checkpoint.restore(self.model) > 0 or self.epochs_done > 0

    def write_history(self) -> None:
        """Write the values of all finished epochs to history.csv."""
        _files.write_csv(self.output / "history.csv", _history_rows(self.history))

    def record(self) -> dict[str, Any]:
        """The content of run.json: how the run began, and what model.keras was trained for."""
        return {
            "arguments": dataclasses.asdict(self.arguments),
            "epochs_done": self.epochs_done,
            "versions": {
                "keras-entropy": keras_entropy.__version__,
                "keras": keras.__version__,
                "backend": keras.backend.backend(),
                "python": platform.python_version(),
            },
            "before": self.before,
            "history": self.history,
            "model": _files.digest(self.output / MODEL) if self.epochs_done else "",
            "code": run_arguments.code_identity(self.choice),
        }

    def _finish(self) -> None:
        with _files.replacing(self.output / MODEL) as temporary:
            self.model.save(temporary)
        self.results.describe(RECORD, SCHEMA, self.record())
        (self.output / CHECKPOINT).unlink(missing_ok=True)  # run.json and model.keras say the same
        self.write_history()  # after Ctrl-C it may be ahead
        rows: list[list[Any]] = [["path", "kind", "shape", "before", "after", "change", "unit", "penalised"]]
        for new in _measure(self.model):
            shape, old = "x".join(str(size) for size in new.shape), self.before[new.path]
            rows.append([new.path, new.kind, shape, old, new.mean, new.mean - old, new.unit, new.penalised])
        _files.write_csv(self.output / "layers.csv", rows)
        with _files.replacing(self.output / "entropy.png") as temporary:
            temporary.write_bytes(plots.png(plots.entropy_history(self.history)))
        _print_table(rows)
        if not all(map(math.isfinite, self.history["loss"])):
            first = next(i for i, loss in enumerate(self.history["loss"], 1) if not math.isfinite(loss))
            warnings.warn(
                f"The loss is NaN or infinite from epoch {first} on. Look for NaN in the data, or lower the learning "
                "rate or the factor.",
                EntropyWarning,
                stacklevel=2,
            )
        last = {name: values[-1] for name, values in self.history.items()}
        done = plural(self.epochs_done, "epoch")
        echo(f"{done}: task loss {last['task_loss']:.4f}, validation {last['val_task_loss']:.4f}")
        echo(f"Written to {self.output}: {', '.join(_FILES)}, logs/ (tensorboard --logdir {self.output / 'logs'})")


class _HistoryWriter(keras.callbacks.Callback):
    """Writes the history after each epoch."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._run.write_history()


def _measure(model: Any) -> list[WeightEntropy]:
    return [profile.measure_weight(weight, "log_volume") for weight in profile.measurable_weights(model)]


def _history_rows(history: dict[str, list[float]]) -> list[list[Any]]:
    names = list(history)
    return [["epoch", *names], *([i + 1, *row] for i, row in enumerate(zip(*history.values(), strict=True)))]


def _print_table(rows: list[list[Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Entropy change of each layer")
    shown = [i for i, name in enumerate(rows[0]) if name != "kind"]
    for i in shown:
        table.add_column(rows[0][i], justify="right" if rows[0][i] in ("before", "after", "change") else "left")
    for row in rows[1:]:
        table.add_row(
            *(f"{row[i]:.4f}" if isinstance(row[i], float) else Text(_checks.printable(str(row[i]))) for i in shown)
        )
    console = Console()
    Console(width=max(80, console.width)).print(table)
