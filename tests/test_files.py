"""Files that the package writes."""

import csv
import errno
import math
import os
from pathlib import Path

import keras
import pytest

from keras_entropy import EntropyLogger, _files, datasets, entropy_profile, models
from keras_entropy.events import EventWriter
from keras_entropy.runs.folder import ResultsFolder
from keras_entropy.study import read_records, read_study

pytestmark = pytest.mark.once


def test_cells_that_a_spreadsheet_would_run_are_quoted(tmp_path):
    rows = [["=1+1", "+1", "-1", "@a", "a=1", -1.5, 3, None, math.nan], ["a\nb", "\x1b[31m", 'c"d,e', *[True] * 6]]
    _files.write_csv(tmp_path / "a.csv", rows)
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.reader(file)
    assert first == ["'=1+1", "'+1", "'-1", "'@a", "a=1", "-1.5", "3", "", ""]
    assert second[:3] == ["a b", "?[31m", 'c"d,e']


def profile():
    return entropy_profile(keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]))


PATHS = {
    "log_dir of EventWriter": EventWriter,
    "log_dir of EntropyLogger": lambda path: EntropyLogger(log_dir=path),
    "profile": lambda path: profile().save(path),
    "figure": lambda path: profile().plot(path=f"{path}/figure.png"),
    "results": lambda path: ResultsFolder(Path(path), "study", ()),
    "study": read_study,
    "records": read_records,
    "model": models.load_model,
    "data": datasets.image_folder,
    "prepared data": datasets.mnist,
}


@pytest.mark.parametrize("use", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("url", ["gs://bucket/logs", "s3://bucket", "hdfs://host/x", "file:///tmp/x", "HF://a/b"])
def test_a_url_is_refused_and_makes_no_folder(use, url, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ValueError, match=r"should be a path on this machine, not a URL.*Name a local folder"):
        use(url)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", ["a:b", "C:/runs", "C:\\runs", "./gs:/x", "/tmp/gs://x", "runs/a b", "größe"])
def test_other_names_are_paths(path):
    assert _files.local(path) == Path(path)


def test_a_folder_that_takes_no_files_is_not_called_removed(tmp_path):
    removed, present = _files.cannot_write(tmp_path / "a" / "b", errno.ENOENT), _files.cannot_write(tmp_path / "a", 2)
    assert "Its folder was removed or renamed" in str(removed)
    assert "Its folder takes no new files: name another folder." in str(present)


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (
            lambda folder: profile().save(folder),
            "^Cannot write .*: Is a directory. A folder has this name: name a file",
        ),
        (
            lambda folder: profile().to_html(folder),
            "^Cannot write .*: Is a directory. A folder has this name: name a f",
        ),
        (lambda folder: profile().to_html(folder / "file" / "a.html"), "^Cannot write .*A file has the name of one of"),
        (lambda folder: profile().to_html(folder / "file" / "b" / "a.html"), "^Cannot write .*A file has the name of"),
        (lambda folder: EventWriter(folder / "file" / "logs"), "^Cannot write .*: Not a directory. A file has the nam"),
        (lambda folder: profile().to_html(""), "^`path` should be the path of a file. Received: path=''"),
        (lambda folder: profile().save(""), "^`path` should be the path of a file. Received: path=''"),
        (
            lambda folder: profile().to_html(folder / "a.html", history=folder / "none.csv"),
            "^Cannot read .*none.csv: No such file or directory. Give the History of fit, or the path of a CSV file",
        ),
        (
            lambda folder: profile().to_html(folder / "a.html", history=str(folder)),
            "^Cannot read .*: Is a directory. G",
        ),
    ],
)
def test_a_path_that_fits_no_file_is_named_with_what_to_do(use, says, tmp_path):
    pytest.importorskip("tensorboard", reason="EventWriter needs the extra tensorboard")
    (tmp_path / "file").write_text("mine")

    with pytest.raises((OSError, ValueError), match=says):
        use(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("call", ["os.mkdir", "os.open"])
def test_a_results_folder_without_rights_says_what_to_do(call, tmp_path, monkeypatch):
    """Root ignores the rights of files, so the calls are replaced: for the folder, and for its lock."""

    def denied(path, *_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    if call == "os.open":
        (tmp_path / "s").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(call, denied)
        with (
            pytest.raises(_files.WriteError, match=r"^Cannot write .*s: Permission denied\. Make its folder writable"),
            ResultsFolder(tmp_path / "s", "study", ()).locked(),
        ):
            pass


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
def test_links_are_followed_and_devices_and_pipes_stay(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "target.txt").write_text("old")
    link, pipe = tmp_path / "link.txt", tmp_path / "pipe"
    link.symlink_to(Path("folder") / "target.txt")
    os.mkfifo(pipe)

    _files.write_text(link, "new")

    assert link.is_symlink()
    assert (tmp_path / "folder" / "target.txt").read_text() == "new"
    for path in (pipe, Path(os.devnull)):
        before = path.stat().st_mode
        with pytest.raises(_files.WriteError, match="a device or a pipe. Name a file"):
            _files.write_text(path, "new")
        assert path.stat().st_mode == before
