import contextlib
import json
import sys
import tomllib

import numpy as np
import pytest
from child_command import child_command, interrupt, wait_until
from filelock import FileLock
from quick import inline_pool, quick_training
from study_cases import build
from typer.testing import CliRunner

pytest.importorskip("sklearn", reason="the digits need scikit-learn")

from keras_entropy import EntropyWarning
from keras_entropy.study import read_records
from keras_entropy_cli import study_file
from keras_entropy_cli.app import app

SMALL = """
seeds = 2
tune_seeds = [7]
epochs = 1
batch_size = 256
[tune]
learning_rate = [1e-3, 1e-2]
[[arms]]
name = "none"
arguments = { width = 4, learning_rate = 1e-2 }
[[arms]]
name = "leading"
regularizer = "DenseEntropy"
factor = 1e-2
options = { block = "leading" }
arguments = { width = 4, learning_rate = 1e-2 }
[[arms]]
name = "L2"
regularizer = "L2"
tune = { factor = [0.0, 1e-4] }
arguments = { width = 4, learning_rate = 1e-2 }
"""


VOLUME = "[[arms]]\nname = 'v'\nregularizer = 'DenseEntropy'\n"


def command(*arguments):
    return CliRunner().invoke(app, ["study", *map(str, arguments)])


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with quick_training(), inline_pool():
        yield


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    (folder / "study.toml").write_text(SMALL)
    result = command(folder / "study.toml", "--output", folder / "out", "--seed", 5)
    assert result.exit_code == 0, result.output
    return folder, result.stdout


def test_a_file_becomes_a_study_and_a_report(done):
    folder, printed = done

    records = read_records(folder / "out")
    assert {record.status for record in records} == {"finished"}
    assert sorted({(r.role, r.seed) for r in records}) == [("report", 5), ("report", 6), ("tune", 7)]
    assert {r.arm for r in records if r.role == "tune"} == {"L2"}
    assert "8 runs, 0 of them failed" in printed
    assert printed.count("\n* ") == 2
    names = {path.name for path in (folder / "out" / "report").iterdir()}
    assert {"report.html", "report.md", "comparison.csv", "runs.csv", "curves.csv"} <= names
    arms = json.loads((folder / "out" / "study.json").read_text())["arms"]
    assert arms[1]["regularizer"].startswith("DenseEntropy(factor=0.01, ")
    assert "block='leading'" in arms[1]["regularizer"]


def test_a_report_is_drawn_again_without_running(done):
    folder, printed = done
    before = (folder / "out" / "runs.jsonl").read_bytes()
    (folder / "out" / "report" / "report.md").unlink()

    result = command("--report", folder / "out")

    assert result.exit_code == 0, result.output
    assert result.stdout == printed
    assert (folder / "out" / "report" / "report.md").exists()
    assert (folder / "out" / "runs.jsonl").read_bytes() == before


def test_a_study_is_not_overwritten_and_goes_on(done):
    folder, _ = done
    before = (folder / "out" / "runs.jsonl").read_bytes()

    result = command(folder / "study.toml", "--output", folder / "out")
    assert result.exit_code == 2
    assert "--resume" in result.output
    result = command(folder / "study.toml", "--output", folder / "out", "--seed", 5, "--resume")
    assert result.exit_code == 0, result.output
    (folder / "other.toml").write_text(SMALL.replace("epochs = 1", "epochs = 2"))
    result = command(folder / "other.toml", "--output", folder / "out", "--seed", 5, "--resume")
    assert result.exit_code == 2
    assert "holds a study with other settings: epochs" in result.output
    (folder / "bad.toml").write_text(SMALL.replace("epochs = 1", "epochs = 0"))
    result = command(folder / "bad.toml", "--output", folder / "out", "--overwrite")
    assert result.exit_code == 2  # a mistake costs nothing
    assert (folder / "out" / "runs.jsonl").read_bytes() == before


def test_the_folder_of_a_study_in_work_is_refused_and_loses_nothing(done):
    folder, _ = done
    before = {path: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()}
    with FileLock(folder / "out" / ".lock"):
        result = command(folder / "study.toml", "--output", folder / "out", "--seed", 5, "--overwrite")
    assert result.exit_code == 2
    assert "Another process works on" in result.output
    assert {path: path.read_bytes() for path in (folder / "out").rglob("*") if path.is_file()} == before


def test_a_folder_without_locks_gets_the_warning_of_the_lock(done, monkeypatch):
    folder, _ = done

    def acquire(*_, **__):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(FileLock, "acquire", acquire)
    with pytest.warns(EntropyWarning, match="cannot be locked"):
        result = command(folder / "study.toml", "--output", folder / "out", "--seed", 5, "--resume")
    assert result.exit_code == 0, result.output


def test_overwrite_removes_a_study_and_nothing_else(tmp_path):
    from keras_entropy.study import folder

    for name in ("study.json", "runs.jsonl", "workers.log", "thesis.tex"):
        (tmp_path / name).write_text("mine")
    with folder.results_of(tmp_path).locked(overwrite=True):
        pass
    assert {path.name for path in tmp_path.iterdir()} == {"thesis.tex", ".lock"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arms = 3", "at least one [[arms]]"),
        ("", "at least one [[arms]]"),
        ("= 3", "is not TOML"),
        ("colour = 'red'\n[[arms]]\nname = 'a'", "unknown entries: colour"),
        ("[[arms]]\nname = 'a'\ncolour = 'red'", "arm 'a' has unknown entries: colour"),
        ("[[arms]]\nplacement = 'first'", "`name`"),
        ("[[arms]]\nname = 'a'\nregularizer = 'Entropy'", "'DenseEntropy'"),
        ("[[arms]]\nname = 'a'\nfactor = 1.0", "no `regularizer`"),
        ("[[arms]]\nname = 'a'\nregularizer = 'L2'\nfactor = 1.0\noptions = {colour = 1}", "colour"),
        ("[[arms]]\nname = 'a'\nregularizer = 'L2'\noptions = {factor = 1}", "The arm has a key `factor` of its own."),
        ("[[arms]]\nname = 'a'\narguments = 3", "table of arguments"),
        ("[[arms]]\nname = 'a'\nplacement = 'first'", "study.toml: Arm 'a': `placement` needs something to place"),
        ("[[arms]]\nname = 'a'\nregularizer = 'DenseEntropi'", "study.toml, arm 'a': `regularizer` should be one of"),
        (f"{VOLUME}options = 'full'", "study.toml, arm 'v': `options` should be a table"),
        (f"{VOLUME}factor = 1.0\noptions = {{ form = 'recip' }}", "study.toml, arm 'v': `form` should be one of"),
        ("[[arms]]\nname = 'a'\nregularizer = 'L2'\nfactor = '1'", "arm 'a': `factor` should be a finite number"),
        (f"{VOLUME}factor = '1e-3'", "study.toml, arm 'v': `factor` should be a finite number"),
        (
            f"{VOLUME}factor = 1.0\ntune = {{ factor = [1.0] }}",
            "arm 'v' has `factor` and `tune.factor`. Leave out `fac",
        ),
        (
            f"{VOLUME}tune = {{ facto = [1.0] }}",
            "unexpected keyword argument 'facto'. Arguments of `build`: learning_ra",
        ),
        ("[[arms]]\nname = 'a'\narguments = { width = 'x' }", "Arm 'a': build(width='x') failed: `width`"),
        ("[[arms]]\nname = 'a'\narguments = { optimizer = 'x', width = 3 }", "build(optimizer='x', width=3) failed"),
        ("dataset = 3\n[[arms]]\nname = 'a'", "study.toml: `dataset` should be a name"),
        ("data_dir = 3\n[[arms]]\nname = 'a'", "study.toml: `data_dir` should be the path of a folder"),
        ("seeds = ['a']\n[[arms]]\nname = 'a'", "study.toml: `seeds[0]` should be an integer from 0 to 2**32 - 1"),
        ("seeds = 0\n[[arms]]\nname = 'a'", "positive integer"),
        ("seeds = 'many'\n[[arms]]\nname = 'a'", "a number of seeds"),
        ("controls = 'b'\n[[arms]]\nname = 'a'", "name one of the arms"),
        ("controls = 'a'\n[[arms]]\nname = 'a'", "no regularizer"),
        ("model = 'vgg'\n[[arms]]\nname = 'a'", "autoencoder, cnn"),
        ("model = 'cnn'\ndataset = 'spirals'\n[[arms]]\nname = 'a'", "needs images"),
        ("dataset = 'no such'\n[[arms]]\nname = 'a'", "no such"),
        ("model = 'study_cases'\n[[arms]]\nname = 'a'", "`model` should be autoencoder, cnn, FILE.py:FUNCTION or MOD"),
        ("model = 3\n[[arms]]\nname = 'a'", "`model` should be autoencoder, cnn, FILE.py:FUNCTION or MODULE:FUNCTION"),
        ("model = 'nothing.py:build'\n[[arms]]\nname = 'a'", "`model` should name a Python file that exists"),
        ("model = 'study_cases:no_such'\n[[arms]]\nname = 'a'", "`model`: study_cases has no function 'no_such'"),
        ("model = 'no_such:build'\n[[arms]]\nname = 'a'", "Cannot import"),
        ("dataset = 'no_such:data'\n[[arms]]\nname = 'a'", "`dataset`: Cannot import"),
        ("model = 'cnn'\ndataset = 'study_cases:data'\n[[arms]]\nname = 'a'", "cnn needs labels, integers from 0"),
        (
            "[[arms]]\nname = 'a'\nplacement = 'frist'\nregularizer = 'L2'\nfactor = 1.0",
            "Arm 'a': `placement` should match",
        ),
    ],
)
def test_a_bad_file_is_one_line(text, message, tmp_path):
    (tmp_path / "study.toml").write_text(text)

    result = command(tmp_path / "study.toml", "--output", tmp_path / "out")

    assert result.exit_code == 2, result.output
    assert message in result.output
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_file_in_the_help_is_a_study(tmp_path):
    lines = [line.strip() for line in command("--help").output.splitlines()]
    text = "\n".join(lines[lines.index('dataset = "digits"') : lines.index("tune = { factor = [1e-3, 1e-2] }") + 1])
    study = study_file.study_of(tomllib.loads(text), tmp_path / "study.toml", tmp_path / "out", first_seed=0)

    assert [arm.name for arm in study.arms][:2] == ["baseline", "volume"]
    assert study.tune == {"learning_rate": [1e-3, 1e-2]}


def test_reasons_of_runs_that_did_not_finish_are_printed(tmp_path):
    text = "epochs = 1\nseeds = 2\n[[arms]]\nname = 'none'\narguments = { width = 4, learning_rate = 1e30 }\n"
    (tmp_path / "study.toml").write_text(text)

    result = command(tmp_path / "study.toml", "--output", tmp_path / "out")

    assert "2 runs, 2 of them failed" in result.output
    assert "2 of none: diverged, " in result.output
    assert result.exit_code == 2
    assert result.output.splitlines()[-1].startswith("Error: No run finished, for the reasons above. Mend the cause")


def test_without_a_study_there_is_one_line(tmp_path):
    for arguments, message in [
        ((tmp_path / "study.toml", "--report", tmp_path), "Give the file of a study"),
        (("--report", tmp_path), "is not the folder of a study"),
        ((tmp_path,), "is a folder. Name the TOML file of a study. To report on a study that was run, use --report"),
    ]:
        result = command(*arguments)
        assert result.exit_code == 2
        assert message in result.output


def test_functions_of_ones_own_and_controls(tmp_path):
    text = (
        "model = 'study_cases:build'\ndataset = 'study_cases:data'\ncontrols = 'volume'\ntune_seeds = 1\nseeds = 4\n"
        "[[arms]]\nname = 'none'\n[[arms]]\nname = 'volume'\nregularizer = 'TotalCorrelation'\nfactor = 0.1"
    )
    study = study_file.study_of(tomllib.loads(text), tmp_path / "study.toml", tmp_path / "out", first_seed=0)

    assert study.build is build
    assert [arm.name for arm in study.arms][:4] == ["none", "volume", "constant", "soft orthogonality"]
    assert len(study.arms) == 10
    assert (study.seeds, study.tune_seeds) == ([0, 1, 2, 3], [1000])


def test_a_python_file_beside_the_study_runs_once(tmp_path):
    (tmp_path / "mine.py").write_text("from study_cases import build as made, data\nruns = []\nruns.append(1)\n")
    text = "model = 'mine.py:made'\ndataset = 'mine.py:data'\nseeds = 2\n[[arms]]\nname = 'none'"
    study = study_file.study_of(tomllib.loads(text), tmp_path / "study.toml", tmp_path / "out", first_seed=0)

    assert study.build is build
    assert sys.modules["user_mine"].runs == [1]


def test_data_of_ones_own_for_a_model_of_the_command(tmp_path):
    text = "dataset = 'study_cases:data'\nseeds = 2\n[[arms]]\nname = 'none'"
    study = study_file.study_of(tomllib.loads(text), tmp_path / "study.toml", tmp_path / "out", first_seed=0)

    x_train, y_train, _, _ = study.data(0)
    assert study.build().output_shape == (None, 6)
    np.testing.assert_array_equal(y_train, x_train)  # an autoencoder


@pytest.mark.processes
def test_ctrl_c_keeps_what_has_ended(tmp_path, child_environment):
    (tmp_path / "study.toml").write_text(SMALL.replace("seeds = 2", "seeds = 500").replace("[7]", "[7000]"))
    study = ("study", tmp_path / "study.toml", "--output", tmp_path / "out")
    with child_command(child_environment, *study) as child:
        wait_until(lambda: len(ended(tmp_path / "out")) >= 3, child)
        errors = interrupt(child)

    assert child.returncode == 130
    assert "--resume" in errors
    assert "Traceback" not in errors
    assert all(record.ok for record in ended(tmp_path / "out"))
    result = command("--report", tmp_path / "out")
    assert result.exit_code == 0, result.output


def ended(folder):
    with contextlib.suppress(FileNotFoundError):
        return read_records(folder)
    return []
