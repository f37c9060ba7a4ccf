"""Names and errors that come from files of other people are shown as text, in one line, in errors of Python and "
"commands."""

import contextlib
import warnings

import keras
import pytest
from study_cases import build, data, write_study
from typer.testing import CliRunner

from keras_entropy import DenseEntropy, datasets, landscape, models
from keras_entropy.landscape import DensitiesOfStates, DensityOfStates, exact
from keras_entropy.placement import apply_entropy, resolve_placement
from keras_entropy.profile import EntropyProfile
from keras_entropy.study import Arm, Study, compare, read_records, read_study
from keras_entropy.study import RunRecord as Record
from keras_entropy_cli.app import app

pytestmark = pytest.mark.once

NAME = "a\x1b[31m\nb\u202e"
TOML = r'"a\u001b[31m\nb"'
RUN = Record(arm=NAME, seed=0, history={NAME: [1.0]})


def network():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="a\x1b[31m\nb")])


def autoencoder():
    return models.autoencoder((4,), 2)


def walk(path):
    edges = {"energy": exact.ball_edges(6, bins=4)}
    return landscape.density_of_states(landscape.ball_problem(6), "energy", 1e3, edges=edges, checkpoint=path)


def study(*arms, **options):
    return Study(build, list(arms), [0], data=data, tune_seeds=[1], **options)


OF_FILES = {
    "profile": EntropyProfile.load,
    "density": DensityOfStates.load,
    "walks": DensitiesOfStates.load,
    "model": models.load_model,
    "weights": lambda path: models.load_weights(autoencoder(), path),
    "squeezenet": lambda path: models.by_name("squeezenet", weights=path),
    "records": read_records,
    "study": read_study,
    "walk": walk,
    "data": lambda path: datasets.load(str(path)),
}
OF_NAMES = {
    "data": lambda: datasets.load(NAME),
    "architecture": lambda: models.by_name(NAME),
    "axis of a walk": lambda: landscape.density_of_states(landscape.ball_problem(6), NAME, 1e3),
    "group of walks": lambda: landscape.densities_of_states({NAME: [landscape.ball_problem(6)], "b": []}),
    "pair of walks": lambda: landscape.densities_of_states({NAME: [landscape.ball_problem(6)]}, pairs=[(NAME, "b")]),
    "axis of an arm": lambda: study(Arm("a"), Arm(NAME, tune={NAME: [1, 2]})),
    "arm twice": lambda: study(Arm(NAME), Arm(NAME)),
    "axis twice": lambda: study(Arm(NAME, grid={"x": [1]}), grid={"x": [1]}, tune={"x": [2]}),
    "arm without factor": lambda: study(Arm(NAME, "first", keras.regularizers.L2)),
    "metric": lambda: compare([RUN], "loss"),
    "baseline": lambda: compare([RUN], NAME, "none"),
    "layers": lambda: resolve_placement(network(), "other"),
    "placement": lambda: apply_entropy(network(), "pre_skip", DenseEntropy(1.0)),
}


def said(function, *arguments):
    """What a call warns of, and the error that it ends with."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with pytest.raises((ValueError, TypeError, OSError, KeyError)) as end:
            function(*arguments)
    return [str(end.value), *(str(warning.message) for warning in caught)]


@pytest.mark.parametrize("content", [None, "{\n", '{"schema": "a\\u001b[31m\\nb"}\n'], ids=["missing", "cut", "other"])
@pytest.mark.parametrize("kind", OF_FILES)
def test_errors_show_file_names_as_text(kind, content, tmp_path):
    path = tmp_path / f"{NAME}.npz"
    if content is not None:
        path.write_text(content)
    elif kind == "walk":
        path.mkdir()  # a missing walk is begun
    with contextlib.suppress(ModuleNotFoundError):
        found = said(OF_FILES[kind], path)
        assert [text for text in found if not text.isprintable()] == []
        assert "a?[31m" in found[0] or repr(NAME)[1:-1] in found[0]


@pytest.mark.parametrize("kind", OF_NAMES)
def test_errors_show_names_as_text(kind):
    assert [text for text in said(OF_NAMES[kind]) if not text.isprintable()] == []


ARM = f"[[arms]]\nname={TOML}\n"
PLAIN = "[[arms]]\nname='a'\n"
FILES = [
    f"{TOML} = 1\n{PLAIN}", f"{ARM}{TOML} = 1", f"dataset={TOML}\n{PLAIN}", f"model={TOML}\n{PLAIN}",
    f"controls={TOML}\n{PLAIN}", f"{ARM}regularizer={TOML}", f"{ARM}regularizer='DenseEntropy'\noptions={{{TOML}=1}}",
    f"{ARM}placement={TOML}\nregularizer='DenseEntropy'\nfactor=1.0", f"[tune]\n{TOML}=[1,2]\n{ARM}",
    f"build={TOML}\n{ARM}", f"build='no.py:f'\n{ARM}", f"build='raises.py:f'\n{ARM}", f"build='fails.py:f'\n{ARM}",
    f"{ARM}[arms.arguments]\n{TOML}=1", "a=" + "[" * 10**5, f"seeds={'9' * 5000}\n{PLAIN}",
    f"seeds=1{'0' * 400}\n{PLAIN}", f"seeds=100000000000\n{PLAIN}", f"epochs=1e400\n{PLAIN}",
    "[[arms]]\nname=3", "arms=3", f"seeds=[true]\n{PLAIN}",
    f"seeds=2026-01-01\n{PLAIN}", f"grid=3\n{PLAIN}", f"{PLAIN}tune=3", f"{PLAIN}placement=3", f"metric=3\n{PLAIN}",
    f"patience='a'\n{PLAIN}", f"{PLAIN}regularizer='L2'\nfactor=[1,[2]]", f"baseline=3\n{PLAIN}",
    f"min_delta='x'\n{PLAIN}", f"\ufeff{PLAIN}",
]  # fmt: skip


@pytest.mark.parametrize("text", FILES, ids=range(len(FILES)))
def test_a_hostile_file_of_a_study_is_one_line(text, tmp_path):
    pytest.importorskip("sklearn", reason="the digits need scikit-learn")
    (tmp_path / "s.toml").write_text(text)
    (tmp_path / "raises.py").write_text("raise ValueError('a\\x1b[31m\\nb')")
    (tmp_path / "fails.py").write_text("def f(): raise KeyError('a\\x1b[31m\\nb')")
    refused("study", tmp_path / "s.toml", "--output", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_commands_show_file_names_as_text(tmp_path):
    path = tmp_path / f"{NAME}.keras"
    path.write_text("{")
    for arguments in (
        ["profile", path], ["profile", "cnn", "--reference", path], ["train", "--output", path],
        ["train", "--dataset", path], ["landscape", "--output", path], ["landscape", "--axes", NAME],
        ["study", "--report", path], ["study", path], ["search", "--model", f"{path}.py:f"],
    ):  # fmt: skip
        refused(*arguments)


def test_a_report_shows_names_as_text(tmp_path):
    write_study(tmp_path / "out", arms=("none", NAME), widths=())
    result = CliRunner().invoke(app, ["study", "--report", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert all(line.isprintable() for line in result.output.splitlines())


def refused(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 2, (result.exception, result.output)
    assert result.stderr.startswith("Error: ")
    assert result.stderr.endswith("\n")
    assert result.stderr[:-1].isprintable()
