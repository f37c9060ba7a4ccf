"""Who may write in a results folder: one process at a time, also where locks or hard links are missing."""

import errno
import os
import subprocess
import sys

import filelock
import pytest

from keras_entropy import EntropyWarning, _files
from keras_entropy.runs.folder import ResultsFolder
from keras_entropy.study import folder as study_folder

pytestmark = pytest.mark.once

HOLD = """
import sys
from pathlib import Path
from keras_entropy.runs.folder import ResultsFolder
with ResultsFolder(Path(sys.argv[1]), "study", ("study.json",)).locked():
    print("locked", flush=True)
    sys.stdin.readline()
"""


def results(folder):
    return ResultsFolder(folder, "study", ("study.json",), ("runs.jsonl",))


def names(folder):
    return {path.name for path in folder.iterdir()}


def test_the_lock_is_held_from_the_removal_to_the_end_of_the_work(tmp_path):
    for name in ("study.json", "runs.jsonl", "thesis.tex"):
        (tmp_path / name).write_text("mine")
    with results(tmp_path).locked(overwrite=True):
        assert names(tmp_path) == {"thesis.tex", ".lock", ".lock-holder"}
        (tmp_path / "study.json").write_text("new")
        with pytest.raises(BlockingIOError), results(tmp_path).locked(overwrite=True):
            pass
        assert (tmp_path / "study.json").read_text() == "new"
    assert names(tmp_path) == {"thesis.tex", "study.json", ".lock"}
    with results(tmp_path).locked():
        pass


def test_an_error_in_the_work_unlocks(tmp_path):
    with pytest.raises(ZeroDivisionError), results(tmp_path).locked():
        raise ZeroDivisionError
    with results(tmp_path).locked():
        pass


@pytest.mark.processes
def test_the_refusal_says_which_process_works_there(tmp_path, child_environment):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), "two words"],
        env=child_environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with child:
        assert child.stdout.readline() == "locked\n"
        expected = rf"Another process works on .* \(process {child.pid} on .*: -c .* 'two words'\)\. Wait until"
        with pytest.raises(BlockingIOError, match=expected), results(tmp_path).locked():
            pass
        child.kill()
    with results(tmp_path).locked():  # what a killed process has left locks nothing, and says nothing
        assert f"process {os.getpid()} on" in (tmp_path / ".lock-holder").read_text()


def test_a_lock_of_an_unknown_process_is_a_lock(tmp_path):
    with (
        filelock.FileLock(tmp_path / ".lock"),
        pytest.raises(BlockingIOError, match=f"Another process works on {tmp_path}. Wait"),
        results(tmp_path).locked(),
    ):
        pass


@pytest.mark.parametrize(
    "error",
    [
        NotImplementedError("FileSystem does not appear to support flock"),
        *(OSError(number, os.strerror(number)) for number in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)),
    ],
)
def test_a_file_system_without_locks_gets_a_warning_and_the_work_goes_on(error, tmp_path, monkeypatch):
    def acquire(*_, **__):
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    (tmp_path / "study.json").write_text("old")
    with (
        pytest.warns(EntropyWarning, match="cannot be locked.*no other process"),
        results(tmp_path).locked(overwrite=True),
    ):
        assert not (tmp_path / "study.json").exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no flock")
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_flock_that_fails_gets_a_warning_and_the_work_goes_on(number, tmp_path, monkeypatch):
    import fcntl

    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.warns(EntropyWarning, match=f"cannot be locked.*{os.strerror(number)}"), results(tmp_path).locked():
        assert ".lock-holder" in names(tmp_path)


def test_another_error_of_the_lock_is_an_error(tmp_path, monkeypatch):
    def acquire(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    (tmp_path / "study.json").write_text("old")
    with pytest.raises(OSError, match="No space left"), results(tmp_path).locked(overwrite=True):
        pass
    assert (tmp_path / "study.json").exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is not JSON"),
        ("[]", "it is not a JSON object"),
        ('{"schema": "b"}', "its schema is 'b', and this version reads 'a'"),
        ('{"schema": "a", "sha256": "1"}', "its checksum is wrong"),
    ],
)
def test_a_damaged_description_is_named(text, reason, tmp_path):
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(ValueError, match=f"study.json does not describe a study: {reason}.*--overwrite"):
        results(tmp_path).description("study.json", "a")


# File systems of a network


NETWORK = {
    errno.EBUSY: "Close the program that has a file of it open",
    errno.ENOTEMPTY: "Close the program that has a file of it open",
    errno.ESTALE: "The network disk does not answer",
    errno.ETIMEDOUT: "The network disk does not answer",
}
"""Errors of a removal or a renaming, and what to do."""


def failing(number):
    def fails(*_, **__):
        raise OSError(number, os.strerror(number))

    return fails


@pytest.mark.parametrize("number", NETWORK, ids=errno.errorcode.get)
def test_a_file_that_is_open_elsewhere_stops_the_removal_before_the_mark_of_the_work(number, tmp_path, monkeypatch):
    work = ResultsFolder(tmp_path, "study", ("study.json",), ("checkpoints",))
    (tmp_path / "study.json").write_text("old")
    (tmp_path / "checkpoints").mkdir()

    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", failing(number))
        with (
            pytest.raises(_files.WriteError, match=f"Cannot remove .*checkpoints: .*{NETWORK[number]}"),
            work.locked(overwrite=True),
        ):
            pass

    assert work.holds_work
    with work.locked(overwrite=True):  # the lock was released, and the removal goes on
        assert names(tmp_path) == {".lock", ".lock-holder"}


@pytest.mark.parametrize("number", NETWORK, ids=errno.errorcode.get)
def test_a_renaming_that_fails_leaves_the_earlier_file(number, tmp_path, monkeypatch):
    _files.write_text(tmp_path / "a.json", "old")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", failing(number))
        with pytest.raises(_files.WriteError, match=f"Cannot write .*a.json: .*{NETWORK[number]}"):
            _files.write_text(tmp_path / "a.json", "new")

    assert names(tmp_path) == {"a.json"}
    assert (tmp_path / "a.json").read_text() == "old"


def test_the_runs_of_a_study_are_returned_though_its_checkpoints_cannot_be_removed(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "rmdir", failing(errno.ENOTEMPTY))
        with (
            pytest.warns(EntropyWarning, match=r"Cannot remove .*checkpoints: .*Close the program"),
            study_folder.recorded(tmp_path, {"arms": []}, str) as records,
        ):
            assert records.all() == []

    with study_folder.recorded(tmp_path, {"arms": []}, str):
        pass
    assert not (tmp_path / "checkpoints").exists()
