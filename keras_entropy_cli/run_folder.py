"""A training run and its folder: create it, train it, resume it after a kill, and show what it learned."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import platform
from pathlib import Path
from typing import Any

import keras

import keras_entropy
from keras_entropy import _backend, _checks, _files, _optional, datasets, plots, profile
from keras_entropy.callbacks import EntropyLogger
from keras_entropy.placement import apply_entropy
from keras_entropy.profile import WeightEntropy
from keras_entropy.runs.data_order import Batches, EpochOrder
from keras_entropy.runs.interrupt import InterruptWatch
from keras_entropy.study.wording import plural
from keras_entropy_cli.presets import TERMS, NamedModel

SCHEMA = "keras-entropy/train/2"
# A run writes these, and event files in logs/. `overwrite` removes them and nothing else.
_FILES = ("run.json", "history.csv", "model.keras", "layers.csv", "entropy.png")
_CHECKPOINTS = "checkpoint-[0-9][0-9][0-9][0-9].keras"


@dataclasses.dataclass(frozen=True)
class Arguments:
    """The arguments that determine a run: the same arguments give the same run on the same machine."""

    dataset: str
    data_dir: str | None
    model: str
    placement: str
    regularizer: str
    factor: float
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int


def open_run(output: Path, arguments: Arguments, given: set[str], *, overwrite: bool, resume: bool) -> Run:
    """Create a run in `output`, or open the one that is there to resume it.

    Args:
        output: the folder of the run.
        arguments: the arguments of the command. With `resume`, those that are not in `given` come from the run.
        given: names of the arguments that the user typed.
        overwrite: whether to replace an earlier run.
        resume: whether to continue an earlier run.

    Raises:
        FileExistsError: if the folder is not empty, without `overwrite` or `resume`.
        FileNotFoundError: if there is no run to resume, or no data.
        ValueError: if the arguments contradict the run to resume, or do not fit together.
    """
    if resume:
        return _resume(output, arguments, given)
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"{output} is a file. Name a folder with --output.")
    if output.is_dir() and not _files.is_empty(output):
        if not overwrite:
            raise FileExistsError(
                f"{output} is not empty. Use --overwrite to replace the run in it, --resume to continue it, or "
                "--output for another folder."
            )
        if not (output / "run.json").is_file():
            raise FileExistsError(f"{output} is not the folder of a run. Name another folder with --output.")
    _optional.require("tensorboard", extra="tensorboard")
    _optional.require("matplotlib", extra="plot")
    keras.utils.set_random_seed(arguments.seed)
    data = datasets.load(arguments.dataset, arguments.data_dir, arguments.seed)
    model = _build(arguments, data)
    output.mkdir(parents=True, exist_ok=True)
    if overwrite:  # only now that all arguments have proved valid
        _remove_run(output)
    run = Run(output, arguments, data, model, history={}, before={e.path: e.mean for e in _measure(model)})
    # If two processes start at once, this fails in one of them.
    _files.create_json(output / "run.json", run.record(checkpoint=None))
    return run


def _resume(output: Path, arguments: Arguments, given: set[str]) -> Run:
    record = _read_record(output)
    stored = Arguments(**record["arguments"])
    for field in dataclasses.fields(Arguments):
        old, new = getattr(stored, field.name), getattr(arguments, field.name)
        if field.name in given and field.name != "epochs" and old != new:
            option = "--" + field.name.replace("_", "-")
            raise ValueError(f"The run in {output} has {option} {old}. Resume it without {option} {new}.")
    if "epochs" in given:
        stored = dataclasses.replace(stored, epochs=arguments.epochs)
    if stored.epochs < record["epochs_done"]:
        raise ValueError(
            f"The run in {output} has finished {record['epochs_done']} epochs. Give at least as many with --epochs. "
            f"Received: {stored.epochs}."
        )
    backend = record["versions"]["backend"]
    if backend != keras.backend.backend():
        raise ValueError(f"The run in {output} was trained on {backend}. Set KERAS_BACKEND={backend} to resume it.")
    keras.utils.set_random_seed(stored.seed)
    data = datasets.load(stored.dataset, stored.data_dir, stored.seed)
    checkpoint = record["checkpoint"]
    model = _build(stored, data) if checkpoint is None else keras.models.load_model(output / checkpoint)
    return Run(output, stored, data, model, history=record["history"], before=record["before"])


def _read_record(output: Path) -> dict[str, Any]:
    path = output / "run.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{output} holds no run to resume: it has no run.json. Run the command without --resume."
        ) from error
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is corrupted ({error}). Start a new run with --overwrite.") from error
    needed = {"schema", "arguments", "epochs_done", "checkpoint", "versions", "before", "history"}
    if not isinstance(record, dict) or not needed <= record.keys():
        raise ValueError(f"{path} is not the record of a run. Start a new run with --overwrite, or in another folder.")
    if record["schema"] != SCHEMA:
        raise ValueError(
            f"{path} has schema {record['schema']!r}. This version reads {SCHEMA!r}. Start a new run in another folder."
        )
    return record


@dataclasses.dataclass
class Run:
    """A training run: its model, its data and its folder."""

    output: Path
    arguments: Arguments
    data: datasets.Dataset
    model: Any
    history: dict[str, list[float]]
    before: dict[str, float]

    @property
    def epochs_done(self) -> int:
        """Number of finished epochs."""
        return len(self.history.get("loss", ()))

    def train(self) -> bool:
        """Train to the last epoch and write the results; return False if the user stopped the training early."""
        _files.remove_partial(self.output)
        _backend.framework().disable_pipeline_tuning()
        finished = True
        x_train, y_train, x_test, y_test = self.data
        if self.arguments.model == "autoencoder":
            y_train, y_test = x_train, x_test
        batches = Batches(x_train, y_train, self.arguments.batch_size, self.arguments.seed)
        order = EpochOrder(self.arguments.seed, batches)
        try:
            with InterruptWatch() as watch:
                self.model.fit(
                    batches,
                    validation_data=(x_test, y_test),
                    validation_batch_size=256,
                    epochs=self.arguments.epochs,
                    initial_epoch=self.epochs_done,
                    shuffle=False,  # EpochOrder shuffles, in the same order after a resume
                    callbacks=[order, EntropyLogger(log_dir=self.output / "logs"), _Committer(self), watch],
                )
        except KeyboardInterrupt:
            finished = False  # the model in memory may be ahead of the last recorded epoch
            record = _read_record(self.output)
            if record["checkpoint"] is None:
                return False
            self.history = record["history"]
            self.model = keras.models.load_model(self.output / record["checkpoint"])
        self._finish()
        return finished

    def record_epoch(self, logs: dict[str, Any]) -> None:
        """Add an epoch to the history and save it. A kill after this method returns cannot undo the epoch."""
        for name, value in logs.items():
            self.history.setdefault(name, []).append(float(value))
        _write_csv(self.output / "history.csv", _history_rows(self.history))
        self._commit(f"checkpoint-{self.epochs_done:04d}.keras")

    def _commit(self, checkpoint: str) -> None:
        """Write the checkpoint, then run.json, which names it: run.json is consistent after a kill at any moment."""
        with _files.replacing(self.output / checkpoint) as temporary:
            self.model.save(temporary)
        self._write_record(checkpoint)

    def record(self, checkpoint: str | None) -> dict[str, Any]:
        """The content of run.json: all that resuming needs, with the model file of the last finished epoch."""
        return {
            "schema": SCHEMA,
            "arguments": dataclasses.asdict(self.arguments),
            "epochs_done": self.epochs_done,
            "checkpoint": checkpoint,
            "versions": {
                "keras-entropy": keras_entropy.__version__,
                "keras": keras.__version__,
                "backend": keras.backend.backend(),
                "python": platform.python_version(),
            },
            "before": self.before,
            "history": self.history,
        }

    def _write_record(self, checkpoint: str) -> None:
        _files.write_json(self.output / "run.json", self.record(checkpoint))
        for old in self.output.glob(_CHECKPOINTS):
            if old.name != checkpoint:
                old.unlink()

    def _finish(self) -> None:
        with _files.replacing(self.output / "model.keras") as temporary:
            self.model.save(temporary)
        self._write_record("model.keras")
        _write_csv(self.output / "history.csv", _history_rows(self.history))  # after Ctrl-C it may be ahead
        rows: list[list[Any]] = [["path", "kind", "shape", "before", "after", "change", "unit", "penalised"]]
        for new in _measure(self.model):
            shape, old = "x".join(str(size) for size in new.shape), self.before[new.path]
            rows.append([new.path, new.kind, shape, old, new.mean, new.mean - old, new.unit, new.penalised])
        _write_csv(self.output / "layers.csv", rows)
        with _files.replacing(self.output / "entropy.png") as temporary:
            temporary.write_bytes(plots.png(plots.entropy_history(self.history)))
        _print_table(rows)
        last = {name: values[-1] for name, values in self.history.items()}
        done = plural(self.epochs_done, "epoch")
        print(f"{done}: task loss {last['task_loss']:.4f}, validation {last['val_task_loss']:.4f}")
        print(f"Written to {self.output}: {', '.join(_FILES)}, logs/ (tensorboard --logdir {self.output / 'logs'})")


class _Committer(keras.callbacks.Callback):
    """Records each epoch in the folder of the run."""

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert self.model is not None  # on JAX, reading the property updates the weights
        self._run.record_epoch(logs or {})


def _build(arguments: Arguments, data: datasets.Dataset) -> Any:
    build = NamedModel(arguments.model, data.x_train.shape[1:], len(data.class_names))
    model = build(arguments.learning_rate)
    kind = TERMS[_checks.one_of("regularizer", arguments.regularizer, TERMS)]
    apply_entropy(model, arguments.placement, kind(arguments.factor))
    return model


def _measure(model: Any) -> list[WeightEntropy]:
    return [profile.measure_weight(weight) for weight in profile.measurable_weights(model)]


def _remove_run(output: Path) -> None:
    for path in [*(output / name for name in _FILES), *output.glob(_CHECKPOINTS)]:
        path.unlink(missing_ok=True)
    for path in (output / "logs").glob("events.out.tfevents.*"):
        path.unlink()


def _history_rows(history: dict[str, list[float]]) -> list[list[Any]]:
    names = list(history)
    return [["epoch", *names], *([i + 1, *row] for i, row in enumerate(zip(*history.values(), strict=True)))]


def _write_csv(path: Path, rows: list[list[Any]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    _files.write_text(path, text.getvalue())


def _print_table(rows: list[list[Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Entropy change of each layer")
    shown = [i for i, name in enumerate(rows[0]) if name != "kind"]
    for i in shown:
        table.add_column(rows[0][i], justify="right" if rows[0][i] in ("before", "after", "change") else "left")
    for row in rows[1:]:
        table.add_row(*(f"{row[i]:.4f}" if isinstance(row[i], float) else str(row[i]) for i in shown))
    console = Console()
    Console(width=max(80, console.width)).print(table)
