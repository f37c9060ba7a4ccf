"""Table 1: tiny studies, and what the page says of records written by hand."""

import dataclasses
import json
import math

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pages have figures")
pytest.importorskip("sklearn", reason="the digits need scikit-learn")

from keras_entropy import EntropyWarning
from keras_entropy.study import RunRecord, read_records
from keras_entropy.study.document import Table, to_markdown
from reproduction import Settings, classifier_page, classifiers, image_data, output_folder
from reproduction.page import reproduce

TINY = classifiers.Protocol(
    train=60, test=30, side=8, architectures=("2 2",), factors=(0.1,), seeds=2, tune_seeds=1, epochs=1,
    batch_size=30, learning_rate=1e-2, epsilon=1e-4,
)  # fmt: skip


@pytest.mark.usefixtures("train_here", "no_prepared_sets")
@pytest.mark.slow
def test_table_1_is_made_from_its_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(classifiers, "SMALL", TINY)
    outcome = reproduce("a-table1", Settings(output=tmp_path / "out", progress=False))

    found = {block.caption: block for block in outcome.blocks if isinstance(block, Table)}
    assert next(iter(found)) == "As the paper chooses and tests"
    assert "eq. 25 on first" in found
    assert "eq. 23 on all" in found
    assert [row[0] for row in found["eq. 25 on first"].rows] == ["[2, 2]"]
    assert "Filters of the blocks: [2, 2], not [32]; [64];" in "\n".join(outcome.reduced)
    assert outcome.conclusions[-1] == "All 15 runs finished."
    assert (tmp_path / "out" / "a-table1.png").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.usefixtures("train_here", "no_prepared_sets")
def test_seeds_can_be_added_and_not_be_taken_away(tmp_path, monkeypatch):
    monkeypatch.setattr(classifiers, "SMALL", dataclasses.replace(TINY, architectures=("2",)))
    monkeypatch.setattr(classifiers, "FORMS", {"eq. 25": "reciprocal"})
    settings = Settings(output=tmp_path / "out", seeds=2, progress=False)
    reproduce("a-table1", settings)
    before = len(read_records(settings.output / "cnn"))
    grown = dataclasses.replace(settings, seeds=3)
    reproduce("a-table1", grown)

    runs = read_records(settings.output / "cnn")
    assert {run.seed for run in runs} == {0, 1, 2, classifiers.TUNE_FROM}
    assert len({run.slot for run in runs}) == len(runs) > before
    assert output_folder.read_state(settings.output)["plan"]["seeds"] == 3
    usual = reproduce("a-table1", dataclasses.replace(settings, seeds=None))
    assert usual.conclusions[-1] == f"All {len(runs)} runs finished."
    with pytest.raises(ValueError, match="further runs: seed 2"):
        reproduce("a-table1", settings)


@pytest.mark.once
@pytest.mark.usefixtures("no_prepared_sets")
def test_other_studies_in_the_folder_are_refused(tmp_path):
    protocol = dataclasses.replace(TINY, architectures=("2",), seeds=2)
    data = image_data.images(Settings(output=tmp_path), ("cifar10",), 20, 10, 8)
    settings = Settings(output=tmp_path / "out", progress=False)
    made = classifiers.study(protocol, data, settings)
    other = {"schema": "keras-entropy/study/2", **made.describe(), "epochs": 3}
    (tmp_path / "out" / "cnn").mkdir(parents=True)
    (tmp_path / "out" / "cnn" / "study.json").write_text(json.dumps(other))

    with pytest.warns(EntropyWarning, match="checksum"), pytest.raises(ValueError, match="other settings: epochs"):
        made.run(workers=1, progress=False)


def cnn_findings(gain, seeds=6, tune=3):
    generator = np.random.default_rng(1)
    records = []
    for seed in [*range(seeds), *range(1000, 1000 + tune)]:
        for filters in ("32", "32 32"):
            base = 0.6 + generator.normal(0, 0.005)
            rows = [("none", None, base)]
            for factor in (0.1, 1.0):
                rows.append(("eq. 25 on first", factor, base + gain * (factor == 1.0) + generator.normal(0, 1e-3)))
            for arm, factor, value in rows:
                point = {"filters": filters} | ({} if factor is None else {"factor": factor})
                history = {"val_accuracy": [value], "accuracy": [value + 0.1]}
                records.append(RunRecord(arm=arm, seed=seed, point=point, history=history))
    return classifier_page.Findings(
        records=records, data="hand", tune_from=1000, architectures=("32", "32 32"), factors=(0.1, 1.0), choices="Ours."
    )


@pytest.mark.once
def test_a_gain_that_is_there_is_found_on_other_seeds():
    found = cnn_findings(0.02)
    said = classifier_page.conclusions(found)

    assert "p at most 0.05 in 2 of 2 architectures" in said[0]
    assert "better than no term in 2, worse in 0, no difference shown in 0 of 2 architectures" in said[1]
    mean = classifier_page.average(found, "eq. 25 on first")
    assert mean.low < 0.02 < mean.high
    added = classifier_page.optimism(found, "eq. 25 on first", found.architectures)["added"]
    assert abs(added.estimate) < 0.002


@pytest.mark.once
def test_a_harmful_term_is_worse_not_untested():
    found = cnn_findings(0.0)
    harmed = [
        dataclasses.replace(run, history={"val_accuracy": [run.value("val_accuracy") - 0.1], "accuracy": [0.5]})
        if run.arm != "none"
        else run
        for run in found.records
    ]
    said = classifier_page.conclusions(dataclasses.replace(found, records=harmed))

    assert "p at most 0.05 in 0 of 2 architectures" in said[0]
    assert "better than no term in 0, worse in 2" in said[1]


@pytest.mark.once
def test_lost_cnn_runs_are_counted_and_leave_no_choice():
    found = cnn_findings(0.0)
    lost = [
        RunRecord(arm=run.arm, seed=run.seed, point=run.point, status="diverged", reason="loss is nan")
        if run.arm != "none"
        else run
        for run in found.records
    ]
    broken = dataclasses.replace(found, records=lost)
    said = classifier_page.conclusions(broken)

    assert "no gain could be computed" in said[0]
    assert "no mean gain could be computed" in said[1]
    assert said[-1] == "36 of 54 runs did not finish (36 diverged) and are left out."
    assert "36 diverged" in to_markdown("table 1", classifier_page.blocks(broken))
    assert math.isnan(classifier_page.cells(broken, "eq. 25 on first")[0].same)
