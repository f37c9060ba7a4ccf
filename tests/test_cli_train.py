"""`keras-entropy train`."""

import contextlib
import csv
import gc
import json
import math
import os
import re
import shutil
import signal
import sys
from concurrent.futures import BrokenExecutor, ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest
from child_command import child_command, interrupt, wait_until
from filelock import FileLock
from quick import quick_training
from typer.testing import CliRunner

from conftest import BLOCKED

pytest.importorskip("sklearn", reason="the digits need scikit-learn")

from keras_entropy import EntropyWarning
from keras_entropy.study import environment
from keras_entropy_cli.app import app

FILES = {"run.json", "history.csv", "model.keras", "layers.csv", "entropy.png", "logs", ".lock"}


def command(*arguments):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


def table(path):
    with path.open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def quick():
    with quick_training():
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Four epochs on all digits."""
    output = tmp_path_factory.mktemp("run") / "out"
    result = command("--epochs", 4, "--output", output)
    assert result.exit_code == 0, result.output
    return output, result.output


def test_a_run_leaves_what_it_promises(trained):
    output, printed = trained

    assert {path.name for path in output.iterdir()} == FILES
    history = table(output / "history.csv")
    assert [row["epoch"] for row in history] == ["1", "2", "3", "4"]
    assert {"loss", "task_loss", "val_task_loss", "entropy/conv1", "entropy/conv2", "entropy/head"} <= set(history[0])
    layers = {row["path"]: row for row in table(output / "layers.csv")}
    assert float(layers["conv1"]["after"]) == float(history[-1]["entropy/conv1"])
    assert [row["penalised"] for row in layers.values()] == ["True", "False", "False"]
    model = keras.models.load_model(output / "model.keras")
    assert model.get_layer("conv1").kernel_regularizer.factor == 1e-3
    assert "Entropy change of each layer" in printed
    assert json.loads((output / "run.json").read_text())["schema"] == "keras-entropy/train/5"
    assert (output / "entropy.png").read_bytes().startswith(b"\x89PNG")


def test_it_learns(trained):
    assert float(table(trained[0] / "history.csv")[-1]["val_accuracy"]) > 0.5  # by chance it would be 0.1


def test_a_second_run_refuses_and_loses_nothing(trained):
    output, _ = trained
    before = {path: path.read_bytes() for path in output.iterdir() if path.is_file()}

    result = command("--output", output)

    assert result.exit_code == 2
    assert "holds a run. Use --overwrite" in result.output
    assert "--overwrite" in result.output
    assert {path: path.read_bytes() for path in output.iterdir() if path.is_file()} == before


@pytest.mark.usefixtures("quick")
def test_overwrite_replaces_a_run_and_nothing_else(tmp_path):
    for factor in (1e-3, 1e-2):
        result = command("--epochs", 1, "--factor", factor, "--output", tmp_path / "a", "--overwrite")
        assert result.exit_code == 0, result.output
        for name in ("notes.txt", "checkpoint-best.keras"):
            (tmp_path / "a" / name).write_text("mine")
    assert json.loads((tmp_path / "a" / "run.json").read_text())["arguments"]["factor"] == 1e-2
    for name in ("notes.txt", "checkpoint-best.keras"):
        assert (tmp_path / "a" / name).read_text() == "mine"

    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.tex").write_text("mine")
    result = command("--output", tmp_path / "b", "--overwrite")
    assert result.exit_code == 2
    assert "holds other files (thesis.tex), and no run" in result.output

    result = command("--output", tmp_path / "a", "--overwrite", "--placement", "nowhere")
    assert result.exit_code == 2  # a mistake in the arguments costs nothing
    assert (tmp_path / "a" / "model.keras").exists()


OWN = """
import keras
import numpy as np

def build(width=4):
    model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(width, "relu"),
                              keras.layers.Dense(3, "softmax")])
    model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy")
    return model

def tuned(hp):
    return build()

def wrong():
    return keras.Sequential([keras.Input((5,))])

def other():
    model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(4)])
    model.compile("sgd", "mse")
    return model

def linear():
    model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Flatten(), keras.layers.Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model

def broken():
    return {}["width"]

def data(seed):
    x = np.random.default_rng(seed).normal(size=(24, 6, 6, 1)).astype("float32")
    y = np.arange(24) % 3
    return x[:16], y[:16], x[16:], y[16:]

def nan():
    x, y, x_val, y_val = data(0)
    return x * float("nan"), y, x_val, y_val

def real():
    x, y, x_val, y_val = data(0)
    return x, y / 2, x_val, y_val / 2
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with functions of the user's own, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    yield tmp_path
    sys.modules.pop("user_own", None)


def test_a_model_and_data_of_ones_own(own, monkeypatch):
    result = command("--model", "own.py:build", "--dataset", "own.py:data", "--epochs", 1, "--output", "out")
    assert result.exit_code == 0, result.output
    arguments = json.loads((own / "out" / "run.json").read_text())["arguments"]
    assert (arguments["regularizer"], arguments["learning_rate"]) == ("DenseEntropy", None)
    model = keras.models.load_model(own / "out" / "model.keras")
    assert model.optimizer.get_config()["name"].lower() == "sgd"
    assert model.get_layer("dense").kernel_regularizer.factor == 1e-3

    (own / "elsewhere").mkdir()
    monkeypatch.chdir(own / "elsewhere")  # the run knows where its code is
    again = command("--resume", "--epochs", 2, "--output", own / "out")
    assert again.exit_code == 0, again.output

    sys.modules.pop("user_own")
    (own / "own.py").write_text(OWN.replace("0.05", "0.1"))
    refused = command("--resume", "--epochs", 3, "--output", own / "out")
    assert refused.exit_code == 2
    assert "was started with other code in" in refused.output
    assert len(table(own / "out" / "history.csv")) == 2


def test_data_of_ones_own_train_the_models_of_the_command(own):
    for model, size in (("cnn", 3), ("autoencoder", 36)):
        result = command("--model", model, "--dataset", "own.py:data", "--epochs", 1, "--output", own / model)
        assert result.exit_code == 0, result.output
        assert math.prod(keras.models.load_model(own / model / "model.keras").output_shape[1:]) == size


@pytest.mark.parametrize(
    ("model", "dataset", "rest", "words"),
    [
        ("cnm", "own.py:data", (), "It should be autoencoder, cnn"),
        ("own.py:no", "own.py:data", (), "own.py has no function 'no'"),
        ("own.py:build", "no.py:data", (), "--dataset should name a Python file that exists"),
        ("own.py:tuned", "own.py:data", (), "--model should name a function without arguments"),
        ("own.py:wrong", "own.py:data", (), "is not compiled. Call model.compile"),
        ("own.py:broken", "own.py:data", (), "own.py, line 28: KeyError: 'width'"),
        ("own.py:build", "own.py:data", ("--learning-rate", 0.1), "--learning-rate is for autoencoder, cnn"),
        ("cnn", "own.py:real", (), "cnn needs labels, integers from 0"),
        ("own.py:other", "own.py:data", (), "own.py:other cannot be trained on"),
    ],
)
def test_what_ones_own_code_lacks_is_one_line(model, dataset, rest, words, own):
    result = command("--model", model, "--dataset", dataset, "--epochs", 1, "--output", own / "out", *rest)

    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert words in result.output
    assert not (own / "out" / "run.json").exists()


def test_a_corrected_run_needs_no_overwrite(own):
    arguments = ("--dataset", "own.py:data", "--epochs", 1, "--output", own / "out")
    assert command("--model", "own.py:other", *arguments).exit_code == 2
    assert command("--model", "own.py:build", *arguments).exit_code == 0


def test_a_loss_of_nan_is_said(own):
    with (
        pytest.warns(EntropyWarning, match="`data` holds NaN or infinite numbers: 576 in x_train. A run may"),
        pytest.warns(EntropyWarning, match="The loss is NaN or infinite from epoch 1 on. Look for NaN in the data"),
    ):
        command("--model", "own.py:linear", "--dataset", "own.py:nan", "--epochs", 1, "--output", own / "out")


@pytest.mark.parametrize("wish", ["--resume", "--overwrite"])
@pytest.mark.usefixtures("quick")
def test_a_folder_in_work_is_refused_and_loses_nothing(wish, trained):
    output, _ = trained
    before = {path: path.read_bytes() for path in output.iterdir() if path.is_file()}
    with FileLock(output / ".lock"):
        result = command("--epochs", 5, "--output", output, wish)

    assert result.exit_code == 2
    assert result.output == f"Error: Another process works on {output}. Wait until it ends, or stop it.\n"
    assert {path: path.read_bytes() for path in output.iterdir() if path.is_file()} == before


@pytest.mark.processes
def test_a_second_command_on_a_run_in_work_gets_one_line_and_the_run_goes_on(tmp_path, child_environment):
    output = tmp_path / "out"
    with child_command(child_environment, "train", "--epochs", 1000, "--output", output) as child:
        wait_until((output / "checkpoint.npz").exists, child)
        for wish in ("--resume", "--overwrite"):
            result = command("--epochs", 1000, "--output", output, wish)
            assert result.exit_code == 2
            assert f"Error: Another process works on {output} (process {child.pid} on " in result.output
            assert "--epochs 1000" in result.output
            assert result.output.count("\n") == 1
        seen = (output / "checkpoint.npz").stat().st_mtime_ns
        wait_until(lambda: (output / "checkpoint.npz").stat().st_mtime_ns > seen, child)
        child.kill()
    done = len(table(output / "history.csv"))
    assert command("--output", output, "--resume", "--epochs", done + 1).exit_code == 0


@pytest.mark.usefixtures("quick")
def test_the_folder_is_locked_while_a_run_trains(tmp_path, monkeypatch):
    from keras_entropy_cli import run_folder

    said = []

    def train(run):
        said.append(command("--output", tmp_path, "--resume").output)
        return True

    monkeypatch.setattr(run_folder.Run, "train", train)
    assert command("--output", tmp_path).exit_code == 0
    assert f"Another process works on {tmp_path} (process {os.getpid()} on" in said[0]


@pytest.mark.usefixtures("quick")
def test_a_run_that_another_process_has_made_meanwhile_is_not_replaced(tmp_path, monkeypatch):
    from keras_entropy_cli import run_folder

    new = run_folder._new

    def slow(results, arguments):
        (tmp_path / "run.json").write_text("the other's")
        return new(results, arguments)

    monkeypatch.setattr(run_folder, "_new", slow)
    result = command("--output", tmp_path)
    assert result.exit_code == 2
    assert "holds a run. Use --overwrite" in result.output
    assert (tmp_path / "run.json").read_text() == "the other's"


@pytest.mark.usefixtures("quick")
def test_a_run_needs_no_hard_links(tmp_path, monkeypatch):
    def link(*_, **__):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    result = command(*TWO_EPOCHS, "--output", tmp_path)
    assert result.exit_code == 0, result.output


@pytest.mark.usefixtures("quick")
def test_a_run_killed_before_its_record_was_there_is_started_anew(tmp_path):
    (tmp_path / ".partial-123-run.json").write_text("{")

    assert command("--output", tmp_path, "--epochs", 1).exit_code == 0


class Killed(BaseException):
    """The process is dead."""


@contextlib.contextmanager
def killed_at(change, folder):
    """Die before the change of that number to the files in a folder. A dead process does not clean up either.

    Yields the list of all changes.
    """
    changes = []

    def dies(act):
        def act_or_die(path, *args, **kwargs):
            if Path(path).is_relative_to(folder) and Path(path).exists():
                changes.append(f"{act.__name__} {path}")
                if len(changes) > change:
                    raise Killed
            return act(path, *args, **kwargs)

        return act_or_die

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((Path, "replace"), (Path, "unlink")):
            patch.setattr(owner, name, dies(getattr(owner, name)))
        yield changes


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Two quick epochs without a kill."""
    output = tmp_path_factory.mktemp("whole") / "out"
    with quick_training(), killed_at(math.inf, output) as changes:
        result = command(*TWO_EPOCHS, "--output", output)
    assert result.exit_code == 0, result.output
    return output, len(changes)


CHANGES = 13
TWO_EPOCHS = ["--model", "autoencoder", "--epochs", 2, "--batch-size", 64]


def test_a_run_changes_its_files_this_often(whole):
    assert whole[1] == CHANGES


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("change", range(CHANGES))
def test_a_run_killed_at_any_change_of_its_files_resumes_to_the_same_bits(whole, change, tmp_path):
    output = tmp_path / "out"
    with killed_at(change, output), pytest.raises(Killed):
        command(*TWO_EPOCHS, "--output", output)

    if (output / "run.json").exists():
        result = command("--output", output, "--resume")
    else:
        result = command(*TWO_EPOCHS, "--output", output)

    assert result.exit_code == 0, result.output
    check_same(output, whole[0])


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """One of the two epochs, at its end."""
    output = tmp_path_factory.mktemp("half") / "out"
    with quick_training():
        assert command(*TWO_EPOCHS, "--epochs", 1, "--output", output).exit_code == 0
    return output


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("change", range(9))
def test_a_resumed_run_killed_at_any_change_resumes_to_the_same_bits(whole, half, change, tmp_path):
    output = tmp_path / "out"
    shutil.copytree(half, output)
    with killed_at(change, output), pytest.raises(Killed):
        command("--output", output, "--resume", "--epochs", 2)
    result = command("--output", output, "--resume", "--epochs", 2)
    assert result.exit_code == 0, result.output
    check_same(output, whole[0])


@pytest.mark.usefixtures("quick")
def test_a_changed_bit_is_refused_or_changes_nothing(whole, half, tmp_path):
    for name in ("run.json", "model.keras"):
        content = (half / name).read_bytes()
        for place in np.random.default_rng(0).integers(len(content) * 8, size=6):
            output = tmp_path / f"{name}{place}"
            shutil.copytree(half, output)
            damaged = bytearray(content)
            damaged[place // 8] ^= 1 << place % 8
            (output / name).write_bytes(damaged)
            result = command("--output", output, "--resume", "--epochs", 2)
            if result.exit_code == 0:
                check_same(output, whole[0])
            else:
                assert result.exit_code == 2
                assert re.search(f"Error: .*{name}", result.stderr)
                assert len(result.stderr.splitlines()) == 1


def check_same(output, expected):
    assert {path.name for path in output.iterdir()} == FILES
    assert (output / "history.csv").read_text() == (expected / "history.csv").read_text()
    weights = [keras.models.load_model(folder / "model.keras").get_weights() for folder in (expected, output)]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.processes
def test_a_killed_run_resumes_to_the_same_bits(trained, tmp_path, child_environment):
    with child_command(child_environment, "train", "--epochs", 4, "--output", tmp_path / "out") as child:
        wait_until((tmp_path / "out" / "checkpoint.npz").exists, child)
        child.kill()
    (tmp_path / "out" / ".partial-torn.keras").write_bytes(b"half a file")

    result = command("--output", tmp_path / "out", "--resume")

    assert result.exit_code == 0, result.output
    check_same(tmp_path / "out", trained[0])


@pytest.fixture
def elsewhere(monkeypatch):
    """In place of Dask's workers, a thread; returns the folders and the numbers of trained epochs of all trainings."""
    from keras_entropy_cli import options
    from keras_entropy_cli.run_folder import Run

    fit, trained = Run.fit, []

    def counted(run, **how):
        batches = []
        count = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: batches.append(1))
        monkeypatch.setattr("keras_entropy_cli.run_folder._HistoryWriter", lambda run: count)
        fit(run, **how)
        trained.append((run.output, len(batches)))

    @contextlib.contextmanager
    def executor_of(address):
        with ThreadPoolExecutor(1) as executor:
            yield None if address is None else executor

    monkeypatch.setattr(Run, "fit", counted)
    monkeypatch.setattr(options, "executor_of", executor_of)
    return trained


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("interrupted", [False, True])
def test_a_run_on_an_executor_has_the_bits_of_one_here(interrupted, whole, tmp_path, elsewhere):
    output = tmp_path / "out"
    again = [*TWO_EPOCHS, "--output", output]
    if interrupted:  # after its first checkpoint
        with killed_at(3, output), pytest.raises(Killed):
            command(*again)
        assert (output / "checkpoint.npz").exists()
        again = ["--output", output, "--resume"]
    result = command(*again, "--scheduler", "tcp://10.0.0.1:8786")

    assert result.exit_code == 0, result.output
    there, here = elsewhere[-2:]
    assert there[1] == 1 if interrupted else 2
    assert not there[0].exists()
    assert here == (output, 0)
    check_same(output, whole[0])
    more = command("--output", output, "--resume", "--epochs", 3, "--scheduler", "tcp://10.0.0.1:8786")
    assert more.exit_code == 0, more.output
    assert [epochs for _, epochs in elsewhere[-2:]] == [1, 0]
    assert len(table(output / "history.csv")) == 3


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (BrokenExecutor("all workers died"), "failed on the executor: BrokenExecutor: all workers died"),
        (FileNotFoundError("no folder there"), "no folder there"),
        (KeyboardInterrupt(), "Stopped after 0 of 2 epochs"),
    ],
)
def test_a_worker_that_dies_leaves_a_run_that_resumes(error, words, tmp_path, monkeypatch, elsewhere):
    from keras_entropy_cli import remote_run

    def fails(files, choice):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(remote_run, "_train", fails)
        result = command(*TWO_EPOCHS, "--output", tmp_path / "out", "--scheduler", "tcp://10.0.0.1:8786")
    assert result.exit_code in (2, 130)
    assert words in " ".join(result.output.split())
    assert "--resume" in result.output or isinstance(error, OSError)
    assert command("--output", tmp_path / "out", "--resume").exit_code == 0


@pytest.mark.usefixtures("quick")
def test_a_scheduler_that_is_not_there_costs_no_earlier_run(tmp_path, monkeypatch):
    pytest.importorskip("distributed", reason="needs dask[distributed]")
    monkeypatch.setattr("keras_entropy_cli.options._TIMEOUT", "1s")
    (tmp_path / "run.json").write_text("old")
    result = command("--output", tmp_path, "--overwrite", "--scheduler", "tcp://127.0.0.1:9")
    assert result.exit_code == 2
    assert "--scheduler should be the address of a Dask scheduler" in " ".join(result.output.split())
    assert (tmp_path / "run.json").read_text() == "old"


@pytest.mark.processes
@pytest.mark.slow
def test_dask_trains_a_run_to_the_same_bits(trained, own, tmp_path, monkeypatch):
    distributed = pytest.importorskip("distributed", reason="needs dask[distributed]")
    for name, value in environment().items():
        monkeypatch.setenv(name, value)  # before the workers start
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        arguments = ["--epochs", 4, "--output", tmp_path / "out", "--scheduler", cluster.scheduler_address]
        result = command(*arguments)
        mine = ["--model", "own.py:build", "--dataset", "own.py:data", "--epochs", 2, "--output"]
        remote = command(*mine, own / "remote", "--scheduler", cluster.scheduler_address)
    local = command(*mine, own / "local")

    assert result.exit_code == 0, result.output
    assert "Entropy change of each layer" in result.output
    check_same(tmp_path / "out", trained[0])
    assert (local.exit_code, remote.exit_code) == (0, 0), remote.output
    assert (own / "remote" / "history.csv").read_bytes() == (own / "local" / "history.csv").read_bytes()


@pytest.mark.processes
def test_ctrl_c_leaves_what_was_finished(tmp_path, child_environment):
    with child_command(child_environment, "train", "--epochs", 1000, "--output", tmp_path / "out") as child:
        wait_until((tmp_path / "out" / "checkpoint.npz").exists, child)
        errors = interrupt(child)

    assert child.returncode == 130
    assert "--resume" in errors
    assert "Traceback" not in errors
    done = len(table(tmp_path / "out" / "history.csv"))
    assert f"Stopped after {done} of 1000 epochs" in errors
    assert {path.name for path in (tmp_path / "out").iterdir()} == FILES
    result = command("--output", tmp_path / "out", "--resume", "--epochs", done + 1)
    assert result.exit_code == 0, result.output
    assert len(table(tmp_path / "out" / "history.csv")) == done + 1


@pytest.mark.usefixtures("quick")
def test_a_ctrl_c_that_hits_the_garbage_collector_is_not_lost(tmp_path):
    def hit(phase, info):
        if (tmp_path / "out" / "checkpoint.npz").exists():
            gc.callbacks.remove(hit)
            signal.raise_signal(signal.SIGINT)

    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.callbacks.append(hit)
    try:
        result = command("--output", tmp_path / "out", "--epochs", 30)
        assert hit not in gc.callbacks
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, handler)

    assert result.exit_code == 130, result.output
    assert "--resume" in result.output


def test_resume_goes_beyond_a_finished_run_but_not_against_it(trained):
    output, _ = trained
    result = command("--output", output, "--resume", "--factor", 3)
    assert result.exit_code == 2
    assert "--factor 0.001. Resume it without --factor." in result.output

    result = command("--output", output, "--resume", "--epochs", 2)
    assert result.exit_code == 2
    assert "finished 4 epochs" in result.output


@pytest.mark.parametrize("text", ["", '{"schema": "keras-', "[]", "{}"])
def test_a_damaged_record_is_named(text, tmp_path):
    (tmp_path / "run.json").write_text(text)

    result = command("--output", tmp_path, "--resume")

    assert result.exit_code == 2
    assert "run.json does not describe a run" in result.output
    assert "--overwrite" in result.output


def test_an_output_that_cannot_be_a_folder(tmp_path):
    (tmp_path / "file").write_text("mine")
    for output in (tmp_path / "file", tmp_path / "file" / "sub"):
        result = command("--output", output)
        assert result.exit_code == 2
        assert "Error:" in result.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--resume"], "no run to resume"),
        (["--dataset", "mnist", "--data-dir", "/nowhere"], "tfds build"),
        (["--dataset", "/no/folder"], "no image folder /no/folder"),
        (["--dataset", "spirals"], "needs images"),
        (["--placement", "conv7"], "conv1, conv2"),
        (["--model", "autoencoder", "--regularizer", "ConvCornerEntropy"], "ConvCornerEntropy can act on"),
        (["--factor", "nan"], "`factor`"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(arguments, words, tmp_path):
    result = command("--output", tmp_path / "out", *arguments)

    assert result.exit_code == 2
    assert words in result.output
    assert isinstance(result.exception, SystemExit)
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("placement", ["none", "all"])
def test_autoencoders_and_placements(placement, tmp_path):
    result = command("--model", "autoencoder", "--placement", placement, "--epochs", 1, "--output", tmp_path / "out")

    assert result.exit_code == 0, result.output
    penalised = [row["penalised"] for row in table(tmp_path / "out" / "layers.csv")]
    assert penalised == [str(placement == "all")] * 2


@pytest.mark.data
@pytest.mark.skipif(BLOCKED, reason="prepared sets need TensorFlow")
@pytest.mark.slow
def test_mnist(data_folder, tmp_path):
    result = command(
        "--dataset", "mnist", "--data-dir", data_folder / "tfds", "--model", "autoencoder", "--epochs", 1,
        "--batch-size", 500, "--output", tmp_path / "out",
    )  # fmt: skip

    assert result.exit_code == 0, result.output
    assert float(table(tmp_path / "out" / "history.csv")[0]["val_task_loss"]) < 0.1
