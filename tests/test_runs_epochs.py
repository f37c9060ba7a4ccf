"""The epochs of the runs that train now reach the display, from this process and from those of a pool."""

import json
import os
import signal
import time

import keras
import numpy as np
import pytest

from keras_entropy.runs import epochs, training
from keras_entropy.runs.pool import ProcessDiedError, ProcessPool
from keras_entropy.runs.progress import Progress
from keras_entropy.runs.watch import Watch

pytestmark = pytest.mark.once


@pytest.mark.parametrize(
    ("reports", "words"),
    [
        ([], ""),
        ([(3, 10)], "epoch 3 of 10"),
        ([(7, 10), (3, 10)], "2 runs, epochs 3 and 7 of 10"),
        ([(3, 10), (3, 10)], "2 runs, epoch 3 of 10"),
        ([(3, 10), (1, 4), (2, 4)], "3 runs, epoch 3 of 10, epochs 1 and 2 of 4"),
        ([(n, 20) for n in range(3, 11)], "8 runs, epochs 3 to 10 of 20"),
        ([(3, None)], "epoch 3"),
        ([(0.123, "production", None)], "12%: production"),
        ([(0.5, "splitting", 3.0), (0.123, "production", 9.0)], "2 at 12% and 50%"),
    ],
)
def test_the_words(reports, words, tmp_path):
    for i, report in enumerate(reports):
        (tmp_path / f"{i}.json").write_text(json.dumps(report))
    (tmp_path / "half.json").write_text("[3,")
    (tmp_path / "a.partial").write_text("[3,")
    assert epochs.text(tmp_path) == words


def train(count, observe):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", run_eagerly=True)
    x = np.zeros((4, 2), "float32")
    watching = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: observe())
    training.fit(model, {"x": x, "y": x[:, :1], "epochs": count}, 0, Watch(), observers=[watching])


def test_a_run_in_this_process_moves_the_title(monkeypatch):
    monkeypatch.setattr(epochs, "_SECONDS", 0.0)
    seen = []
    with Progress(["a"], show=True) as shown:
        shown.begin("Comparing", {"a": 1})
        train(2, lambda: seen.append(shown.title()))
        assert shown.title() == "Comparing (time left unknown)"
    assert seen == [f"Comparing (time left unknown, epoch {n} of 2)" for n in (1, 2)]
    assert epochs.reported_in() is None


def test_reports_are_rare_where_epochs_are_short(tmp_path, monkeypatch):
    monkeypatch.setattr(epochs, "_SECONDS", 1000.0)
    seen = set()
    epochs.report_in(tmp_path / "here.json")
    try:
        train(3, lambda: seen.add(epochs.text(tmp_path)))
    finally:
        epochs.report_in(None)
    assert seen == {"epoch 1 of 3"}


def test_a_run_without_epochs_says_how_long_it_takes(tmp_path, monkeypatch):
    monkeypatch.setattr(epochs, "_SECONDS", 0.0)
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Progress(["walk"], show=True) as shown, epochs.ShareReport() as report:
        shown.begin("Walk", {"walk": 1})
        titles = []
        for done in (0.5, 0.6, 0.75):  # it was resumed
            report(done, "production")
            titles.append(shown.title())
            now[0] += 10
    assert titles == [
        "Walk (time left unknown, 50%: production)",
        "Walk (0:40 left, 60%: production)",
        "Walk (0:20 left, 75%: production)",
    ]


def test_a_display_that_has_ended_does_not_stop_a_run(tmp_path, monkeypatch):
    monkeypatch.setattr(epochs, "_file", tmp_path / "gone" / "here.json")
    train(1, lambda: None)


@pytest.mark.processes
def test_runs_in_a_pool_move_the_title_and_leave_nothing_if_they_are_killed(tmp_path):
    def slow(name):
        train(1000, lambda: time.sleep(0.2 if not (tmp_path / name).exists() else os.kill(os.getpid(), signal.SIGKILL)))

    with Progress(["a"], show=True) as shown, ProcessPool(2, tries=1) as pool:
        shown.begin("Comparing", {"a": 2})
        futures = [pool.submit(slow, name) for name in ("one", "two")]
        deadline = time.monotonic() + 200
        while "2 runs, epochs " not in shown.title():
            assert time.monotonic() < deadline, shown.title()
            assert not any(future.done() for future in futures)
            time.sleep(0.1)
        assert shown.title().endswith("of 1000)")
        for name, future, left in (("one", futures[0], "epoch"), ("two", futures[1], "unknown)")):
            (tmp_path / name).touch()
            with pytest.raises(ProcessDiedError):
                future.result(timeout=100)
            assert left in shown.title()
            assert "runs" not in shown.title()
