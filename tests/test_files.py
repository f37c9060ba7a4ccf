"""Files that the package writes."""

import csv
import math

import pytest

from keras_entropy import _files

pytestmark = pytest.mark.once


def test_cells_that_a_spreadsheet_would_run_are_quoted(tmp_path):
    rows = [["=1+1", "+1", "-1", "@a", "a=1", -1.5, 3, None, math.nan], ["a\nb", "\x1b[31m", 'c"d,e', *[True] * 6]]
    _files.write_csv(tmp_path / "a.csv", rows)
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        first, second = csv.reader(file)
    assert first == ["'=1+1", "'+1", "'-1", "'@a", "a=1", "-1.5", "3", "", ""]
    assert second[:3] == ["a b", "?[31m", 'c"d,e']
