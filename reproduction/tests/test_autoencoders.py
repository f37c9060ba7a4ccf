"""Figures 3 to 6: tiny studies, and what the page says of records written by hand."""

import dataclasses
import json
import warnings

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pages have figures")
pytest.importorskip("sklearn", reason="the digits need scikit-learn")

from keras_entropy import datasets
from keras_entropy.study import RunRecord
from keras_entropy.study.document import Picture, to_markdown
from reproduction import Settings, autoencoder_page, autoencoders, image_data, paper_numbers
from reproduction.output_folder import PARTIAL
from reproduction.page import reproduce

TINY = autoencoders.Protocol(
    train=60, test=30, side=16, widths=(2, 100), factors=(1.0,), seeds=2, patience=2, epochs=4, batch_size=60,
    learning_rate=1e-2, epsilon=1e-7, log_factors=(1e-3,),
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("train_here", "no_prepared_sets")
def test_figure_3_is_drawn_from_its_runs_and_figure_4_takes_them(tmp_path, monkeypatch):
    monkeypatch.setitem(autoencoders.CASES, "a-fig3", case := dataclasses.replace(autoencoders.MNIST, small=TINY))
    monkeypatch.setitem(autoencoders.CASES, "a-fig4", case)
    outcome = reproduce("a-fig3", Settings(output=tmp_path / "a-fig3", progress=False))

    assert "Training images: 60, not 60000." in outcome.reduced
    assert any("digits of scikit-learn" in sentence for sentence in outcome.reduced)
    said = "\n".join(outcome.conclusions)
    assert "of no term, bit by bit: 0 of 2 at width 2, 2 of 2 at width 100" in said
    assert "of a constant of its size, bit by bit: 0 of 2 at width 2, 2 of 2 at width 100" in said
    assert "So at width 100 eq. 24 had no effect on any step of these runs." in said
    assert "All 24 runs finished." in said
    (picture,) = [block for block in outcome.blocks if isinstance(block, Picture)]
    assert picture.name == "a-fig3.png"
    page = (tmp_path / "a-fig3" / "page.md").read_text()
    assert "Warning of the study: Early stopping monitors" in page
    assert "The paper, at width 80, which is not among its widths" in page

    trained = autoencoders.run("a-fig4", Settings(output=tmp_path / "a-fig4", progress=False))
    assert "Mean stopping epoch by latent width" in trained.blocks[2].caption
    assert "Epochs at width 100, stopped on the whole loss (as in the paper), n = 2 seeds" in trained.conclusions[0]
    for monitor in autoencoders.MONITORS:
        runs = [(tmp_path / figure / monitor / "runs.jsonl").read_bytes() for figure in ("a-fig3", "a-fig4")]
        assert runs[0] == runs[1]  # taken over: times of trained runs would differ


@pytest.mark.once
def test_runs_of_another_protocol_are_not_borrowed(tmp_path):
    data = image_data.Images("digits", datasets.Dataset(*[np.zeros((4, 8, 8, 1), "float32")] * 4))
    protocol = dataclasses.replace(TINY, widths=(2, 3))
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


@pytest.mark.once
def test_the_warning_of_the_study_is_kept_for_the_page():
    data = image_data.Images("digits", datasets.Dataset(*[np.zeros((4, 8, 8, 1), "float32")] * 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, printed = autoencoders.study(TINY, data, "val_loss", None)
        _, right = autoencoders.study(TINY, data, "val_task_loss", None)

    assert len(printed) == 1
    assert "which includes the penalty in eq. 24, constant" in printed[0]
    assert right == ()


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
        "widths": (60,), "epsilon": 1e-7, "epochs": 40, "warned": (), "choices": "Ours.",
    }  # fmt: skip
    return autoencoder_page.Findings(**{**values, **changes})


@pytest.mark.once
def test_the_conclusion_names_the_constant_as_the_cause():
    said = autoencoder_page.conclusions(dense_findings())

    assert said[0].startswith("Epochs at width 60, stopped on the whole loss (as in the paper), n = 3 seeds: 39.0 (")
    assert "(1 of 3 at the limit of 40), 8 for λ = 10 (minus none -31.0 (" in said[0]
    assert "(minus none 0 in every seed)" in said[1]
    assert said[2].endswith("a constant of its size, bit by bit: 3 of 3 at width 60.")
    assert said[3].endswith("of no term, bit by bit: 3 of 3 at width 60.")
    assert said[4].startswith("So at width 60 eq. 24 had no effect on any step of these runs.")
    assert said[5] == "All 15 runs finished."


@pytest.mark.once
def test_no_cause_is_named_where_weights_differ():
    found = dense_findings()
    last = dataclasses.replace(found.records["val_task_loss"][-1], final_weights="other")
    records = {**found.records, "val_task_loss": [*found.records["val_task_loss"][:-1], last]}
    said = autoencoder_page.conclusions(dense_findings(records=records))

    assert said[3].endswith(": 2 of 3 at width 60.")
    assert not any(sentence.startswith("So at width") for sentence in said)


@pytest.mark.once
def test_failed_runs_are_counted_and_prove_nothing():
    found = dense_findings("a-fig3")
    failed = dense_run("eq. 24", 2, 60, 10.0, status="diverged")
    records = {**found.records, "val_task_loss": [*found.records["val_task_loss"][:-1], failed]}
    said = autoencoder_page.conclusions(dense_findings("a-fig3", records=records))

    assert said[-1] == "1 of 15 runs did not finish (1 diverged) and is left out."
    assert any(sentence.endswith(": 2 of 2 at width 60.") for sentence in said)
    written = to_markdown("figure 3", autoencoder_page.blocks(dense_findings("a-fig3", records=records)))
    assert "1 diverged" in written


@pytest.mark.once
def test_signs_are_those_of_the_paper_higher_is_plus():
    table = autoencoder_page.sign_table(dense_findings("a-fig3"))
    assert table.sign("eq. 24 (λ=10)", "none") == "+"  # a higher MSE
    table = autoencoder_page.sign_table(dense_findings("a-fig4"))
    assert table.sign("eq. 24 (λ=10)", "none") == "-"  # fewer epochs


@pytest.mark.once
def test_the_spacing_of_float32_is_that_of_the_constant():
    assert autoencoder_page.spacing(dense_findings(), 1e-3) == pytest.approx(2**-10)  # of 1e4
    assert autoencoder_page.spacing(dense_findings(), 10.0) == 8.0  # of 1e8


@pytest.mark.once
def test_contradictions_in_the_printed_tables_are_counted():
    assert autoencoder_page.contradictions((("", "+"), ("-", ""))) == (0, 1)
    assert autoencoder_page.contradictions((("", "+"), ("+", ""))) == (1, 1)
    counted = {name: autoencoder_page.contradictions(paper_numbers.meni(name)["signs"]) for name in autoencoders.CASES}
    assert counted == {"a-fig3": (3, 15), "a-fig4": (6, 21), "a-fig5": (0, 21), "a-fig6": (3, 21)}
