"""`keras-entropy` itself: help, version, errors in the arguments, and how every command ends after an error."""

import errno
import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

import keras_entropy
import keras_entropy_cli
from keras_entropy import _optional
from keras_entropy_cli import errors, options, presets
from keras_entropy_cli.app import app
from keras_entropy_cli.errors import interruptible, one_line, user_errors

pytestmark = pytest.mark.once

COMMANDS = ("train", "profile", "study", "search", "landscape")
USAGE_ERRORS = [
    (["tarin"], "No such command"),
    (["train", "--colour", "red"], "No such option"),
    (["train", "--model", "transformer"], "--model"),
    (["train", "--regularizer", "corner"], "--regularizer"),
    (["train", "--epochs", "0"], "--epochs"),
    (["train", "--epochs", "many"], "--epochs"),
    (["train", "--batch-size", "0"], "--batch-size"),
    (["train", "--seed", "-1"], "--seed"),
    (["train", "--learning-rate", "0"], "should be above 0"),
    (["train", "--learning-rate", "-1"], "should be above 0"),
    (["train", "--learning-rate", "nan"], "should be above 0"),
    (["train", "--overwrite", "--resume"], "exclude each other"),
    (["train", "--resume"], "runs/train holds no run to resume"),
    (["search", "--resume"], "runs/search holds no search to resume"),
    (["search", "--dataset", "/nope"], "There is no image folder /nope"),
    (["search", "--model", "nope.py:f"], "--model should name a Python file that exists"),
    (["search", "--dataset", "nope"], "Received: nope, and "),
    (["train", "--dataset", "nope.py:data"], "--dataset should name a Python file that exists"),
    (["study", "nope.toml"], "nope.toml does not exist"),
    (["profile", "nofile.keras"], "There is no file nofile.keras"),
    (["profile", "nope.py:f"], "MODEL should name a Python file that exists"),
    (["profile", "cnn", "--weights", "no.weights.h5"], "There is no file of weights no.weights.h5"),
    (["profile", "cnn", "--reference", "no.json"], "--reference should name a file that exists"),
    (["profile", "cnn", "--measure", "paper"], "--measure"),
    (["profile", "cnn", "--json", "p.svg", "--plot", "p.svg"], "two files"),
    (["study"], "Give the file of a study"),
    (["study", "nothing.toml"], "does not exist"),
    (["study", "nothing.toml", "--overwrite", "--resume"], "exclude each other"),
    (["search", "--tuner", "best"], "--tuner"),
    (["search", "--holdout-seeds", "1"], "--holdout-seeds"),
    (["search", "--overwrite", "--resume"], "exclude each other"),
    (["landscape", "--moves", "0"], "--moves"),
    (["landscape", "--overwrite", "--resume"], "exclude each other"),
]


def command(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_help_has_an_example(name):
    result = command(*([name] if name else []), "--help")

    assert result.exit_code == 0
    assert f"Example: keras-entropy {name or 'train'}" in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_explained(name):
    (found,) = [one for one in typer.main.get_command(app).commands.values() if one.name == name]

    assert [p.name for p in found.params if p.name != "help" and not getattr(p, "help", None)] == []


def test_the_commands_are_listed_with_what_they_do():
    result = command("--help")

    for name in COMMANDS:
        assert re.search(rf"{name} +[A-Z]", result.output)


def test_version():
    result = command("--version")

    assert result.exit_code == 0
    assert result.output == f"keras-entropy {keras_entropy.__version__}\n"


@pytest.mark.parametrize(("arguments", "words"), USAGE_ERRORS, ids=[" ".join(case[0]) for case in USAGE_ERRORS])
def test_errors_in_the_arguments_are_explained(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = command(*arguments)

    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stdout == ""
    assert isinstance(result.exception, SystemExit)
    assert not list(tmp_path.iterdir())


class KerasLoadedError(Exception):
    """Raised where a command would load Keras."""


@pytest.mark.parametrize("content", ["run", "study", "search", "walk", "set of walks"])
def test_results_that_are_there_are_named_before_keras_is_loaded(content, tmp_path, monkeypatch):
    def load():
        raise KerasLoadedError

    name = {"run": "train", "walk": "landscape", "set of walks": "landscape"}.get(content, content)
    arguments = ["--data-seeds", 2] if content == "set of walks" else []
    if name == "study":
        (tmp_path / "study.toml").write_text("model = 'nope.py:build'")
        arguments = [tmp_path / "study.toml"]
    monkeypatch.setattr(f"keras_entropy_cli.{name}.load_keras", load)
    mark = tmp_path / "out" / options.MARKS[content][-1].replace("*", "entropy")
    mark.parent.mkdir(parents=True)
    mark.write_text("old")

    result = command(name, *arguments, "--output", tmp_path / "out")
    assert f"out holds a {content}. Use --overwrite to replace it" in result.output
    assert " is a file. Name a folder" in command(name, *arguments, "--output", mark).output
    if name == "study":
        result = command(name, *arguments, "--output", tmp_path / "new")
        assert "study.toml: `model` should name a Python file that exists" in result.output


def test_the_marks_of_results_are_those_of_the_package(tmp_path):
    pytest.importorskip("keras_tuner", reason="needs the extra search")
    from keras_entropy.landscape import walk_folder
    from keras_entropy.study import folder
    from keras_entropy.tuning import output_folder
    from keras_entropy_cli import landscape, run_folder

    package = [part.results_of(tmp_path) for part in (folder, output_folder, walk_folder)]
    assert {results.content: results.marks for results in package} == {
        content: marks for content, marks in options.MARKS.items() if content not in ("run", "walk")
    }
    assert options.MARKS["run"] == (run_folder.RECORD,)
    assert options.MARKS["walk"] == (landscape._WALK,)


@pytest.mark.parametrize("environment", [{}, {"TFDS_DATA_DIR": "~/sets"}])
def test_the_folder_of_the_data_sets_is_that_of_the_package(environment, tmp_path, monkeypatch):
    monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
    for variable, value in {"HOME": str(tmp_path), **environment}.items():
        monkeypatch.setenv(variable, value)
    said = []
    for look in (keras_entropy.datasets.mnist, lambda: options.check_code_and_data("cnn", "mnist", None)):
        with pytest.raises(FileNotFoundError) as caught:
            look()
        said.append(re.search(r"--data_dir (\S+)`", str(caught.value))[1])

    assert said[0] == said[1]
    assert said[0].startswith(str(tmp_path))


def test_a_missing_argument_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = command("profile")

    assert result.exit_code == 2
    assert re.search("Missing argument '(model|MODEL)'", result.stderr)  # as versions of typer spell it
    assert result.stdout == ""
    assert isinstance(result.exception, SystemExit)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("bad\nvalue"), "Error: bad value\n"),
        (TypeError("a\x1b[31mb\x07"), "Error: a?[31mb?\n"),
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), "No space left on device: 'runs/x'\n"),
        (
            ModuleNotFoundError('Install it with: pip install "keras-entropy[plot]"'),
            'pip install "keras-entropy[plot]"',
        ),
        (MemoryError(), "Error: Out of memory."),
    ],
)
def test_errors_of_user_and_machine_are_one_line(error, said, capsys):
    with pytest.raises(typer.Exit) as caught, user_errors():
        raise error

    written = capsys.readouterr()
    assert caught.value.exit_code == 2
    assert said in written.err
    assert written.err.count("\n") == 1
    assert written.out == ""


@pytest.mark.processes
@pytest.mark.parametrize("start", [["-c", "from keras_entropy_cli import main\nmain()"], ["-m", "keras_entropy"]])
@pytest.mark.parametrize("backend", ["numpy", "pytorch"])
def test_a_backend_that_is_not_supported_is_one_line(start, backend, child_environment, tmp_path):
    ended = subprocess.run(
        [sys.executable, *start, "train", "--epochs", "1"],
        env={**child_environment, "KERAS_BACKEND": backend}, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ended.returncode == 2
    assert ended.stderr.startswith("Error: keras-entropy needs the TensorFlow, JAX or torch backend of Keras.")
    assert f"Received: {backend!r}. Set KERAS_BACKEND to 'tensorflow', 'jax' or 'torch'" in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_the_backends_of_the_command_are_those_of_the_package():
    assert errors.BACKENDS == _optional.BACKENDS


@pytest.mark.parametrize("error", [KeyError("bug"), AssertionError(), RuntimeError("bug")])
def test_other_errors_are_not_hidden(error):
    with pytest.raises(type(error)) as caught, user_errors():
        raise error

    assert caught.value is error


def test_ctrl_c_says_how_to_continue(capsys):
    with pytest.raises(typer.Exit) as caught, user_errors(), interruptible(lambda: "Continue with\n--resume."):
        raise KeyboardInterrupt

    assert caught.value.exit_code == 130
    assert capsys.readouterr().err == "\nStopped. Continue with --resume.\n"


@pytest.mark.parametrize(("command", "content"), [("study", "study"), ("search", "search"), ("landscape", "walk")])
def test_the_advice_after_ctrl_c_is_a_command_that_works(command, content, tmp_path, monkeypatch):
    mark = tmp_path / "out" / options.MARKS[content][-1].replace("*", "entropy")
    begun = False

    def stop(*args, **kwargs):
        if begun:
            mark.parent.mkdir(parents=True, exist_ok=True)
            mark.write_text("begun")
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text("seeds = 2\nepochs = 1\n[[arms]]\nname = 'a'")
    for name in ("study.Study.run", "tuning.search", "landscape.density_of_states"):
        monkeypatch.setattr(f"keras_entropy.{name}", stop)
    arguments = [command, *(["study.toml"] if command == "study" else []), "--output", "out"]

    results = [CliRunner().invoke(app, arguments)]
    begun = True
    results += [CliRunner().invoke(app, [*arguments, *option]) for option in ([], ["--overwrite"])]
    begun = False
    results.append(CliRunner().invoke(app, [*arguments, "--overwrite"]))

    assert [result.exit_code for result in results] == [130] * 4
    assert "Stopped. Nothing was begun. Run the same command again." in results[0].output
    assert "Continue with the same command and --resume." in results[1].output
    assert "Continue with the same command and --resume in place of --overwrite." in results[2].output
    # A study and a search keep the earlier one until they begin; a walk has begun here.
    still = "Nothing was begun." if content == "walk" else f"The earlier {content} is still in out."
    assert f"Stopped. {still} Run the same command again." in results[3].output


@pytest.mark.parametrize(
    ("arguments", "module"),
    [
        (["train"], "sklearn"),
        (["train"], "tensorboard"),
        (["train"], "matplotlib"),
        (["profile", "cnn", "--plot", "p.png"], "matplotlib"),
        (["study", "study.toml"], "loky"),
        (["study", "study.toml"], "pandas"),
        (["study", "study.toml"], "filelock"),
        (["study", "study.toml"], "matplotlib"),
        (["search"], "loky"),
        (["search"], "pandas"),
        (["search"], "matplotlib"),
        (["search"], "tensorboard"),
        (["landscape"], "matplotlib"),
        (["landscape", "--data-seeds", "2"], "loky"),
    ],
)
def test_missing_packages_are_named_before_anything_is_computed(arguments, module, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "study.toml").write_text("[[arms]]\nname = 'baseline'")
    presets._loaded.cache_clear()  # the digits of an earlier test
    monkeypatch.setitem(sys.modules, module, None)

    result = command(*arguments)

    assert result.exit_code == 2
    assert re.fullmatch(rf"Error: .* needs {module}, .*: pip install \"keras-entropy\[.*\]\"\n", result.stderr)
    assert result.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["study.toml"]


def test_the_command_without_typer_names_its_extra(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "typer", None)

    with pytest.raises(SystemExit) as caught:
        keras_entropy_cli.main()

    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "Error: The keras-entropy command needs typer, which is not installed. "
        'Install it with: pip install "keras-entropy[cli]"\n'
    )


def test_one_line_keeps_letters_of_all_languages():
    assert one_line(" größe \n\t 大 \x00") == "größe 大 ?"


@pytest.mark.processes
def test_help_version_and_errors_in_the_arguments_do_not_wait_for_keras(child_environment, tmp_path):
    code = (
        "import sys, time\n"
        "from keras_entropy_cli import main\n"
        "try: main()\n"
        "finally: print('LOADED', [n for n in ('keras', 'numpy', 'tensorflow', 'jax', 'torch') if n in sys.modules],\n"
        "    time.process_time(), file=sys.stderr)"
    )
    seconds = {}
    for arguments in [[], ["--help"], ["--version"], *([c, "--help"] for c in COMMANDS), *(c[0] for c in USAGE_ERRORS)]:
        child = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(
            child, env=child_environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
        )
        assert "Traceback" not in done.stderr
        loaded, seconds[" ".join(arguments)] = re.search(r"LOADED (\[.*\]) (.*)$", done.stderr).groups()
        assert (arguments, loaded) == (arguments, "[]")
    assert {call: s for call, s in seconds.items() if float(s) >= 1.5} == {}


@pytest.mark.processes
def test_python_m_keras_entropy_is_the_command(child_environment, tmp_path):
    child = [sys.executable, "-m", "keras_entropy", "profile", "cnn", "--json", "p.json"]
    done = subprocess.run(child, env=child_environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "conv1" in done.stdout
    assert (tmp_path / "p.json").is_file()
