"""`keras-entropy landscape`."""

import contextlib
import csv
import json
from concurrent.futures import Executor, Future, ThreadPoolExecutor

import numpy as np
import pytest
from child_command import child_command, interrupt, wait_until
from filelock import FileLock
from landscape_cases import without_kernel
from typer.testing import CliRunner

from keras_entropy.landscape import DensitiesOfStates, DensityOfStates, walk
from keras_entropy_cli import options
from keras_entropy_cli.app import app
from keras_entropy_cli.landscape_sets import Settings

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
    assert not (folder / "distribution.png").exists()  # it needs two axes
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
    assert "distribution.png" in result.output
    assert (tmp_path / "out" / "distribution.png").read_bytes().startswith(b"\x89PNG")


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
        (["--data-seeds", 2, "--data-seed", 1], "--data-seed and --data-seeds exclude each other"),
        (["--depths", "2,3"], "--depth and --depths exclude each other"),
        (["--widths", "2,3"], "--width and --widths exclude each other"),
        (["--workers", 2], "--workers is for several walks. Use it with --data-seeds"),
        (["--scheduler", "tcp://127.0.0.1:1"], "--scheduler is for several walks"),
        (["--data-seeds", 2, "--workers", 2, "--scheduler", "tcp://127.0.0.1:1"], "exclude each other"),
        (["--data-seeds", 0], "--data-seeds"),
        (["--data-seeds", 2, "--resume"], "holds no set of walks to resume"),
        (["--data-seeds", 2, "--axes", "accuracy"], "train_accuracy"),
    ],
)
def test_what_a_user_can_mend_is_one_line(arguments, words, tmp_path):
    result = command(*QUICK, "--output", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert words in result.output
    assert isinstance(result.exception, SystemExit)
    assert {path.name for path in tmp_path.glob("out/*")} <= {".lock"}


@pytest.mark.parametrize("text", ["3,3", "0,1", "a", "3,", "", "2.5", "-1"])
def test_a_list_of_sizes_is_checked(text, tmp_path):
    result = command("--depths", text, "--output", tmp_path / "out")
    assert result.exit_code == 2
    assert f"--depths should be different integers from 1, separated by commas. Received: {text}." in result.output
    assert not (tmp_path / "out").exists()


MANY = ["--data-seeds", 2, "--depths", "1,2", "--width", 2, "--axes", "train_loss", "--target-loss", 0.68]
MANY += ["--moves", 2e4]


def stay_here(patch):
    """Walk in this process, and compile nothing."""
    real = Settings.problem
    patch.setattr(Settings, "problem", lambda *args: without_kernel(real(*args)))
    patch.setattr("keras_entropy.landscape.densities.ProcessPool", lambda count, log: ThreadPoolExecutor(1))


@pytest.fixture
def here(monkeypatch):
    stay_here(monkeypatch)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many") / "out"
    with pytest.MonkeyPatch.context() as patch:
        stay_here(patch)
        result = command(*MANY, "--output", folder)
    assert result.exit_code == 0, result.output
    return folder, result.output


def test_several_walks_are_averaged_and_written(many):
    folder, printed = many
    found = DensitiesOfStates.load(folder)
    assert {group: len(walks) for group, walks in found.walks.items()} == {"1x2": 2, "2x2": 2}
    assert found.pairs == (("1x2", "2x2"),)
    assert str(found) in printed
    rows = list(csv.DictReader((folder / "walks.csv").read_text().splitlines()))
    assert [(row["group"], row["data_set"]) for row in rows] == [("1x2", "0"), ("2x2", "0"), ("1x2", "1"), ("2x2", "1")]
    assert float(rows[2]["entropy"]) == found.region_entropy("1x2")[1]
    assert (folder / "landscape.png").read_bytes().startswith(b"\x89PNG")
    names = {path.name for path in folder.iterdir() if path.name != ".lock"}
    assert names == {"walks", "walks.json", "walks.csv", "landscape.png"}


def test_several_walks_are_kept_added_and_replaced_only_if_asked(many, here, monkeypatch):
    folder, printed = many
    seeds, real = [], walk.density_of_states
    monkeypatch.setattr(walk, "density_of_states", lambda *a, **k: seeds.append(k["seed"]) or real(*a, **k))
    refused = command(*MANY, "--output", folder)
    assert refused.exit_code == 2
    assert "holds a set of walks. Use --overwrite to replace it, --resume to continue it" in refused.output
    other = command(*MANY, "--strength", 0.1, "--output", folder, "--resume")
    assert other.exit_code == 2
    assert "problems of group '1x2'" in other.output
    again = command(*MANY, "--output", folder, "--resume")
    assert again.exit_code == 0, again.output
    assert again.output.endswith(printed[printed.index("Networks") :])
    assert seeds == []
    (folder / "walks" / "2x2-1.json").unlink()
    assert command(*MANY, "--output", folder, "--resume").exit_code == 0
    assert seeds == [1]
    assert "holds other files" in command(*QUICK, "--output", folder).output
    assert "holds no walk to resume" in command(*QUICK, "--output", folder, "--resume").output


def test_a_walk_that_fails_is_named_and_the_command_ends_well(many, here, tmp_path, monkeypatch):
    real = walk.density_of_states

    def failing(problem, **options):
        if problem.name.startswith("network of 2") and options["seed"]:
            raise RuntimeError("Splitting has died out.")
        return real(problem, **options)

    monkeypatch.setattr(walk, "density_of_states", failing)
    result = command(*MANY, "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "2x2, data set 1: failed, RuntimeError: Splitting has died out." in result.output
    assert "Warning" not in result.output
    monkeypatch.setattr(walk, "density_of_states", lambda *a, **k: (_ for _ in ()).throw(RuntimeError("It died.")))
    result = command(*MANY, "--output", tmp_path / "none")
    assert result.exit_code == 2
    assert "No walk finished. The first is 1x2, data set 0: failed, RuntimeError: It died." in result.output


class Here(Executor):
    """Stands for the workers of a scheduler."""

    def submit(self, function, /, *args, **options):
        future = Future()
        future.set_result(function(*args, **options))
        return future


def test_a_scheduler_s_workers_walk_to_the_same_bits(many, here, tmp_path, monkeypatch):
    monkeypatch.setattr(options, "executor_of", lambda address: contextlib.nullcontext(Here() if address else None))
    result = command(*MANY, "--scheduler", "tcp://10.0.0.1:8786", "--output", tmp_path / "out")
    assert result.exit_code == 0, result.output
    one, other = (DensitiesOfStates.load(folder) for folder in (many[0], tmp_path / "out"))
    assert str(one) == str(other)
    assert one.walks["2x2"][1].entropy.tolist() == other.walks["2x2"][1].entropy.tolist()


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
