"""Files that a killed process never leaves half written."""

import csv
import json
import math
import os

import pytest

from keras_entropy import _files

pytestmark = pytest.mark.once


def test_a_new_file_is_whole_from_its_first_moment(tmp_path, monkeypatch):
    seen = []
    link = os.link

    def watched(source, target):
        assert not target.exists()
        seen.append(json.loads(source.read_text()))
        link(source, target)

    monkeypatch.setattr(os, "link", watched)

    _files.create_json(tmp_path / "run.json", {"a": 1})

    assert seen == [{"a": 1}]
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_file_that_is_there_is_not_replaced(tmp_path):
    (tmp_path / "run.json").write_text("mine")

    with pytest.raises(FileExistsError):
        _files.create_json(tmp_path / "run.json", {"a": 1})

    assert (tmp_path / "run.json").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_cells_that_a_spreadsheet_would_run_are_quoted(tmp_path):
    rows = [["=1+1", "+1", "-1", "@a", "a=1", -1.5, 3, None, math.nan], ["a\nb", "\x1b[31m", 'c"d,e', *[True] * 6]]
    _files.write_csv(tmp_path / "a.csv", rows)
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.reader(file)
    assert first == ["'=1+1", "'+1", "'-1", "'@a", "a=1", "-1.5", "3", "", ""]
    assert second[:3] == ["a b", "?[31m", 'c"d,e']
