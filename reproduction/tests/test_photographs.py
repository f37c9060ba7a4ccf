"""Table 2: a tiny study of every kind of cell, and what the page says of records written by hand."""

import dataclasses
import math

import keras
import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pages have figures")
pytest.importorskip("sklearn", reason="the digits need scikit-learn")

from keras_entropy.study import RunRecord, compare
from keras_entropy.study.document import Picture, Table
from reproduction import Settings, networks, photograph_page, photographs

TINY = dataclasses.replace(
    photographs.SMALL, networks=("cnn",), strategies=("plain",), factors=(1e-3,), side=8, images=40, seeds=2, epochs=1
)


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
    said = list(photograph_page.conclusions([found], 100))
    assert any("none of the 1 rows" in sentence for sentence in said)
    assert any("1 of 2 at lambda 2" in sentence for sentence in said)


@pytest.mark.slow
@pytest.mark.usefixtures("train_here")
def test_a_tiny_table(tmp_path, monkeypatch):
    monkeypatch.setattr(photographs, "SMALL", TINY)
    outcome = photographs.run("a-table2", Settings(output=tmp_path, progress=False))
    assert any("handwritten digits" in sentence for sentence in outcome.reduced)
    assert "Networks: cnn, not vgg16; resnet50." in outcome.reduced
    tables = [block for block in outcome.blocks if isinstance(block, Table)]
    own = next(table for table in tables if table.caption.startswith("Best validation accuracy"))
    assert [row[:3] for row in own.rows] == [("cnn", "plain", "first"), ("cnn", "plain", "first two")]
    assert any(isinstance(block, Picture) for block in outcome.blocks)
    assert any("n = 2 seeds" in conclusion for conclusion in outcome.conclusions)


@pytest.mark.slow
@pytest.mark.usefixtures("train_here")
def test_the_empirical_placement_of_a_network_that_is_trained_first(tmp_path, monkeypatch):
    pytest.importorskip("tensorflow", reason="Keras's augmentation imports TensorFlow")
    tiny = dataclasses.replace(
        TINY, networks=(networks.RESIDUAL,), strategies=("augmentation + dropout",), seeds=1, empirical=2
    )
    monkeypatch.setattr(photographs, "SMALL", tiny)
    outcome = photographs.run("a-table2", Settings(output=tmp_path, progress=False))
    placed = next(b for b in outcome.blocks if isinstance(b, Table) and b.caption == "Layers of each placement")
    assert [row[1] for row in placed.rows] == ["first", "first two", "pre-skip", "empirical"]
    assert len(placed.rows[-1][2].split(", ")) == 2
    assert any("one value without interval" in v or "rows of single runs" in v for v in outcome.conclusions)


def test_augmentation_and_dropout_repeat_with_the_seed():
    pytest.importorskip("tensorflow", reason="Keras's augmentation imports TensorFlow")
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
