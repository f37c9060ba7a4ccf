"""The command, with an entry that trains nothing."""

import json
import subprocess
import sys
import types
from typing import NamedTuple

import pytest

pytest.importorskip("filelock", reason="the folder of a reproduction is locked")

from conftest import ROOT
from keras_entropy.study import JobError
from keras_entropy.study.document import Heading, Picture
from reproduction import Outcome, entries, output_folder
from reproduction.__main__ import main
from reproduction.study_runs import run_study

pytestmark = pytest.mark.once

OUTCOME = Outcome(
    reduced=("Seeds: 2, not 10.",),
    blocks=(Heading("The figure"), Picture("a-fake.png", b"\x89PNG", "A curve.", "a curve")),
    conclusions=("no difference shown between eq. 24 and none",),
)


@pytest.fixture
def asked(monkeypatch):
    """An entry that trains nothing; gives the settings that it was called with."""
    settings = []

    def run(name, given):
        settings.append(given)
        if given.seeds == 13:
            raise KeyboardInterrupt
        if given.seeds == 14:
            raise FileNotFoundError("No prepared data set 'mnist' in /nowhere.")
        if given.seeds == 15:
            raise JobError("A training process was killed.")
        if given.seeds == 2 and len(settings) > 1:
            raise ValueError("holds a study with also seed 2")
        return OUTCOME

    monkeypatch.setitem(sys.modules, "reproduction.fake", types.SimpleNamespace(run=run))
    monkeypatch.setitem(entries.ENTRIES, "a-fake", entries.Entry("a-fake", "A fake figure", "fake"))
    monkeypatch.setattr(entries.Entry, "claim", "It is better.")
    return settings


class Result(NamedTuple):
    exit_code: int
    output: str
    errors: str


@pytest.fixture
def command(capsys):
    def run(*arguments):
        capsys.readouterr()
        try:
            main([*map(str, arguments)])
        except SystemExit as end:
            return Result(end.code or 0, *capsys.readouterr())
        return Result(0, *capsys.readouterr())

    return run


def test_all_names_are_listed_with_what_they_show(asked, command):
    printed = command("list")

    assert printed.exit_code == 0
    assert "a-fake    A fake figure" in printed.output
    assert "a-table1" in printed.output


def test_the_page_the_figures_and_the_conclusions_are_written_and_said(asked, command, tmp_path):
    result = command("a-fake", "--output", tmp_path / "out", "--seeds", 3, "--data", tmp_path, "--workers", 1)

    assert result.exit_code == 0, result.output
    assert "Reduced: Seeds: 2, not 10." in result.output + result.errors
    assert "* no difference shown between eq. 24 and none" in result.output + result.errors
    (settings,) = asked
    assert (settings.seeds, settings.workers, settings.data, settings.scale) == (3, 1, tmp_path, "small")
    folder = tmp_path / "out"
    page = (folder / "page.md").read_text()
    assert page.index("Differences from the paper's protocol:") < page.index("The paper: It is better.")
    assert page.index("## Conclusions") < page.index("## The figure") < page.index("## How it was run")
    assert f"-m reproduction a-fake --seeds 3 --data {tmp_path}" in page
    assert (folder / "a-fake.png").read_bytes() == b"\x89PNG"
    assert "data:image/png;base64," in (folder / "page.html").read_text()
    state = json.loads((folder / "reproduction.json").read_text())
    assert state["conclusions"] == list(OUTCOME.conclusions)


def test_an_unknown_name_is_answered_with_the_known_ones(asked, command, tmp_path):
    result = command("a-fig2", "--output", tmp_path / "out")

    assert result.exit_code == 2
    assert "a-fake" in result.output + result.errors
    assert "a-fig2" in result.output + result.errors
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "--resume to continue it"),
        (("--overwrite", "--resume"), "exclude each other"),
        (("--resume", "--data", "."), "Give the same data"),
        (("--resume", "--data", "nowhere"), "`data` should be an existing folder"),
        (("--resume", "--data", __file__), "`data` should be an existing folder"),
    ],
)
def test_a_reproduction_is_not_touched_unasked(asked, command, tmp_path, options, said):
    assert command("a-fake", "--output", tmp_path / "out").exit_code == 0
    before = (tmp_path / "out" / "reproduction.json").read_text()

    result = command("a-fake", "--output", tmp_path / "out", *options)

    assert result.exit_code == 2
    assert said in result.output + result.errors
    assert (tmp_path / "out" / "reproduction.json").read_text() == before
    assert len(asked) == 1


def test_what_there_is_can_be_gone_on_with_or_replaced(asked, command, tmp_path):
    output = tmp_path / "out"
    assert command("a-fake", "--output", output).exit_code == 0
    (output / "records").write_text("of a study")

    assert command("a-fake", "--output", output, "--resume").exit_code == 0
    assert (output / "records").exists()

    assert command("a-fake", "--output", output, "--overwrite", "--seeds", 5).exit_code == 0
    assert not (output / "records").exists()
    assert (tmp_path / "out.old-1" / "records").read_text() == "of a study"
    assert command("a-fake", "--output", output, "--resume").exit_code == 0
    assert [settings.seeds for settings in asked] == [None, None, 5, 5]


def test_what_was_to_be_replaced_comes_back_where_nothing_can_begin(asked, command, tmp_path):
    output = tmp_path / "out"
    assert command("a-fake", "--output", output).exit_code == 0
    (output / "records").write_text("of a study")

    result = command("a-fake", "--output", output, "--overwrite", "--seeds", 14)

    assert result.exit_code == 2
    assert "No prepared data set" in result.output + result.errors
    assert (output / "records").read_text() == "of a study"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_other_files_are_never_removed(asked, command, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")

    for options in ((), ("--overwrite",)):
        result = command("a-fake", "--output", tmp_path, *options)
        assert result.exit_code == 2
        assert "holds other files" in result.output + result.errors
    result = command("a-fake", "--output", tmp_path, "--resume")
    assert result.exit_code == 2
    assert "holds no reproduction to resume" in result.output + result.errors

    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_overwriting_waits_for_valid_options_and_spares_what_is_not_ours(asked, command, tmp_path):
    output = tmp_path / "out"
    assert command("a-fake", "--output", output).exit_code == 0
    assert command("a-fake", "--output", output, "--overwrite", "--scale", "big").exit_code == 2
    assert (output / "reproduction.json").exists()

    with output_folder.lock(output):
        result = command("a-fake", "--output", output, "--overwrite")
    assert result.exit_code == 2
    assert "Another process works in" in result.output + result.errors

    (output / "reproduction.json").write_text('{"my": "notes"}')
    for option in ("--overwrite", "--resume"):
        result = command("a-fake", "--output", output, option)
        assert result.exit_code == 2
        assert "is not the file of a reproduction" in result.output + result.errors
    assert (output / "reproduction.json").read_text() == '{"my": "notes"}'


def test_a_training_process_that_fails_is_one_line(asked, command, tmp_path):
    result = command("a-fake", "--output", tmp_path / "out", "--seeds", 15)

    assert result.exit_code == 2
    assert result.errors == "Error: A training process was killed.\n"


def test_ctrl_c_says_how_to_go_on(asked, command, tmp_path):
    result = command("a-fake", "--output", tmp_path / "out", "--seeds", 13)

    assert result.exit_code == 130
    assert "Continue with the same command and --resume" in result.output + result.errors
    assert str(tmp_path / "out") in result.errors
    assert command("a-fake", "--output", tmp_path / "out", "--seeds", 13, "--resume").exit_code == 130
    result = command("a-fake", "--output", tmp_path / "out", "--seeds", 13, "--overwrite")
    assert "--resume in place of --overwrite" in result.output + result.errors
    assert (tmp_path / "out.old-1").exists()


def test_a_stop_after_seeds_were_added_is_gone_on_with_by_resume_alone(asked, command, tmp_path):
    assert command("a-fake", "--output", tmp_path / "out", "--seeds", 4).exit_code == 0
    assert command("a-fake", "--output", tmp_path / "out", "--resume", "--seeds", 13).exit_code == 130
    assert command("a-fake", "--output", tmp_path / "out", "--resume").exit_code == 130

    assert [settings.seeds for settings in asked] == [4, 13, 13]


def test_seeds_that_the_study_refuses_leave_the_state_as_it_was(asked, command, tmp_path):
    assert command("a-fake", "--output", tmp_path / "out", "--seeds", 4).exit_code == 0
    before = (tmp_path / "out" / "reproduction.json").read_text()

    assert command("a-fake", "--output", tmp_path / "out", "--resume", "--seeds", 2).exit_code == 2

    assert (tmp_path / "out" / "reproduction.json").read_text() == before


def test_runs_that_did_not_finish_are_trained_again_where_it_is_asked_for(asked, command, tmp_path):
    assert command("a-fake", "--output", tmp_path / "out").exit_code == 0
    assert command("a-fake", "--output", tmp_path / "out", "--resume", "--retry-failed").exit_code == 0

    assert [settings.retry_failed for settings in asked] == [False, True]
    for settings in asked:
        study = types.SimpleNamespace(run=lambda **options: types.SimpleNamespace(records=[options]))
        assert run_study(study, settings)[0]["retry_failed"] is settings.retry_failed


def test_missing_data_is_said_without_a_traceback(asked, command, tmp_path):
    result = command("a-fake", "--output", tmp_path / "out", "--seeds", 14)

    assert result.exit_code == 2
    assert "No prepared data set 'mnist'" in result.output + result.errors
    assert result.errors == "Error: No prepared data set 'mnist' in /nowhere.\n"
    assert command("a-fake", "--output", tmp_path / "out").exit_code == 0  # nothing had begun


@pytest.mark.parametrize("options", [("--seeds", 1), ("--scale", "huge"), ("--workers", 0)])
def test_bad_options_are_refused_before_anything_is_made(asked, command, tmp_path, options):
    assert command("a-fake", "--output", tmp_path / "out", *options).exit_code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [("--sheds", 2), ("--seeds", "two"), ("--scale", "huge"), ()])
def test_usage_errors_are_one_line(asked, command, options):
    result = command(*(("a-fake", *options) if options else ()))

    assert result.exit_code == 2
    assert result.errors.startswith("Error: ")
    assert len(result.errors.splitlines()) == 1


def test_help_has_an_example(command):
    result = command("--help")

    assert result.exit_code == 0
    assert "python -m reproduction a-fig3 --seeds 3 --data" in result.output


@pytest.mark.processes
def test_the_list_is_printed_from_a_checkout_without_importing_keras(child_environment):
    code = "import runpy, sys; sys.argv[1:] = ['list']; runpy.run_module('reproduction', run_name='__main__'); "
    code += "print('keras' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=child_environment, capture_output=True, text=True, check=True
    )

    assert done.stdout.startswith("a-fig1")
    assert done.stdout.splitlines()[-1] == "False"
