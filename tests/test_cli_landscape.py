"""`keras-entropy landscape`."""

import json

import numpy as np
import pytest
from child_command import child_command, interrupt, wait_until
from filelock import FileLock
from typer.testing import CliRunner

from keras_entropy.landscape import DensityOfStates
from keras_entropy_cli.app import app

pytestmark = pytest.mark.once

QUICK = ["--depth", 2, "--width", 4, "--axes", "train_accuracy", "--moves", 1e6]


def command(*arguments):
    return CliRunner().invoke(app, ["landscape", *map(str, arguments)])


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("landscape") / "out"
    result = command(*QUICK, "--output", folder)
    assert result.exit_code == 0, result.output
    return folder, result.output


def test_it_prints_and_writes_the_entropy(done):
    folder, printed = done
    found = DensityOfStates.load(folder / "density.json")
    assert np.exp(found.entropy).sum() == pytest.approx(1)
    assert found.axes[0].bins == 41
    assert " ".join(found.status.split()) in " ".join(printed.split())
    assert (folder / "landscape.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((folder / "density.json").read_text())["schema"] == "keras-entropy/density-of-states/3"


def test_a_folder_with_a_walk_is_replaced_or_gone_on_with_only_if_asked(done):
    folder, _ = done
    before = (folder / "density.json").read_bytes()
    refused = command(*QUICK, "--output", folder)
    assert refused.exit_code == 2
    assert "--resume" in refused.output
    other = command(*QUICK, "--seed", 1, "--output", folder, "--resume")
    assert other.exit_code == 2
    assert "seed" in other.output
    assert (folder / "density.json").read_bytes() == before
    assert command(*QUICK, "--output", folder, "--resume").exit_code == 0
    again = DensityOfStates.load(folder / "density.json")
    assert again.entropy.tolist() == np.array(json.loads(before)["entropy"], float).tolist()


@pytest.mark.parametrize("wish", ["--resume", "--overwrite"])
def test_a_folder_in_work_is_refused_and_loses_nothing(wish, done):
    folder, _ = done
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with FileLock(folder / ".lock"):
        result = command(*QUICK, "--output", folder, wish)
    assert result.exit_code == 2
    assert result.output == f"Error: Another process works on {folder}. Wait until it ends, or stop it.\n"
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    "mistake",
    [
        ["--axes", "accuracy"],
        ["--axes", "train_loss,train_loss"],
        ["--axes", ""],
        ["--moves", "nan"],
        ["--target-loss", "inf"],
        ["--strength", "nan"],
    ],
)
def test_a_mistake_costs_no_earlier_walk(done, mistake):
    folder, _ = done
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert command(*QUICK, "--output", folder, "--overwrite", *mistake).exit_code == 2
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_two_axes_and_the_loss(tmp_path):
    loss = ["--axes", "train_loss, test_accuracy", "--target-loss", 0.65, "--strength", 1e-4]
    result = command(*QUICK, *loss, "--moves", 3e5, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    found = DensityOfStates.load(tmp_path / "out" / "density.json")
    assert [axis.name for axis in found.axes] == ["train_loss", "test_accuracy"]
    assert found.entropy.shape == tuple(axis.bins for axis in found.axes)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--overwrite", "--resume"], "exclude each other"),
        (["--resume"], "holds no walk to resume"),
        (["--axes", "accuracy"], "train_accuracy"),
        (["--axes", "train_loss,train_loss"], "one or two names"),
        (["--axes", "train_loss,train_accuracy,test_accuracy"], "one or two names"),
        (["--moves", 0], "--moves"),
        (["--moves", "nan"], "moves"),
        (["--depth", 0], "--depth"),
        (["--strength", -1], "--strength"),
        (["--axes", "train_loss,test_accuracy", "--target-loss", -1.0], "--moves"),
    ],
)
def test_what_a_user_can_mend_is_one_line(arguments, words, tmp_path):
    result = command(*QUICK, "--output", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert words in result.output
    assert isinstance(result.exception, SystemExit)
    assert {path.name for path in tmp_path.glob("out/*")} <= {".lock"}


@pytest.mark.processes
def test_ctrl_c_and_resume_end_with_the_same_bits(tmp_path, child_environment):
    arguments = ["--depth", "2", "--width", "4", "--axes", "train_accuracy", "--moves", "1e7"]
    whole = command(*arguments, "--output", tmp_path / "whole")
    assert whole.exit_code == 0, whole.output
    with child_command(child_environment, "landscape", *arguments, "--output", tmp_path / "out") as child:
        wait_until(lambda: (tmp_path / "out" / "walk.state").exists() or child.poll() == 0, child)
        said = interrupt(child)
    assert child.returncode in (130, 0)  # 0 where it was faster
    assert child.returncode == 0 or "--resume" in said
    again = command(*arguments, "--output", tmp_path / "out", "--resume")
    assert again.exit_code == 0, again.output
    one, other = (DensityOfStates.load(tmp_path / name / "density.json") for name in ("whole", "out"))
    assert one.entropy.tolist() == other.entropy.tolist()
