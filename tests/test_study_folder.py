"""The folder of a study: it grows, refuses other studies, and survives a kill at every write. Nothing is trained."""

import collections
import contextlib
import io
import itertools
import json
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import FileLock
from study_cases import build, data, data_of_seed

from keras_entropy import DenseEntropy
from keras_entropy.study import Arm, Study, folder, read_records, single_run

pytestmark = pytest.mark.once

ARMS = [Arm("none"), Arm("volume", "first", DenseEntropy, tune={"factor": [0.0, 0.1]})]


@pytest.fixture
def trained(monkeypatch):
    """Replaces training; returns the tasks of the runs that were started."""
    started = []

    def train(job, task):
        started.append(task)
        return task.record(history={"val_task_loss": [1.0 / (1 + task.seed)]})

    monkeypatch.setattr(single_run, "train", train)
    return started


def study(output, arms=ARMS, **settings):
    usual = {"seeds": [0, 1], "tune_seeds": [7], "data": data, "epochs": 2, "output": output}
    return Study(build, arms, **{**usual, **settings})


def run(*arguments, **settings):
    """Run a study in this process."""
    with ThreadPoolExecutor(1) as executor:
        return study(*arguments, **settings).run(executor, progress=False)


def test_nothing_runs_twice_and_a_study_can_grow(trained, tmp_path):
    result = run(tmp_path)
    before = (tmp_path / "runs.jsonl").read_bytes()
    assert len(trained) == len(result) == 6

    assert list(map(repr, run(tmp_path))) == list(map(repr, result))
    assert (tmp_path / "runs.jsonl").read_bytes() == before
    assert len(trained) == 6

    with (tmp_path / "runs.jsonl").open("ab") as file:
        file.write(b'{"schema": "keras-entropy/run/1", "arm": "no')
    grown = run(tmp_path, seeds=[0, 1, 2], arms=[*ARMS, Arm("wide", width=6)])
    assert (tmp_path / "runs.jsonl").read_bytes().startswith(before)
    assert collections.Counter(r.arm for r in grown if r.role == "report") == {"none": 3, "volume": 3, "wide": 3}
    assert len(trained) == 6 + 5


def test_a_record_of_another_study_is_refused(trained, tmp_path):
    run(tmp_path / "other", epochs=3)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "runs.jsonl").write_bytes((tmp_path / "other" / "runs.jsonl").read_bytes())
    folder.results_of(tmp_path / "own").describe("study.json", folder.SCHEMA, study(tmp_path / "own").describe())
    with pytest.raises(
        ValueError, match=r"runs.jsonl, line 1 .*: it is from another study or search\. Delete the line"
    ):
        run(tmp_path / "own")


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"epochs": 3}, "epochs"),
        ({"batch_size": 3}, "batch_size"),
        ({"tune_seeds": [8]}, "tune_seeds"),
        ({"arms": [Arm("none", width=5), ARMS[1]]}, "arguments of arm 'none'"),
        ({"arms": [ARMS[0], Arm("volume", "all", DenseEntropy, tune={"factor": [0.0, 0.1]})]}, "placement of arm"),
        ({"arms": [ARMS[0], Arm("volume", "first", DenseEntropy, tune={"factor": [0.0, 0.2]})]}, "tune of arm"),
        ({"data": data_of_seed}, "data"),
        ({"arms": ARMS[:1]}, "arm 'volume'"),
        ({"seeds": [1]}, "seed 0"),
        ({"grid": {"width": [2]}}, "grid"),
    ],
)
def test_the_folder_of_another_study_is_refused(changes, named, trained, tmp_path):
    run(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=f"holds a study with (other settings|further runs): {named}.*overwrite=True"):
        run(tmp_path, **changes)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert len(trained) == 6


def test_a_folder_in_work_is_refused(tmp_path):
    tmp_path.mkdir(exist_ok=True)
    with FileLock(tmp_path / ".lock"), pytest.raises(BlockingIOError, match="Another process works on"):
        run(tmp_path)


def test_a_study_replaces_an_earlier_one_and_its_report_under_one_lock(trained, tmp_path, monkeypatch):
    from keras_entropy.runs.folder import ResultsFolder

    run(tmp_path)
    (tmp_path / "report").mkdir()
    for name in ("report.md", "notes.md"):
        (tmp_path / "report" / name).write_text("old")
    locked, locks = ResultsFolder.locked, []
    monkeypatch.setattr(ResultsFolder, "locked", lambda self, **how: locks.append(how) or locked(self, **how))
    with ThreadPoolExecutor(1) as executor:
        study(tmp_path, epochs=3).run(executor, overwrite=True, progress=False)
    assert len(locks) == 1
    assert json.loads((tmp_path / "study.json").read_text())["epochs"] == 3
    assert len(trained) == 12
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["notes.md"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": "keras-entropy/study/9"}'])
def test_a_description_that_is_none_is_refused(text, tmp_path):
    (tmp_path / "study.json").write_text(text)
    with pytest.raises(ValueError, match="does not describe a study"):
        run(tmp_path)


class Killed(BaseException):
    """Stands for a kill: nothing catches it, and nothing is written after it."""


class Kill:
    """Raises `Killed` at the n-th change of a file, and at all later ones, as a killed process writes no more.

    Args:
        n: which change, counted from 1.
        kept: share of what was appended since the last fsync that reaches the disk if the kill hits the fsync.
    """

    def __init__(self, monkeypatch, n, kept=1.0):
        self.left, self.kept, self.dead, self.synced = n, kept, False, {}
        for owner, name in (
            (os, "fsync"), (tempfile, "mkstemp"), (Path, "mkdir"), (Path, "write_text"), (Path, "chmod"),
            (Path, "replace"), (Path, "unlink"), (Path, "open"),
        ):  # fmt: skip
            monkeypatch.setattr(owner, name, self.guarded(getattr(owner, name)))

    def guarded(self, function):
        def call(*arguments, **options):
            writes = function.__name__ != "open" or (arguments[1:2] and arguments[1] not in ("r", "rb"))
            if writes and not self.dead:
                self.left -= 1
                self.dead = self.left <= 0
                if self.dead and function.__name__ == "fsync":
                    self.tear(arguments[0])
            if writes and self.dead:
                raise Killed
            result = function(*arguments, **options)
            if function.__name__ == "fsync":
                self.synced[os.fstat(arguments[0]).st_ino] = os.fstat(arguments[0]).st_size
            return result

        return call

    def tear(self, handle):
        state = os.fstat(handle)
        safe = min(self.synced.get(state.st_ino, 0), state.st_size)
        os.ftruncate(handle, safe + int(self.kept * (state.st_size - safe)))


@pytest.mark.parametrize(("torn", "kept"), [(False, 0.0), (False, 0.4), (False, 1.0), (True, 1.0)])
def test_a_kill_at_any_write_loses_nothing_that_is_recorded(torn, kept, trained, tmp_path):
    """One kill at each change of a file, then the study goes on: it trains the runs without a record, and no other.

    A torn folder is one that a kill has left before, with three records and a part of the fourth.
    """
    run(tmp_path / "whole")
    for n in itertools.count(1):
        folder = tmp_path / str(n)
        if torn:
            shutil.copytree(tmp_path / "whole", folder)
            runs = (folder / "runs.jsonl").read_bytes().splitlines(keepends=True)
            (folder / "runs.jsonl").write_bytes(b"".join(runs[:3]) + runs[3][:40])
        with pytest.MonkeyPatch.context() as monkeypatch:
            kill = Kill(monkeypatch, n, kept)
            with contextlib.suppress(Killed):
                run(folder)
        runs = folder / "runs.jsonl"
        before = runs.read_bytes() if runs.exists() else b""
        whole = before[: before.rfind(b"\n") + 1]
        recorded = len(whole.splitlines())

        trained.clear()
        result = run(folder)
        assert len(trained) == 6 - recorded
        assert runs.read_bytes().startswith(whole)
        keys = [json.dumps([line[name] for name in ("arm", "seed", "role", "tuned")]) for line in lines(runs)]
        assert len(keys) == len(set(keys)) == len(result) == 6
        assert sorted(map(repr, read_records(folder))) == sorted(map(repr, result))
        assert not list(folder.glob(".partial-*"))
        shutil.rmtree(folder)
        if not kill.dead:
            break
    assert n > 15  # changes of files in a study of six runs


def lines(path):
    return [json.loads(line) for line in io.StringIO(path.read_text())]
