import dataclasses
import functools
import json
import math
import warnings

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pages have figures")
pytest.importorskip("sklearn", reason="the digits need scikit-learn")

from keras_entropy import datasets
from keras_entropy._files import PARTIAL
from keras_entropy.runs import memory
from keras_entropy.study import RunRecord, records
from keras_entropy.study.document import Picture, Table, to_markdown
from reproduction import (
    Entry,
    Settings,
    autoencoder_page,
    autoencoders,
    classifier_page,
    classifiers,
    entry,
    image_data,
    names,
    page,
    protocol,
    published,
    selection,
)
from reproduction.study_runs import trained

AUTOENCODERS = autoencoders.Protocol(
    train=60, test=30, side=16, widths=(2, 100), factors=(1.0,), seeds=2, patience=2, epochs=6, batch_size=30,
    learning_rate=1e-2, epsilon=1e-7, log_factors=(1e-3,),
)  # fmt: skip
CLASSIFIERS = classifiers.Protocol(
    train=60, test=30, side=8, architectures=("2 2",), factors=(0.1,), seeds=2, tune_seeds=1, epochs=1,
    batch_size=30, learning_rate=1e-2, epsilon=1e-4,
)  # fmt: skip


@pytest.fixture
def here(monkeypatch):
    """Runs in this process: others would take seconds to start."""
    from keras_entropy.study import pool, single_run

    jobs = []
    monkeypatch.setattr(pool, "packed", lambda job: jobs.append(job) or b"")

    def run(payload, batches, workers, add, log=None):
        with memory.set_aside():  # each run ends with a collection
            for batch in batches:
                add([single_run.train(jobs[-1], task) for task in batch])

    monkeypatch.setattr(pool, "run_in_pool", run)
    return jobs


@pytest.fixture
def no_data(monkeypatch, tmp_path):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "no_data"))


def registered(monkeypatch, name, run):
    """An entry of a name whose `run` is another one."""
    real = entry(name)
    own = Entry(name=name, title=real.title, claim=real.claim, run=run)
    monkeypatch.setattr(page, "entry", lambda asked: own)


def tables(outcome):
    return {block.caption: block for block in outcome.blocks if isinstance(block, Table)}


@pytest.mark.parametrize("name", names())
def test_every_name_has_an_entry_with_a_claim(name):
    own = entry(name)

    assert own.name == name
    assert own.title
    assert own.claim.endswith(".")
    assert callable(own.run)


@pytest.mark.slow
def test_figure_3_is_drawn_from_its_runs_and_figure_4_takes_them(tmp_path, here, no_data, monkeypatch):
    run = functools.partial(autoencoders.run, name="a-fig3", case="MNIST", protocol=AUTOENCODERS)
    registered(monkeypatch, "a-fig3", run)
    outcome = page.reproduce("a-fig3", Settings(output=tmp_path / "a-fig3", progress=False))

    assert "Training images: 60, not 60000." in outcome.reduced
    assert any("digits of scikit-learn" in sentence for sentence in outcome.reduced)
    said = "\n".join(outcome.verdicts)
    assert "of no term, bit by bit, in 0 of 2 at width 2, 2 of 2 at width 100" in said
    assert "in 0 of 2 at width 2, 2 of 2 at width 100" in said.split("a constant number of its size")[1]
    assert "So at width 100 eq. 24 had no effect on any step of these runs." in said
    assert "All 24 runs finished." in said
    (picture,) = [block for block in outcome.blocks if isinstance(block, Picture)]
    assert picture.name == "a-fig3.png"
    written = (tmp_path / "a-fig3" / "page.md").read_text()
    assert "Early stopping watches 'val\\_loss', which holds the penalty" in written.replace("val_loss", "val\\_loss")
    assert "The paper, at width 80, which is not among its widths" in written

    jobs = len(here)
    monkeypatch.setattr("keras_entropy.study.pool.run_in_pool", lambda *arguments: pytest.fail("trained again"))
    other = autoencoders.run(
        Settings(output=tmp_path / "a-fig4", progress=False), name="a-fig4", case="MNIST", protocol=AUTOENCODERS
    )
    assert len(here) == jobs + 2  # packed, never run
    assert "Mean stopping epoch by latent width" in other.blocks[2].caption
    assert "Epochs at width 100, stopped on all of the loss (as printed), n = 2 seeds" in other.verdicts[0]


def test_runs_of_another_protocol_are_not_borrowed(tmp_path):
    data = image_data.Images("digits", datasets.Dataset(*[np.zeros((4, 8, 8, 1), "float32")] * 4))
    protocol = dataclasses.replace(AUTOENCODERS, widths=(2, 3))
    made, _ = autoencoders.study(protocol, data, "val_task_loss", tmp_path / "own" / "val_task_loss")
    source = tmp_path / "other"
    source.mkdir()
    (source / "runs.jsonl").write_text("")

    assert not autoencoders.borrow(made, source)
    (source / "study.json").write_text("torn {")
    assert not autoencoders.borrow(made, source)
    (source / "study.json").write_text(json.dumps({**made.describe(), "epochs": 7}))
    assert not autoencoders.borrow(made, source)
    assert not made.output.exists()
    left = made.output.with_name(f"{PARTIAL}{made.output.name}")  # by a kill
    left.mkdir(parents=True)
    (source / "study.json").write_text(json.dumps(made.describe()))
    assert autoencoders.borrow(made, source)
    assert (made.output / "study.json").exists()
    assert not left.exists()
    assert not autoencoders.borrow(made, source)  # its own runs stay


def test_the_warning_of_the_study_is_kept_for_the_page():
    data = image_data.Images("digits", datasets.Dataset(*[np.zeros((4, 8, 8, 1), "float32")] * 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, printed = autoencoders.study(AUTOENCODERS, data, "val_loss", None)
        _, right = autoencoders.study(AUTOENCODERS, data, "val_task_loss", None)

    assert len(printed) == 1
    assert "which holds the penalty in eq. 24, constant" in printed[0]
    assert right == ()


def test_table_1_is_made_from_its_runs(tmp_path, here, no_data, monkeypatch):
    run = functools.partial(classifiers.run, protocol=CLASSIFIERS)
    registered(monkeypatch, "a-table1", run)
    monkeypatch.setattr(classifiers, "trained", lambda study, settings, replicas: trained(study, settings))
    outcome = page.reproduce("a-table1", Settings(output=tmp_path / "out", progress=False))

    found = tables(outcome)
    assert next(iter(found)) == "As the paper chooses and tests"
    assert "eq. 25 on first" in found
    assert "eq. 23 on all" in found
    assert [row[0] for row in found["eq. 25 on first"].rows] == ["[2, 2]"]
    assert "Filters of the blocks: [2, 2], not [32]; [64];" in "\n".join(outcome.reduced)
    assert outcome.verdicts[-1] == "All 15 runs finished."
    assert (tmp_path / "out" / "a-table1.png").stat().st_size > 1000


def test_seeds_can_be_added_and_not_be_taken_away(tmp_path, here, no_data, monkeypatch):
    run = functools.partial(classifiers.run, protocol=dataclasses.replace(CLASSIFIERS, architectures=("2",)))
    registered(monkeypatch, "a-table1", run)
    monkeypatch.setattr(classifiers, "trained", lambda study, settings, replicas: trained(study, settings))
    settings = Settings(output=tmp_path / "out", seeds=2, progress=False)
    page.reproduce("a-table1", settings)
    before = len(records.read_records(settings.output / "cnn"))
    grown = dataclasses.replace(settings, seeds=3)
    page.reproduce("a-table1", grown)

    runs = records.read_records(settings.output / "cnn")
    assert {run.seed for run in runs} == {0, 1, 2, classifiers.TUNE_FROM}
    assert len({run.key for run in runs}) == len(runs) > before
    assert page.read_state(settings.output)["plan"]["seeds"] == 3
    usual = page.reproduce("a-table1", dataclasses.replace(settings, seeds=None))
    assert usual.verdicts[-1] == f"All {len(runs)} runs finished."
    with pytest.raises(ValueError, match="also seed 2"):
        page.reproduce("a-table1", settings)


# What the pages say, from records written by hand.


def dense_run(arm, seed, width, factor=None, *, mse=0.01, epochs=10, weights="w", status="finished"):
    point = {"width": width} if factor is None else {"width": width, "factor": factor}
    history = {"val_task_loss": [mse] * epochs} if status == "finished" else {}
    return RunRecord(
        arm=arm, seed=seed, point=point, history=history, status=status, final_weights=f"{weights}{seed}",
        reason="" if status == "finished" else "loss is nan",
    )  # fmt: skip


def dense_findings(name="a-fig4", **changes):
    printed, task = [], []
    for seed in range(3):
        noise = 1e-4 * seed
        printed.append(dense_run("none", seed, 60, mse=0.003 + noise, epochs=40 - seed, weights="none"))
        printed.append(dense_run("eq. 24", seed, 60, 10.0, mse=0.01 + 2 * noise, epochs=8, weights="stopped"))
        printed.append(dense_run("constant", seed, 60, 10.0, mse=0.01, epochs=8, weights="stopped"))
        task.append(dense_run("none", seed, 60, mse=0.003 + noise, epochs=40 - seed, weights="none"))
        task.append(dense_run("eq. 24", seed, 60, 10.0, mse=0.003 + noise, epochs=40 - seed, weights="none"))
    values = {
        "name": name, "data": "hand", "records": {"val_loss": printed, "val_task_loss": task}, "factors": (10.0,),
        "widths": (60,), "epsilon": 1e-7, "epochs": 40, "warned": (), "chosen": "Ours.",
    }  # fmt: skip
    return autoencoder_page.Findings(**{**values, **changes})


def test_the_verdict_names_the_constant_as_the_cause():
    said = autoencoder_page.verdicts(dense_findings())

    assert said[0].startswith("Epochs at width 60, stopped on all of the loss (as printed), n = 3 seeds: 39.0 (")
    assert "(1 of 3 at the limit of 40), 8 for λ = 10 (minus none -31.0 (" in said[0]
    assert "(minus none 0 in every seed)" in said[1]
    assert said[2].endswith("a constant number of its size, bit by bit, in 3 of 3 at width 60.")
    assert said[3].endswith("of no term, bit by bit, in 3 of 3 at width 60.")
    assert said[4].startswith("So at width 60 eq. 24 had no effect on any step of these runs.")
    assert said[5] == "All 15 runs finished."


def test_no_cause_is_named_where_weights_differ():
    found = dense_findings()
    last = dataclasses.replace(found.records["val_task_loss"][-1], final_weights="other")
    records = {**found.records, "val_task_loss": [*found.records["val_task_loss"][:-1], last]}
    said = autoencoder_page.verdicts(dense_findings(records=records))

    assert said[3].endswith("in 2 of 3 at width 60.")
    assert not any(sentence.startswith("So at width") for sentence in said)


def test_failed_runs_are_counted_and_prove_nothing():
    found = dense_findings("a-fig3")
    failed = dense_run("eq. 24", 2, 60, 10.0, status="diverged")
    records = {**found.records, "val_task_loss": [*found.records["val_task_loss"][:-1], failed]}
    said = autoencoder_page.verdicts(dense_findings("a-fig3", records=records))

    assert said[-1] == "1 of 15 runs did not finish (1 diverged)."
    assert any(sentence.endswith("in 2 of 2 at width 60.") for sentence in said)
    written = to_markdown("figure 3", autoencoder_page.blocks(dense_findings("a-fig3", records=records)))
    assert "1 diverged" in written


def test_signs_are_those_of_the_paper_higher_is_plus():
    table = autoencoder_page.sign_table(dense_findings("a-fig3"))
    assert table.sign("eq. 24 (λ=10)", "none") == "+"  # a higher MSE
    table = autoencoder_page.sign_table(dense_findings("a-fig4"))
    assert table.sign("eq. 24 (λ=10)", "none") == "-"  # fewer epochs


def test_the_spacing_of_float32_is_that_of_the_constant():
    assert autoencoder_page.spacing(dense_findings(), 1e-3) == pytest.approx(2**-10)  # of 1e4
    assert autoencoder_page.spacing(dense_findings(), 10.0) == 8.0  # of 1e8


def test_contradictions_in_the_printed_tables_are_counted():
    assert autoencoder_page.contradictions((("", "+"), ("-", ""))) == (0, 1)
    assert autoencoder_page.contradictions((("", "+"), ("+", ""))) == (1, 1)
    counted = {name: autoencoder_page.contradictions(signs) for name, signs in published.SIGNS.items()}
    assert counted == {"a-fig3": (3, 15), "a-fig4": (6, 21), "a-fig5": (0, 21), "a-fig6": (3, 21)}


def test_a_value_chosen_on_the_tested_seeds_looks_better_than_it_is():
    noise = np.random.default_rng(0).normal(0, 0.01, (6, 200))
    values = {float(k): dict(enumerate(0.6 + noise[k])) for k in range(6)}
    optimism = []
    for start in range(0, 200, 10):
        seeds = range(start, start + 10)
        baseline = dict.fromkeys(seeds, 0.6)
        pairs = selection.Gains(values, baseline).left_out(seeds)
        optimism += [same - unseen for same, unseen in pairs.values()]

    # No value has an effect: the largest of 6 means of 10 normal values is 1.27 standard errors high.
    assert np.mean(optimism) == pytest.approx(1.27 * 0.01 / 10**0.5, rel=0.3)


def test_selection_by_hand():
    gains = selection.Gains(
        {0.1: {0: 0.5, 1: 0.7, 2: 0.6}, 1.0: {0: 0.6, 1: 0.6, 2: 0.1}, 10.0: {0: 0.9}}, {0: 0.5, 1: 0.5, 2: 0.5}
    )

    assert gains.at(0.1, [0, 1]) == pytest.approx({0: 0.0, 1: 0.2})
    assert gains.best([0, 1, 2]) == 0.1
    assert gains.best([0]) == 10.0  # where all values that finished have it
    assert gains.best([7]) is None
    assert gains.left_out([0, 1, 2])[2] == pytest.approx((0.1, 0.1))
    assert gains.left_out([0, 1, 2])[1] == pytest.approx((0.2, 0.2))
    other = selection.Gains({0.1: {0: 0.0, 1: 0.3}, 1.0: {0: 0.2, 1: 0.0}}, {0: 0.0, 1: 0.0})
    assert other.left_out([0, 1]) == {0: (0.0, 0.0), 1: (0.3, 0.0)}
    assert gains.test(10.0, [0, 1, 2]) is None
    assert gains.test(0.1, [0, 1, 2], alternative="greater").p == pytest.approx(0.1127, abs=1e-4)


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
        records=records, data="hand", tune_from=1000, architectures=("32", "32 32"), factors=(0.1, 1.0), chosen="Ours."
    )


def test_a_gain_that_is_there_is_found_on_other_seeds():
    found = cnn_findings(0.02)
    said = classifier_page.verdicts(found)

    assert "p at most 0.05 in 2 of 2 architectures" in said[0]
    assert "better than no term in 2, worse in 0, no difference shown in 0 of 2 architectures" in said[1]
    mean = classifier_page.average(found, "eq. 25 on first")
    assert mean.low < 0.02 < mean.high
    added = classifier_page.optimism(found, "eq. 25 on first", found.architectures)["added"]
    assert abs(added.estimate) < 0.002


def test_a_harmful_term_is_worse_not_untested():
    found = cnn_findings(0.0)
    harmed = [
        dataclasses.replace(run, history={"val_accuracy": [run.value("val_accuracy") - 0.1], "accuracy": [0.5]})
        if run.arm != "none"
        else run
        for run in found.records
    ]
    said = classifier_page.verdicts(dataclasses.replace(found, records=harmed))

    assert "p at most 0.05 in 0 of 2 architectures" in said[0]
    assert "better than no term in 0, worse in 2" in said[1]


def test_lost_cnn_runs_are_counted_and_leave_no_choice():
    found = cnn_findings(0.0)
    lost = [
        RunRecord(arm=run.arm, seed=run.seed, point=run.point, status="diverged", reason="loss is nan")
        if run.arm != "none"
        else run
        for run in found.records
    ]
    broken = dataclasses.replace(found, records=lost)
    said = classifier_page.verdicts(broken)

    assert "no gain to name" in said[0]
    assert "no mean gain to name" in said[1]
    assert said[-1] == "36 of 54 runs did not finish (36 diverged)."
    assert "36 diverged" in to_markdown("table 1", classifier_page.blocks(broken))
    assert math.isnan(classifier_page.cells(broken, "eq. 25 on first")[0].same)


# What is less than the paper's protocol, and where the images are from.


def test_the_paper_protocol_has_nothing_reduced():
    for case in autoencoders.CASES.values():
        assert protocol.less(case.full, case.full) == ()
        assert len(protocol.less(case.small, case.full)) >= 7
    assert protocol.less(classifiers.FULL, classifiers.FULL) == ()
    assert protocol.choices(classifiers.FULL).startswith("Not said by the paper, and chosen here: further")


def test_images_change_their_side():
    x = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    np.testing.assert_allclose(image_data.resized(x, 2)[0, ..., 0], [[2.5, 4.5], [10.5, 12.5]])
    large = image_data.resized(x, 10)
    assert large.shape == (1, 10, 10, 1)
    assert large[0, 1:9, 1:9, 0].tolist() == np.kron(x[0, ..., 0], np.ones((2, 2))).tolist()
    assert large.sum() == 4 * x.sum()
    with pytest.raises(ValueError, match="should divide 4"):
        image_data.resized(x, 3)


def test_a_folder_without_the_set_is_an_error_and_full_never_takes_the_digits(tmp_path, no_data):
    for settings in (Settings(output=tmp_path, data=tmp_path), Settings(output=tmp_path, scale="full")):
        with pytest.raises(FileNotFoundError, match="tfds build mnist"):
            image_data.images(settings, ("mnist",), 10, 10, 28)


@pytest.mark.data
def test_prepared_sets_are_found_in_the_folder_or_its_tfds(data_folder, tmp_path):
    pytest.importorskip("tensorflow", reason="reads prepared sets")
    for folder in (data_folder, data_folder / "tfds"):
        found = image_data.images(Settings(output=tmp_path, data=folder), ("cifar10", "cifar10_small"), 20, 10**6, 16)
        assert found.data.x_train.shape == (20, 16, 16, 3)
        assert found.name == "cifar10_small"
        assert any("a part of cifar10" in sentence for sentence in found.reduced)
        assert any("test images, not 1000000" in sentence for sentence in found.reduced)
    with pytest.raises(FileNotFoundError, match="tfds build cifar10 "):
        image_data.images(
            Settings(output=tmp_path, data=data_folder, scale="full"), ("cifar10", "cifar10_small"), 20, 10, 16
        )


def test_other_studies_in_the_folder_are_refused(tmp_path, here, no_data):
    protocol = dataclasses.replace(CLASSIFIERS, architectures=("2",), seeds=2)
    data = image_data.images(Settings(output=tmp_path), ("cifar10",), 20, 10, 8)
    settings = Settings(output=tmp_path / "out", progress=False)
    made = classifiers.study(protocol, data, settings)
    (tmp_path / "out" / "cnn").mkdir(parents=True)
    (tmp_path / "out" / "cnn" / "study.json").write_text(json.dumps({**made.describe(), "epochs": 3}))

    with pytest.raises(ValueError, match="another epochs"):
        made.run(workers=1, progress=False)
