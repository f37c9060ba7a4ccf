"""`keras-entropy search`."""

import csv
import json
import subprocess
import sys

import keras
import numpy as np
import pytest
from quick import inline_pool, quick_training
from typer.testing import CliRunner

pytest.importorskip("sklearn", reason="the digits need scikit-learn")

from keras_entropy import datasets
from keras_entropy_cli.app import app

QUICK = ["--max-trials", 2, "--epochs", 1, "--seeds", 1, "--holdout-seeds", 2, "--batch-size", 64, "--workers", 1]


def command(*arguments):
    return CliRunner().invoke(app, ["search", *map(str, arguments)])


@pytest.fixture
def quick():
    with quick_training(), inline_pool():
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("search") / "out"
    with quick_training(), inline_pool():
        result = command(*QUICK, "--output", folder)
    assert result.exit_code == 0, result.output
    return folder, result.output


def test_it_ends_with_a_conclusion(done):
    folder, printed = done
    conclusion = json.loads((folder / "result.json").read_text())
    assert "\n".join(conclusion["sentences"]) in printed
    assert {name: budget["trials"] for name, budget in conclusion["budgets"].items()} == {
        "entropy": 2, "baseline": 2, "soft orthogonality": 2
    }  # fmt: skip
    with (folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["contender"], row["trial"]) for row in rows] == [
        (name, trial) for name in ("entropy", "baseline", "soft orthogonality") for trial in "01"
    ]
    assert {row["entropy/regularizer"] for row in rows[:2]} <= {"ConvCornerEntropy", "ConvEntropy"}
    assert {row["optimizer"] for row in rows} <= {"adam", "muon"}


@pytest.mark.usefixtures("quick")
def test_the_best_model_takes_the_inputs_of_the_data_set(done):
    """All runs have standardised inputs; the saved model standardises them itself."""
    folder, printed = done
    winner = json.loads((folder / "result.json").read_text())["winner"]
    with (folder / "trials.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["contender"] == winner]
    best = min(rows, key=lambda row: float(row["val_task_loss"]))
    images = datasets.load("digits")

    model = keras.saving.load_model(folder / "best_model.keras")

    found = model.evaluate(images.x_test, images.y_test, batch_size=64, verbose=0, return_dict=True)
    assert found["accuracy"] == pytest.approx(float(best["val_accuracy"]), abs=1e-6)
    assert "takes the inputs of the data set as they are: it makes them standardised itself." in printed


@pytest.mark.usefixtures("quick")
def test_a_folder_with_a_search_is_replaced_or_gone_on_with_only_if_asked(done):
    folder, _ = done
    before = (folder / "search" / "entropy" / "oracle.json").read_bytes()
    refused = command(*QUICK, "--output", folder)
    assert refused.exit_code == 2
    assert "--resume" in refused.output
    assert (folder / "search" / "entropy" / "oracle.json").read_bytes() == before
    again = command(*QUICK, "--output", folder, "--resume")
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize(
    ("arguments", "mean", "deviation"),
    [
        ([], 0, 1),
        (["--model", "autoencoder"], 0, None),
        (["--inputs", "unchanged"], None, None),
        (["--inputs", "centred"], 0, None),
        (["--model", "mine.py:build"], None, None),
    ],
)
def test_the_inputs_are_changed_alike_in_all_runs_and_the_targets_are_not(
    arguments, mean, deviation, tmp_path, monkeypatch
):
    found = []

    def search(hypermodel, data, **options):
        found.extend(data)
        raise ValueError("seen")

    monkeypatch.setattr("keras_entropy.tuning.search", search)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(OWN)
    result = command(*QUICK, "--output", tmp_path / "out", *arguments)

    digits = datasets.digits()
    assert "seen" in result.output
    x, y, x_val, _ = found
    np.testing.assert_allclose(x.mean(), digits.x_train.mean() if mean is None else mean, atol=1e-5)
    np.testing.assert_allclose(x.std(), digits.x_train.std() if deviation is None else deviation, rtol=1e-5)
    slope = np.polyfit(digits.x_test.ravel(), x_val.ravel(), 1)  # as the training inputs, not by its own statistics
    np.testing.assert_allclose(slope, np.polyfit(digits.x_train.ravel(), x.ravel(), 1), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(y, digits.x_train if "autoencoder" in arguments else digits.y_train)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--resume"], "holds no search to resume"),
        (["--dataset", "spirals"], "needs images"),
        (["--dataset", "nothing"], "nothing"),
        (["--model", "nothing.py:build"], "a Python file that exists"),
        (["--model", "build"], "It should be autoencoder, cnn"),
        (["--model", "no_such:build"], "Cannot import no_such"),
    ],
)
def test_what_a_user_can_mend_is_one_line(arguments, words, tmp_path):
    result = command(*QUICK, "--output", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert words in result.output
    assert isinstance(result.exception, SystemExit)
    assert not (tmp_path / "out").exists()


OWN = """
import keras

def build(hp):
    model = keras.Sequential(
        [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(8), keras.layers.Dense(10, "softmax")]
    )
    rate = hp.Choice("learning_rate", [1e-3, 1e-2])
    model.compile(keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

def nothing():
    return 3

def width():
    return {}["width"]

def broken():
    return keras.layers.Dense(width())
"""


@pytest.mark.usefixtures("quick")
def test_a_model_of_the_users(tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    result = command(*QUICK, "--output", tmp_path / "out", "--model", f"{tmp_path / 'mine.py'}:build")
    assert result.exit_code == 0, result.output
    values = json.loads((tmp_path / "out" / "result.json").read_text())["values"]
    assert set(values) == {"learning_rate", "entropy/placement", "entropy/factor"}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "compiled keras.Model"),
        ("absent", "no function 'absent'"),
        ("broken", "mine.py, line 16: KeyError: 'width'"),
    ],
)
@pytest.mark.parametrize("form", ["mine.py", "mine"])
def test_a_module_without_a_model_is_refused(form, name, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    (tmp_path / "mine.py").write_text(OWN)
    result = command(*QUICK, "--output", tmp_path / "out", "--model", f"{form}:{name}")
    assert result.exit_code == 2
    assert words in result.output


@pytest.mark.processes
def test_two_workers(tmp_path, child_environment):
    (tmp_path / "mine.py").write_text(OWN)
    child = [sys.executable, "-m", "keras_entropy", "search", *QUICK, "--output", tmp_path / "out"]
    child += ["--controls", "none", "--workers", 2, "--model", f"{tmp_path / 'mine.py'}:build"]
    done = subprocess.run(list(map(str, child)), env=child_environment, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "\n".join(json.loads((tmp_path / "out" / "result.json").read_text())["sentences"]) in done.stdout
    assert (tmp_path / "out" / "workers.log").exists()


@pytest.mark.slow
def test_a_scheduler_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_entropy_cli.options._TIMEOUT", "1s")
    pytest.importorskip("distributed", reason="needs the extra dask")
    for scheduler in ("nowhere", "tcp://127.0.0.1:9"):
        result = command(*QUICK, "--output", tmp_path / "out", "--scheduler", scheduler)
        assert result.exit_code == 2, result.output
        assert "--scheduler should be the address of a Dask scheduler" in " ".join(result.output.split())


OWN_DATA = """
import numpy as np

def data(seed):
    x = np.random.default_rng(seed).normal(size=(40, 8, 8, 1)).astype("float32")
    y = np.arange(40) % 3
    return x[:30], y[:30], x[30:], y[30:]

def broken(seed):
    return seed.nothing
"""


@pytest.mark.usefixtures("quick")
def test_data_of_the_users(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mydata.py").write_text(OWN_DATA)
    result = command(*QUICK, "--dataset", "mydata.py:data", "--controls", "none", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    wrong = command(*QUICK, "--dataset", "mydata.py:broken", "--output", tmp_path / "other")
    assert wrong.exit_code == 2
    assert "mydata.py, line 10: AttributeError" in wrong.output
