"""What a command writes, also where it cannot be written: a closed pipe, a full disk, an ASCII terminal."""

import re
import subprocess
import sys
import warnings

import pytest
import typer

from keras_entropy_cli import errors

pytestmark = pytest.mark.once

START = "import sys\nfrom keras_entropy_cli import main\nsys.argv[0] = 'keras-entropy'\nmain()"


def test_a_closed_pipe_ends_a_command_quietly(capsys):
    with pytest.raises(typer.Exit) as caught, errors.user_errors():
        raise BrokenPipeError

    assert caught.value.exit_code == 141
    assert capsys.readouterr().err == ""


def test_text_of_other_people_is_printed_as_text(capsys):
    errors.echo("a\x1b[31mb\x07\n\udcffc\r")
    assert capsys.readouterr().out == "a?[31mb?\n?c?\n"


def test_a_warning_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    with errors.terminal(), warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("a\n\x1b[31mb", stacklevel=1)
        warnings.warn("c", RuntimeWarning, stacklevel=1)

    assert capsys.readouterr().err == "Warning: a ?[31mb\nWarning: RuntimeWarning: c\n"


@pytest.mark.processes
@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["--version"], ["profile", "cnn"]])
def test_output_that_nobody_reads_is_no_error(arguments, child_environment):
    code = f"import time\ntime.sleep(0.2)\n{START}"
    child = subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env=child_environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    child.stdout.close()
    with child:
        said = child.stderr.read()

    assert child.returncode in (1, 141)  # typer and rich end with 1 themselves
    assert not [line for line in said.splitlines() if "Error" in line or "Traceback" in line]


@pytest.mark.processes
@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_output_to_a_full_disk_is_one_line(arguments, child_environment):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", START, *arguments],
            env=child_environment, stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip

    assert done.returncode == 2
    assert done.stderr == "Error: Cannot write the output: No space left on device. Write it somewhere else.\n"


@pytest.mark.processes
def test_a_terminal_without_unicode_gets_escapes(child_environment, tmp_path):
    ascii_only = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    (tmp_path / "gr\u00fcn.toml").write_text("[")
    for arguments in (["--help"], ["study", "--help"], ["study", "gr\u00fcn.toml"]):
        done = subprocess.run(
            [sys.executable, "-c", START, *arguments],
            env=child_environment | ascii_only, cwd=tmp_path, capture_output=True, check=False,
        )  # fmt: skip
        assert b"Traceback" not in done.stderr
        assert (done.stdout + done.stderr).isascii()
        assert done.returncode == (0 if "--help" in arguments else 2), done.stderr


@pytest.mark.processes
def test_tensorflows_own_lines_are_not_shown(child_environment, tmp_path):
    environment = {name: value for name, value in child_environment.items() if not name.startswith("TF_CPP")}
    arguments = ["train", "--model", "autoencoder", "--epochs", "1", "--output", str(tmp_path / "out")]
    found = subprocess.run(
        [sys.executable, "-c", START, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    assert not re.search("oneDNN|I0000|E0000|absl|cuda", found.stdout + found.stderr)
