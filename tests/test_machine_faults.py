"""Faults of the machine, such as a full disk or a folder that goes away: one line names the file and what to do.

What was finished is kept: the same call, once the fault is mended, ends with the numbers of one without faults.
"""

import errno
import itertools
import os
import shutil
import tempfile
import warnings
from concurrent.futures import ThreadPoolExecutor

import keras
import pytest
from quick import quick_training
from study_cases import build, data
from test_fuzz import ended_command, profiled, search, train_command, train_run, walk
from tuning_cases import arrays, hypermodel

from keras_entropy import DenseEntropy, EntropyWarning, _files, models
from keras_entropy.events import EventWriter
from keras_entropy.landscape import DensityOfStates
from keras_entropy.profile import EntropyProfile
from keras_entropy.runs.records import RunRecord, RunRecords
from keras_entropy.study import Arm, Study, read_records
from keras_entropy.tuning import EntropyTuner

resource = pytest.importorskip("resource", reason="limits of processes, which Windows does not have")
pytestmark = pytest.mark.once


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with quick_training():
        yield


class Fault(keras.callbacks.Callback):
    """Calls a function before the second epoch."""

    happens = staticmethod(lambda: None)

    def on_epoch_begin(self, epoch, logs=None):
        if epoch:
            Fault.happens()


def callbacks():
    return [Fault()]


def study(folder):
    """Trains two runs of two epochs, with a checkpoint after each."""
    arms = [Arm("none", eager=True), Arm("volume", "first", DenseEntropy(0.1), eager=True)]
    with ThreadPoolExecutor(1) as executor:
        found = Study(build, arms, [0], data=data, epochs=2, callbacks=callbacks, output=folder / "out").run(
            executor, progress=False
        )
    return [(run.slot, run.status, run.history, run.final_weights) for run in found.records]


def trained_search(folder):
    tuner = EntropyTuner(hypermodel(), max_trials=2, seeds=[0], directory=folder)
    tuner.search(**arrays(), epochs=2, verbose=0)
    return [(run.slot, run.history, run.final_weights) for run in tuner.records.all()]


def saved_measures(folder):
    profiled(folder)
    walk(folder).save(folder / "d.json")
    return repr(EntropyProfile.load(folder / "p.json").measure), DensityOfStates.load(folder / "d.json").moves


def command(folder):
    if not (folder / "out" / "run.json").exists():
        shutil.rmtree(folder / "out", ignore_errors=True)
        ended_command(folder)
    return train_command(folder)


WORK = {
    "study": study,
    "search": search,
    "trained search": trained_search,
    "run": train_run,
    "train": command,
    "measures": saved_measures,
}


def error_of(name, folder):
    """The error that ends work; None if it ends well."""
    try:
        WORK[name](folder)
    except Exception as error:
        return error
    return None


def again(name, folder):
    """Work that goes on after a fault."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*trial.json differs from oracle.json", EntropyWarning)
        return WORK[name](folder)


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in ("study", "trained search", "train"))) for name in WORK],
)
def test_a_full_disk_at_any_write_is_one_line_and_costs_nothing(name, tmp_path, monkeypatch):
    expected = WORK[name](fresh(tmp_path / "whole"))
    fsync, refusals = os.fsync, 0
    for number in itertools.count():
        folder, writes = fresh(tmp_path / "parts"), itertools.count()

        def full(handle, number=number, writes=writes):
            if next(writes) == number:
                raise OSError(errno.ENOSPC, "No space left on device")
            fsync(handle)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            error = error_of(name, folder)
        if error is not None:  # else the note of who works on the folder was lost, or nothing
            refusals += 1
            assert f"Cannot write {folder}" in str(error), repr(error)
            assert "No space left on device. Free some space there" in str(error)
            assert not list(folder.rglob(f"{_files.PARTIAL}*"))
        assert again(name, folder) == expected
        if next(writes) <= number:
            break
    assert refusals >= 2


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", ["study", "trained search", "run", "train"])
@pytest.mark.parametrize("limit", [600, 3000, 8000])
def test_a_limit_on_the_size_of_files_is_one_line(name, limit, tmp_path):
    expected = WORK[name](fresh(tmp_path / "whole"))
    folder = fresh(tmp_path / "limited")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
        error = error_of(name, folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error is None or f"Cannot write {folder}" in str(error), repr(error)
    assert error is None or "File too large. Raise the limit on the size of files (ulimit -f)" in str(error)
    assert limit > 3000 or error is not None
    assert again(name, folder) == expected


# Folders that go away


@pytest.mark.parametrize("change", ["removed", "renamed"])
def test_a_folder_that_goes_away_under_a_study_is_named_and_nothing_is_written_in_its_place(
    change, tmp_path, monkeypatch
):
    expected, folder = study(fresh(tmp_path / "whole")), tmp_path / "a"

    def go():
        if (folder / "out").exists() and (folder / "out" / "runs.jsonl").exists():
            shutil.rmtree(folder / "out") if change == "removed" else (folder / "out").rename(folder / "elsewhere")

    with monkeypatch.context() as patch:
        patch.setattr(Fault, "happens", go)
        with pytest.raises(_files.WriteError, match=r"Cannot write .*npz: No such file .* removed or renamed"):
            study(folder)
    assert not (folder / "out").exists()
    if change == "renamed":
        (folder / "elsewhere").rename(folder / "out")
        assert len(read_records(folder / "out")) == 1
    assert study(folder) == expected


def test_records_that_were_cut_meanwhile_are_named(tmp_path):
    records = RunRecords(tmp_path / "runs.jsonl")
    records.add(RunRecord(arm="a", seed=0))
    content = (tmp_path / "runs.jsonl").read_bytes()
    (tmp_path / "runs.jsonl").write_bytes(content[:9])
    with pytest.raises(_files.WriteError, match="runs.jsonl has lost records .* another program"):
        records.add(RunRecord(arm="a", seed=1))
    assert (tmp_path / "runs.jsonl").read_bytes() == content[:9]
    (tmp_path / "runs.jsonl").unlink()
    with pytest.raises(_files.WriteError, match=r"Cannot write .*runs.jsonl: No such file"):
        records.add(RunRecord(arm="a", seed=1))
    assert not (tmp_path / "runs.jsonl").exists()


# Temporary folders


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "a.keras"
    models.autoencoder((4,), width=2).save(path)
    return path


@pytest.mark.parametrize(
    "load", [models.load_model, lambda path: models.load_weights(models.autoencoder((4,), 2), path)]
)
def test_a_model_is_not_called_damaged_for_want_of_a_temporary_folder(load, model, monkeypatch):
    load(model)
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(model.with_name("nothing")))
        with pytest.raises(OSError, match=r"Cannot make a temporary folder: .*nothing.* Set the variable TMPDIR"):
            load(model)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfileobj", full_disk)
        with pytest.raises(OSError, match=r"Cannot write .*keras-entropy-.*: No space left on device\. Free some"):
            load(model)


def full_disk(*args):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("step", ["open", "write"])
def test_an_event_file_that_cannot_be_written_is_named(step, tmp_path):
    if step == "open":
        (tmp_path / "logs").write_text("a file")
        with pytest.raises(OSError, match="logs"):
            EventWriter(tmp_path / "logs")
        return
    writer = EventWriter(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        with pytest.raises(_files.WriteError, match=r"Cannot write .*tfevents.*: File too large\. Raise the limit"):
            writer.flush()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    writer.close()


def test_an_error_of_hdf5_names_the_file_and_others_stay(tmp_path):
    text = "Can't decrement id ref count (file write failed: errno = 28, error message = 'No space left on device')"
    with pytest.raises(_files.WriteError, match=r"Cannot write .*a: No space left"), _files.writing(tmp_path / "a"):
        raise RuntimeError(text)
    for error in (RuntimeError("other"), OSError(errno.EINVAL, "Invalid argument"), KeyError("a")):
        with pytest.raises(type(error)) as caught, _files.writing(tmp_path / "a"):
            raise error
        assert caught.value is error
