"""`keras-entropy profile`, as a user would."""

import json
import re
import sys

import keras
import numpy as np
import pytest
from bad_files import BAD
from typer.testing import CliRunner

from keras_entropy import EntropyProfile, entropy_profile, models
from keras_entropy_cli import user_file
from keras_entropy_cli.app import app

L = keras.layers
SOME_BAD = BAD[::3]


def command(*arguments):
    return CliRunner().invoke(app, ["profile", *map(str, arguments)])


@pytest.fixture
def saved(tmp_path, seeded):
    layers = [L.Conv2D(4, 3, name="a"), L.BatchNormalization(name="b"), L.PReLU(name="p"), L.Conv2D(4, 3, name="c")]
    model = keras.Sequential([keras.Input((9, 9, 2)), *layers], name="net")
    model.save(tmp_path / "m.keras")
    return tmp_path / "m.keras"


def test_a_file_is_profiled(saved, tmp_path):
    result = command(saved, "--json", tmp_path / "p.json", "--plot", tmp_path / "p.png")

    assert result.exit_code == 0, result.output
    profile = entropy_profile(keras.models.load_model(saved))
    assert EntropyProfile.load(tmp_path / "p.json") == profile
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    for record in profile.measured:
        (row,) = [line for line in result.stdout.splitlines() if line.startswith(f"│ {record.path} ")]
        assert f"{round(record.mean, 3) + 0.0:.3f}" in row  # without the minus of a zero
        assert record.unit in row
    assert "not measured: p (PReLU): an activation" in result.stdout


def test_the_random_twin_stands_beside(saved, tmp_path):
    result = command(saved, "--randomize", 3, "--measure", "log_volume", "--plot", tmp_path / "p.svg")

    model = keras.models.load_model(saved)
    (a, *_) = entropy_profile(model).compare(entropy_profile(model, randomize=3)).differences
    (row,) = [line for line in result.stdout.splitlines() if line.startswith("│ a ")]
    assert [cell.strip() for cell in row.split("│")[4:7]] == [f"{a.mean:.3f}", f"{a.other:.3f}", f"{a.difference:+.3f}"]
    assert (tmp_path / "p.svg").exists()


def test_placements_are_shown(saved, tmp_path):
    assert "placement 'first': a" in command(saved, "--placement", "first").stdout
    command(saved, "--json", tmp_path / "p.json")

    result = command(saved, "--placement", "empirical:1", "--reference", tmp_path / "p.json")

    assert result.exit_code in (0, 2)
    twin = entropy_profile(keras.models.load_model(saved), randomize=0)
    differences = EntropyProfile.load(tmp_path / "p.json").compare(twin).differences
    best = max((d for d in differences if d.kind == "Conv2D"), key=lambda d: d.difference)
    if best.difference >= 0:
        assert f"placement 'empirical:1': {best.path}" in result.stdout
    else:
        assert "finds no kernel whose mean exceeds" in result.stderr


def test_architectures_by_name_and_weights(tmp_path):
    model = models.cnn((32, 32, 3), 10)
    model.save_weights(tmp_path / "w.weights.h5")

    result = command("cnn", "--weights", tmp_path / "w.weights.h5", "--json", tmp_path / "p.json")

    assert result.exit_code == 0, result.output
    assert EntropyProfile.load(tmp_path / "p.json").records == entropy_profile(model).records


@pytest.mark.data
def test_squeezenet_with_real_weights(data_folder, tmp_path):
    weights = data_folder / "weights" / "squeezenet_v1.1.npz"
    result = command("squeezenet", "--weights", weights, "--measure", "log_volume", "--json", tmp_path / "p.json")

    assert result.exit_code == 0, result.output
    profile = EntropyProfile.load(tmp_path / "p.json")
    assert len(profile.measured) == 26
    with np.load(weights) as arrays:
        kernel = arrays["fire2/squeeze1x1/kernel"][0, 0].astype(np.float64)
    expected = np.log(np.linalg.svd(kernel, compute_uv=False))
    np.testing.assert_allclose(profile["fire2_squeeze1x1"].values, expected, rtol=1e-9)


OWN = """
import keras

@keras.saving.register_keras_serializable("mine")
class Twice(keras.layers.Layer):
    def call(self, x):
        return 2 * x

def build():
    return keras.Sequential([keras.Input((5,)), keras.layers.Dense(4, name="hidden"), Twice(), keras.layers.Dense(3)])

def number():
    return 3
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A model with a class of its own, whose files another process wrote."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.py").write_text(OWN)
    model = user_file.function_of("own.py:build", "MODEL", tmp_path)()
    model.save("own.keras")
    model.save_weights("own.weights.h5")
    keras.saving.get_custom_objects().pop("mine>Twice")
    sys.modules.pop("user_own")
    yield model
    sys.modules.pop("user_own", None)
    keras.saving.get_custom_objects().pop("mine>Twice", None)


@pytest.mark.parametrize("name", ["own.keras", "own.weights.h5"])
def test_files_that_need_the_users_own_code(name, own, tmp_path):
    refused = command(name)
    assert refused.exit_code == 2
    assert "name the function that builds it with --model FILE.py:FUNCTION" in refused.stderr

    result = command(name, "--model", "own.py:build", "--json", tmp_path / "p.json")
    assert result.exit_code == 0, result.output
    assert EntropyProfile.load(tmp_path / "p.json")["hidden"].values == entropy_profile(own)["hidden"].values


def test_a_function_of_the_user_is_a_model(own, tmp_path):
    result = command("own.py:build", "--weights", "own.weights.h5", "--json", tmp_path / "p.json")
    assert result.exit_code == 0, result.output
    assert EntropyProfile.load(tmp_path / "p.json")["hidden"].values == entropy_profile(own)["hidden"].values

    for arguments, words in (
        (["own.py:number"], "MODEL should name a function that returns a built keras.Model. Received: int"),
        (["own.keras", "--model", "own.py:no"], "--model: own.py has no function 'no'"),
        (["own.keras", "--model", "own.py:build", "--weights", "own.keras"], "Leave out --weights"),
    ):
        result = command(*arguments)
        assert result.exit_code == 2
        assert words in result.stderr


class TestErrors:
    @pytest.mark.parametrize("make", [case[1] for case in SOME_BAD], ids=[case[0] for case in SOME_BAD])
    def test_bad_files(self, tmp_path, monkeypatch, entries, make):
        monkeypatch.chdir(tmp_path)
        made = make(tmp_path / "bad.keras", entries)

        result = command(made or tmp_path / "bad.keras", "--json", tmp_path / "p.json")

        assert result.exit_code == 2
        (line,) = [line for line in result.stderr.splitlines() if line.strip()]
        assert line.startswith("Error: ")
        assert result.stdout == ""
        assert not (tmp_path / "p.json").exists()

    def test_at_least_twenty_of_them(self):
        assert len(SOME_BAD) >= 20

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["nothing.keras"], "no file nothing.keras"),
            (["vgg61"], "Similar names: .*VGG16"),
            (["resnet5"], r"MODEL should be a .keras or .h5 file, or the name of an arch.* resnet5. Similar.*ResNet50"),
            (["zzzzzz"], "MODEL should be .* Architectures: autoencoder, cnn, squeezenet, unet, "),
            (["cnn", "--weights", "x.npz"], "--weights should be a file ending in .* for cnn.* Leave out --weights"),
            (["VGG-16", "--weights", "x.npz"], "--weights should be imagenet, or a file ending in .* for VGG16"),
            (["cnn", "--weights", "nothing.weights.h5"], "no file of weights"),
            (["cnn", "--placement", "pre_skip"], "finds no kernel.*conv1, conv2, head"),
            (["cnn", "--placement", "conv9"], "'conv9'.*conv1"),
            (["cnn", "--placement", "empirical"], "--reference"),
            (["cnn", "--weights", "imagenet"], "--weights should be a file ending .* Received: imagenet. Leave out"),
        ],
    )
    def test_what_the_user_can_mend(self, arguments, words, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        result = command(*arguments)

        assert result.exit_code == 2
        assert result.stderr.startswith("Error: ")
        assert len(result.stderr.splitlines()) == 1
        assert re.search(words, result.stderr)

    def test_files_are_not_replaced_unless_asked_for(self, tmp_path):
        path = tmp_path / "p.json"
        path.write_text("mine")

        assert "Use --overwrite" in command("cnn", "--json", path).stderr
        assert path.read_text() == "mine"

        assert command("cnn", "--json", path, "--overwrite").exit_code == 0
        assert json.loads(path.read_text())["model"] == "cnn"

    def test_a_folder_is_no_file(self, tmp_path):
        (tmp_path / "p.html").mkdir()
        said = command("cnn", "--html", tmp_path / "p.html", "--overwrite")
        assert said.exit_code == 2
        assert "--html should name a file" in said.stderr

    def test_a_log_of_something_else_is_named(self, tmp_path):
        (tmp_path / "log.csv").write_text("epoch,loss\n0,1.5\n")
        said = command("cnn", "--html", tmp_path / "p.html", "--log", tmp_path / "log.csv")
        assert said.exit_code == 2
        assert "log.csv should be a log of this model. Received: the columns epoch, loss." in said.stderr
        assert not (tmp_path / "p.html").exists()

    def test_a_sample_shows_constant_outputs(self, tmp_path):
        model = keras.Sequential([keras.Input((3,)), L.Dense(4, "relu", bias_initializer="ones", name="a")])
        model.layers[0].set_weights([np.eye(3, 4, dtype="float32"), np.array([1, 1, -100, 1], "float32")])
        model.save(tmp_path / "m.keras")
        np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(50, 3)).astype("float32"))

        without = command(tmp_path / "m.keras")
        said = command(tmp_path / "m.keras", "--sample", tmp_path / "x.npy", "--html", tmp_path / "p.html")
        assert "constant outputs (no sample)" in without.stdout
        assert "a: 1 of 4 outputs never changes on the sample of 50 rows (index 2)" in said.stdout
        assert "never changes on the sample" in (tmp_path / "p.html").read_text()
        model.layers[0].set_weights([np.eye(3, 4, dtype="float32"), np.ones(4, "float32")])
        model.save(tmp_path / "m.keras")
        alive = command(tmp_path / "m.keras", "--sample", tmp_path / "x.npy")
        assert "no constant outputs" in alive.stdout
        assert "no sample" not in alive.stdout

    def test_a_sample_that_is_no_array_is_named(self, tmp_path):
        np.savez(tmp_path / "x.npz", a=np.ones(2), b=np.ones(2))
        (tmp_path / "x.npy").write_text("1,2\n")
        np.save(tmp_path / "o.npy", np.array([None, 1]), allow_pickle=True)
        np.save(tmp_path / "shape.npy", np.ones((9, 5)))
        for name, words in [
            ("x.npz", "--sample should name one array (.npy)"),
            ("x.npy", "--sample should name an array that numpy.save wrote"),
            ("o.npy", "--sample should name an array that numpy.save wrote"),
            ("none.npy", "--sample should name a file that exists"),
            ("shape.npy", "sample"),
        ]:
            said = command("cnn", "--sample", tmp_path / name)
            assert said.exit_code == 2
            assert words in said.stderr
            assert said.stdout == ""

    def test_names_from_a_file_reach_no_terminal_unchanged(self, tmp_path):
        layers = [L.Dense(2, name="a\x1b[31mRED\x07"), L.PReLU(name="p\x1b[2J")]
        keras.Sequential([keras.Input((3,)), *layers], name="m[red]x[bold]y").save(tmp_path / "m.keras")

        result = command(tmp_path / "m.keras")

        assert result.exit_code == 0, result.output
        assert "\x1b" not in result.stdout
        assert "m[red]x[bold]y" in result.stdout
        assert "a?[31mRED?" in result.stdout

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            (["--plot", "p.xyz"], "should end in one of"),
            (["--plot", "a.png", "--json", "a.png"], "should name two files"),
            (["--json", f"{__file__}/nothing.json"], "nothing.json. Name another file"),
        ],
    )
    def test_files_are_checked_before_anything_is_computed(self, more, words, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("keras_entropy.profile.entropy_profile", None)

        result = command("cnn", *more)

        assert result.exit_code == 2
        assert words in result.stderr
        assert not list(tmp_path.iterdir())

    def test_a_reference_of_another_measure(self, tmp_path):
        command("cnn", "--measure", "corner", "--json", tmp_path / "p.json")

        assert "add --measure corner" in command("cnn", "--reference", tmp_path / "p.json").stderr

    def test_a_reference_that_is_none(self, tmp_path):
        (tmp_path / "p.json").write_text("{}")

        result = command("cnn", "--reference", tmp_path / "p.json")

        assert result.exit_code == 2
        assert "is not an entropy profile" in result.stderr
