"""Table 3: early stopping read off a history, and a tiny study."""

import dataclasses

import keras
import numpy as np
import pytest

from keras_entropy.study import RunRecord
from keras_entropy.study.document import Picture, Table
from reproduction import Settings, segmentation
from reproduction.page import reproduce
from reproduction.segmentation_page import Stopping, Table3, conclusions

TINY = dataclasses.replace(
    segmentation.SMALL, height=16, width=16, images=16, filters=(4,), factors=(1e-3,), seeds=2, epochs=2
)


@pytest.mark.once
@pytest.mark.parametrize("seed", range(20))
def test_stopping_is_that_of_keras(seed):
    draw = np.random.default_rng(seed)
    values = np.round(np.exp(-np.arange(30) / 6) + draw.normal(0, 0.05, 30), 2)
    patience, min_delta = int(draw.integers(1, 5)), float(draw.choice([0.0, 0.01, 0.1]))
    callback = keras.callbacks.EarlyStopping("loss", patience=patience, min_delta=min_delta, mode="min")

    class Model:
        stop_training = False

    callback.set_model(model := Model())
    callback.on_train_begin()
    ended = len(values)
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"loss": float(value)})
        if model.stop_training:
            ended = epoch + 1
            break
    assert Stopping(patience, min_delta).epoch(values.tolist()) == ended


@pytest.mark.once
def test_a_penalty_that_falls_puts_the_stop_off():
    task = [0.5] + [0.2] * 9
    record = RunRecord(
        arm="pre-concat",
        seed=0,
        point={"factor": 1.0},
        history={"val_loss": [t + 9 - i for i, t in enumerate(task)], "val_task_loss": task},
        wall_seconds=20.0,
    )
    table = Table3((record,), Stopping(3, 0.01), (1.0,))
    assert table.epochs("val_task_loss")(record) == 5
    assert table.epochs("val_loss")(record) == 10
    assert table.seconds("val_task_loss")(record) == 10.0


@pytest.mark.slow
@pytest.mark.usefixtures("train_here")
def test_a_tiny_table_and_its_masks(tmp_path, monkeypatch):
    monkeypatch.setattr(segmentation, "SMALL", TINY)
    settings = Settings(output=tmp_path / "a", progress=False)
    outcome = segmentation.run("a-table3", settings)
    assert any("strokes" in sentence for sentence in outcome.reduced)
    pictures = [block.name for block in outcome.blocks if isinstance(block, Picture)]
    assert pictures == ["masks.png", "curves.png"]
    own = [b for b in outcome.blocks if isinstance(b, Table) and b.caption.startswith("Stopped on")]
    assert [[row[0] for row in found.rows] for found in own] == [["0", "0.001"]] * 2
    assert any("n = 2" in conclusion for conclusion in outcome.conclusions)

    trained = segmentation.train(settings, TINY)  # all recorded: nothing is trained
    names = [title for title, _ in trained.masks(2)]
    assert names == ["image", "true mask", "lambda 0", "lambda 0.001"]
    model = trained.model(trained.records[0])
    x, y = trained.data.load().x_test, trained.data.load().y_test
    (tmp_path / "a").rename(tmp_path / "b")
    moved = segmentation.train(dataclasses.replace(settings, output=tmp_path / "b"), TINY)
    assert moved.records == trained.records
    for path in moved.folder.iterdir():
        path.unlink()
    with pytest.raises(FileNotFoundError, match="is missing: the final weights"):
        moved.masks(2)
    loss = np.mean((model.predict(x, verbose=0) - y) ** 2)
    assert loss == pytest.approx(trained.records[0].history["val_loss"][-1], rel=1e-4)  # float32 sums by batches


@pytest.mark.processes
def test_weights_come_back_from_the_processes_that_train(tmp_path):
    protocol = dataclasses.replace(TINY, factors=(), epochs=1)

    trained = segmentation.train(Settings(output=tmp_path, workers=2, progress=False), protocol)

    assert [record.ok for record in trained.records] == [True, True]
    loss = [
        np.mean((trained.model(r).predict(trained.data.load().x_test, verbose=0) - trained.data.load().y_test) ** 2)
        for r in trained.records
    ]
    assert loss == pytest.approx([r.history["val_loss"][-1] for r in trained.records], rel=1e-4)


@pytest.mark.once
def test_bad_data_are_an_error_before_the_first_run(tmp_path):
    for split in ("train", "test"):
        for kind in ("images", "masks"):
            (tmp_path / "segmentation" / split / kind).mkdir(parents=True)

    with pytest.raises(FileNotFoundError, match="holds no images"):
        reproduce("a-table3", Settings(output=tmp_path / "out", data=tmp_path, progress=False))

    assert [path.name for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")] == []


@pytest.mark.once
def test_failed_runs_are_counted():
    histories = {"val_loss": [1.0], "val_task_loss": [1.0], "val_accuracy": [0.5], "val_iou": [0.4]}
    records = [RunRecord(arm="none", seed=s, history=histories, wall_seconds=1.0) for s in (0, 1)]
    records.append(RunRecord(arm="pre-concat", seed=0, point={"factor": 1.0}, status="diverged", reason="loss is nan"))
    said = list(conclusions(Table3(tuple(records), Stopping(3, 0.01), (1.0,))))
    assert any("1 of 3 runs did not finish (1 diverged)" in sentence for sentence in said)
    assert any("too few seeds for an interval" in sentence for sentence in said)
