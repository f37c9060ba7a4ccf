"""What a study returns: its result, its comparison and their tables, frozen and readable."""

import collections.abc
import dataclasses
import math
import pickle
import re
from html.parser import HTMLParser

import pandas as pd
import pytest
from study_cases import write_study

from keras_entropy import study
from keras_entropy.study import RunRecord, StudyResult, pairwise_table, read_study, starred_table
from keras_entropy.study.study_plan import plan_from_records

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return read_study(write_study(tmp_path_factory.mktemp("results") / "study", arms=("none", "tc", "<b>bold</b>")))


def displays(result):
    comparison = result.compare(margin=0.1)
    records = result.records
    return [result, comparison, *pairwise_table(records), starred_table(records), comparison.table()]


def parts(value):
    """A value, and all values within it."""
    yield value
    if dataclasses.is_dataclass(value):
        inner = [getattr(value, field.name) for field in dataclasses.fields(value)]
    elif isinstance(value, collections.abc.Mapping):
        inner = [*value.keys(), *value.values()]
    else:
        inner = value if isinstance(value, tuple) else []
    for item in inner:
        yield from parts(item)


def test_results_are_frozen_all_the_way(result):
    for shown in displays(result):
        found = list(parts(shown))
        assert len(found) > 10
        assert not [item for item in found if isinstance(item, dict | list | set | bytearray)]
        for item in found:
            if dataclasses.is_dataclass(item):
                with pytest.raises(dataclasses.FrozenInstanceError):
                    setattr(item, dataclasses.fields(item)[0].name, 0)
    with pytest.raises(AttributeError):
        result.records[0].point.width = 3
    with pytest.raises(TypeError):
        result.records[0].point["width"] = 3


def test_results_can_be_copied_compared_and_sent():
    record = RunRecord(
        arm="a", seed=0, history={"loss": [1.0, 2.0]}, point={"width": 4}, warnings=["w"], wall_seconds=1.0,
        cpu_seconds=2.0,
    )  # fmt: skip
    again = pickle.loads(pickle.dumps(record))
    assert again == record == dataclasses.replace(record)
    assert hash(again) == hash(record)
    assert (again.history, again.warnings) == ({"loss": (1.0, 2.0)}, ("w",))
    assert dataclasses.replace(record, history={"loss": [3.0]}).value("loss") == 3.0


def test_results_have_a_short_repr(result):
    runs = re.fullmatch(r"<StudyResult of (\d+) runs: (.*)>", repr(result))
    assert int(runs[1]) == len(result.records)
    assert repr(result.compare()) == f"<Comparison of val_task_loss by arm: {runs[2]}>"


def test_results_print_as_tables(result):
    for shown in displays(result):
        lines = str(shown).splitlines()
        assert len(lines) > 3
        row = next(line for line in lines[1:] if "none" in line)
        assert len(row.split("  ")) > 1
    text = str(result.compare())
    assert "val_task_loss at the last epoch by arm (lower is better)" in text
    assert "Epochs and time by arm" in text
    row = next(line for line in text.splitlines() if " tc " in line)
    assert row.split()[:5] == ["4", "tc", "4", "of", "4"]
    assert "better" in row


def test_results_show_themselves_in_a_notebook(result):
    class Tags(HTMLParser):
        found = ()

        def handle_starttag(self, tag, attributes):
            self.found = (*self.found, tag)

    for shown in displays(result):
        html = shown._repr_html_()
        tags = Tags()
        tags.feed(html)
        assert {"table", "caption", "th", "td"} <= {*tags.found}
        assert not {"b", "script"} & {*tags.found}
        assert "&lt;b&gt;bold&lt;/b&gt;" in html


def test_a_result_knows_its_runs(result):
    assert len(result) == len(result.records) == 24 + 16
    assert list(result) == list(result.records)
    assert result.failed == ()
    assert result.plan.seeds == (0, 1, 2, 3)
    frame = result.to_frame()
    assert isinstance(frame, pd.DataFrame)
    assert len(frame) == len(result)
    assert result.compare() == study.compare(result, "val_task_loss", "none")
    assert result.compare("loss", "tc", epoch="best", confidence=0.9).confidence == 0.9
    lines = str(result).splitlines()
    assert lines[0] == "Runs by arm; metric: val_task_loss"
    assert lines[2].split() == ["none", "8", "8", "0", "0", "0", "4"]


def test_a_study_in_memory_needs_a_folder_for_its_report(tmp_path):
    records = [
        RunRecord(arm=arm, seed=seed, history={"val_task_loss": [value + seed % 2]})
        for arm, value in (("none", 1.0), ("b", 0.5))
        for seed in range(3)
    ]
    records.append(RunRecord(arm="b", seed=3, status="diverged", history={"loss": [math.nan]}))
    result = StudyResult(records=tuple(records), plan=plan_from_records(records))

    with pytest.raises(ValueError, match="`output` should be a folder, because the study has none"):
        result.report()
    pytest.importorskip("matplotlib", reason="reports have figures")
    assert result.report(tmp_path / "mine") == tmp_path / "mine"
    assert "Study mine" in (tmp_path / "mine" / "report.md").read_text(encoding="utf-8")
    assert [record.status for record in result.failed] == ["diverged"]


def test_a_folder_that_has_just_begun_has_no_runs(tmp_path):
    folder = write_study(tmp_path / "study", keep=lambda record: False)
    result = read_study(folder)
    assert result.records == ()
    assert [arm.name for arm in result.plan.arms] == ["none", "tc"]
    with pytest.raises(ValueError, match="runs of role"):
        result.compare()
