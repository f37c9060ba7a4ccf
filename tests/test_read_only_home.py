"""Commands on a machine whose home folder cannot be written: what they write is in the output folder alone."""

import os
import shutil
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.once, pytest.mark.processes, pytest.mark.slow]

OWN = """
import keras, numpy as np

def build():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model

def data():
    x = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
    y = (x[:, 0] > 0).astype("int64")
    return x, y, x, y
"""
STUDY = """
dataset = "own.py:data"
model = "own.py:build"
seeds = 2
epochs = 1
[[arms]]
name = "baseline"
[[arms]]
name = "volume"
placement = "first"
regularizer = "DenseEntropy"
factor = 0.01
"""
ONE = ("--model", "own.py:build", "--dataset", "own.py:data", "--epochs", 1)
SEARCH = ("--max-trials", 1, "--seeds", 1, "--holdout-seeds", 2, "--workers", 1)
WALK = ("--depth", 1, "--width", 4, "--axes", "train_loss", "--target-loss", 0.6, "--moves", 1000)
COMMANDS = {
    "train": (("train", *ONE), "model.keras"),
    "profile": (("profile", "cnn", "--plot", "out/profile.png"), "profile.png"),
    "study": (("study", "study.toml", "--workers", 1), "report/report.html"),
    "search": (("search", *ONE, *SEARCH), "result.json"),
    "landscape": (("landscape", *WALK), "density.json"),
}


@pytest.fixture
def as_user():
    """The start of a command that keeps to the modes of files, which root does not."""
    if os.name == "nt":
        pytest.skip("Windows has no modes of files")
    if os.geteuid():
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root ignores the modes of files, and there is no setpriv to change that")
    return ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_needs_no_home(name, as_user, tmp_path, child_environment):
    command, written = COMMANDS[name]
    home = tmp_path / "home"
    home.mkdir(mode=0o555)
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "study.toml").write_text(STUDY)
    environment = {k: v for k, v in child_environment.items() if k not in ("MPLCONFIGDIR", "KERAS_HOME")}
    environment |= {"HOME": str(home)}
    output = () if name == "profile" else ("--output", "out")
    arguments = [*as_user, sys.executable, "-m", "keras_entropy", *map(str, (*command, *output))]
    refused = subprocess.run([*as_user, "touch", str(home / "a")], check=False, capture_output=True)

    ended = subprocess.run(
        arguments, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )

    assert refused.returncode != 0
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    assert (tmp_path / "out" / written).exists()
    assert not any(home.iterdir())
