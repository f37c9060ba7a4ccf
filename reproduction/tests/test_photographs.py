"""Table 2: what the paper's numbers show of themselves, and a tiny study of every kind of cell."""

import dataclasses
import math
import sys

import keras
import numpy as np
import pytest

from keras_entropy.study import RunRecord, compare
from keras_entropy.study.document import Picture, Table
from reproduction import image_folders, networks, photograph_page, photographs, protocol, single_run_table
from reproduction.entries import Settings

TINY = dataclasses.replace(
    photographs.SMALL, networks=("cnn",), strategies=("plain",), factors=(1e-3,), side=8, images=40, seeds=2, epochs=1
)


@pytest.mark.once
def test_the_paper_s_count_is_what_chance_gives():
    found = single_run_table.best_columns(single_run_table.table2_rows())
    assert (found.rows, found.at_term, found.columns) == (18, 17, 7)
    assert found.expected == pytest.approx(18 * 6 / 7)
    assert found.p == pytest.approx((6 / 7) ** 18 + 18 * (1 / 7) * (6 / 7) ** 17)


@pytest.mark.once
def test_a_tie_with_no_term_and_a_failed_run_are_no_gain():
    found = single_run_table.best_columns([(0.5, 0.5, 0.4), (0.5, math.nan, 0.6), (0.5, math.nan, math.nan)])
    assert found.at_term == 1


@pytest.mark.once
def test_the_paper_s_gain_is_within_its_noise():
    gain = single_run_table.gains(single_run_table.table2_rows(), single_run_table.table2_repeated())
    assert gain.unselected.estimate == pytest.approx(0.0051, abs=1e-4)
    assert gain.unselected.low < 0 < gain.unselected.high
    assert gain.noise == pytest.approx(0.01315, abs=1e-4)
    assert single_run_table.pooled(single_run_table.table2_repeated())[3] == 12
    assert gain.by_chance == pytest.approx(1.26721 * gain.noise, rel=1e-4)
    assert single_run_table.step_of(single_run_table.table2_rows()) == 0.002


@pytest.mark.once
def test_the_largest_of_six_normal_numbers():
    draws = np.random.default_rng(0).normal(size=(200_000, 6)).max(1)
    assert single_run_table.largest_normal(6) == pytest.approx(draws.mean(), abs=0.01)  # four standard errors are 0.006
    assert single_run_table.largest_normal(1) == pytest.approx(0, abs=1e-9)


@pytest.mark.once
def test_choosing_on_the_judged_seed_flatters_and_on_others_does_not():
    accuracies = {0.0: [0.5, 0.5, 0.5], 1.0: [0.7, 0.5, 0.3], 2.0: [0.3, 0.5, 0.7]}
    records = [
        RunRecord(
            arm="none" if factor == 0 else "first",
            seed=seed,
            point={"strategy": "plain", **({"factor": factor} if factor else {})},
            history={"val_accuracy": [0.1, value]},
        )
        for factor, values in accuracies.items()
        for seed, value in enumerate(values)
    ]
    found = photograph_page.Found(
        name="cnn", comparison=compare(records, "val_accuracy", "none"), placements={"first": "first"}, classes=10
    )
    gains = found.gains()
    assert sum(gains["average"].values()) == pytest.approx(0)
    assert list(gains["best"].values()) == pytest.approx([0.2, 0.0, 0.2])
    assert gains["left out"][0] == pytest.approx(-0.2)
    assert found.idle()[1.0] == 0


@pytest.mark.once
def test_a_cell_of_survivors_is_in_no_count():
    values = {("none", None): [0.5, 0.5], ("first", 1.0): [0.4, 0.6], ("first", 2.0): [None, 0.9]}
    records = [
        RunRecord(
            arm=arm,
            seed=seed,
            point={"strategy": "plain", **({"factor": factor} if factor else {})},
            status="diverged" if value is None else "finished",
            history={} if value is None else {"val_accuracy": [value]},
        )
        for (arm, factor), row in values.items()
        for seed, value in enumerate(row)
    ]
    comparison = compare(records, "val_accuracy", "none")
    found = photograph_page.Found(name="cnn", comparison=comparison, placements={"first": "first"}, classes=10)
    assert math.isnan(found.means()[0][2])
    assert found.gains()["average"] == pytest.approx({0: -0.1, 1: 0.1})
    table = photograph_page._own_table([found])
    assert table.rows[0][3:] == ("0.500*", "0.500*", "0.900 (1 of 2)")
    said = list(photograph_page.verdicts([found], 100))
    assert any("none of the 1 rows" in sentence for sentence in said)
    assert any("1 of 2 runs at lambda 2" in sentence for sentence in said)


def test_a_tiny_table(tmp_path):
    outcome = photographs.reproduced(Settings(output=tmp_path, workers=1, progress=False), TINY)
    assert any("handwritten digits" in sentence for sentence in outcome.reduced)
    assert "Networks: cnn, not vgg16; resnet50." in outcome.reduced
    tables = [block for block in outcome.blocks if isinstance(block, Table)]
    own = next(table for table in tables if table.caption.startswith("Best validation accuracy"))
    assert [row[:3] for row in own.rows] == [("cnn", "plain", "first"), ("cnn", "plain", "first two")]
    assert any(isinstance(block, Picture) for block in outcome.blocks)
    assert any("n = 2 seeds" in verdict for verdict in outcome.verdicts)


@pytest.mark.slow
def test_the_empirical_placement_of_a_network_that_is_trained_first(tmp_path):
    tiny = dataclasses.replace(
        TINY, networks=(networks.RESIDUAL,), strategies=("augmentation + dropout",), seeds=1, empirical=2
    )
    outcome = photographs.reproduced(Settings(output=tmp_path, workers=1, progress=False), tiny)
    placed = next(b for b in outcome.blocks if isinstance(b, Table) and b.caption == "Where the term is put")
    assert [row[1] for row in placed.rows] == ["first", "first two", "pre-skip", "empirical"]
    assert len(placed.rows[-1][2].split(", ")) == 2
    assert any("one value without interval" in v or "rows of single runs" in v for v in outcome.verdicts)


@pytest.mark.skipif(sys.modules.get("tensorflow", True) is None, reason="Keras's augmentation imports TensorFlow")
def test_augmentation_and_dropout_repeat_with_the_seed():
    x = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype("float32")

    def trained():
        keras.utils.set_random_seed(1)
        model = networks.classifier("cnn", 16, 3, strategy="augmentation + dropout")
        model.fit(x, np.array([0, 1, 2, 0]), epochs=2, batch_size=2, verbose=0)
        return np.concatenate([np.ravel(w) for w in model.get_weights()])

    np.testing.assert_array_equal(trained(), trained())


def test_dropout_stands_before_all_dense_layers_but_the_first():
    x = keras.Input((3,))
    y = keras.layers.Dense(2, name="c")(keras.layers.Dense(4, name="b")(keras.layers.Dense(4, name="a")(x)))
    changed = networks.with_dropout(keras.Model(x, y), 0.5)
    assert [layer.name for layer in changed.layers[1:]] == ["a", "b_dropout", "b", "c_dropout", "c"]
    own = networks.with_dropout(networks.network("squeezenet", (32, 32, 3), 2), 0.0)
    assert own.get_layer("drop9").rate == 0.0


@pytest.mark.once
def test_folders(tmp_path):
    def found(data, scale="small"):
        return image_folders.find(Settings(output=tmp_path / "out", data=data, scale=scale), "imagenette")

    assert found(None) is None
    with pytest.raises(FileNotFoundError, match="full scale needs a set 'imagenette'"):
        found(None, "full")
    with pytest.raises(FileNotFoundError, match="imagenette"):
        found(tmp_path)
    (tmp_path / "imagenette" / "train").mkdir(parents=True)
    assert found(tmp_path) == found(tmp_path / "imagenette", "full") == tmp_path / "imagenette"
    few = image_folders.photographs(None, 16, 30)
    assert few.x_train.shape == (30, 16, 16, 3)
    assert np.bincount(few.y_train).tolist() == [3] * 10
    np.testing.assert_allclose(few.x_train.mean((0, 1, 2)), 0, atol=1e-5)
    assert image_folders.mask_class(np.array([0, 3, 3, 2])) == 3
    assert image_folders.mask_class(np.array([0, 255])) is None


@pytest.mark.once
def test_weights_are_those_of_the_architecture_and_of_no_other_version(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    (tmp_path / "keras" / "models").mkdir(parents=True)
    for name in ("resnet50v2_weights_tf_kernels.h5", "resnet50_weights_notop.h5", "resnet50_weights.txt"):
        (tmp_path / "keras" / "models" / name).touch()
    assert image_folders.archive(None, "resnet50", (".h5", ".keras")) is None
    (tmp_path / "resnet50.h5").touch()
    assert image_folders.archive(tmp_path, "resnet50", (".h5", ".keras")) == tmp_path / "resnet50.h5"
    (tmp_path / "keras" / "models" / "resnet50_weights_tf_kernels.h5").touch()
    assert image_folders.archive(None, "resnet50", (".h5",)).name == "resnet50_weights_tf_kernels.h5"


@pytest.mark.once
def test_what_is_less_is_found_by_comparing():
    assert protocol.less(photographs.FULL, photographs.FULL) == ()
    less = protocol.less(dataclasses.replace(photographs.FULL, images=5, factors=(1.0,)), photographs.FULL)
    assert less == (
        "Values of lambda besides 0: 1, not 0.0001; 0.001; 0.01; 0.1; 1; 10.",
        "Training images at most: 5, not all.",
    )
