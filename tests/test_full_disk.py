"""A disk that becomes full at any stage of the work: one line names the file, and what was finished is kept."""

import itertools
import shutil
import subprocess

import pytest
from quick import quick_training
from test_machine_faults import WORK, again, error_of, fresh

from keras_entropy import _files

pytestmark = [pytest.mark.once, pytest.mark.slow]

PAGE, PAGES = 4096, 1024


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with quick_training():
        yield


@pytest.fixture
def disk(tmp_path):
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={PAGE * PAGES}", "tmpfs", folder]
    if (
        shutil.which("mount") is None
        or subprocess.run(["mount", *options], capture_output=True, check=False).returncode
    ):
        pytest.skip("this user may not mount a file system")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)  # a log may still be open


def fill(disk, pages):
    """Fill the disk but for some pages."""
    free = shutil.disk_usage(disk).free // PAGE
    (disk / "filler").write_bytes(bytes(PAGE * max(free - pages, 0)))


@pytest.mark.parametrize("name", WORK)
def test_a_disk_that_becomes_full_is_one_line_and_costs_nothing(name, disk, tmp_path):
    expected = WORK[name](fresh(tmp_path / "whole"))
    refusals = 0
    for step in itertools.count():
        pages = step if step < 8 else 8 * 2 ** (step - 8)
        folder = fresh(disk / "work")
        fill(disk, pages)
        error = error_of(name, folder)
        (disk / "filler").unlink()
        if error is None:
            break
        refusals += 1
        assert "No space left on device. Free some space" in str(error), repr(error)
        assert f"Cannot write {folder}" in str(error)
        assert not list(folder.rglob(f"{_files.PARTIAL}*"))
        assert again(name, folder) == expected
    assert refusals >= 3
