"""A checkpoint of a run that cannot be right is not used: the run starts again, with a warning."""

import json
import warnings

import keras
import numpy as np
import pytest

from keras_entropy import DenseEntropy, EntropyLogger, EntropyWarning, FactorSchedule
from keras_entropy.runs import training
from keras_entropy.runs.watch import Watch


def run(path, key="a", epochs=3, stop=None, own=()):
    """Train with callbacks of one's own; `stop` raises an error in an epoch. Returns the history."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((4,)), keras.layers.Dense(3, kernel_regularizer=DenseEntropy(1e-3), name="code")]
    )
    model.compile("adam", "mse", run_eagerly=True)
    x, watch = np.random.default_rng(0).normal(size=(16, 4)).astype("float32"), Watch()
    callbacks = [*own, keras.callbacks.EarlyStopping("task_loss", mode="min", patience=9)]
    observers = [] if stop is None else [keras.callbacks.LambdaCallback(on_epoch_begin=stop)]
    training.fit(
        model,
        {"x": x, "y": x[:, :3], "validation_data": (x, x[:, :3]), "epochs": epochs},
        0,
        watch,
        callbacks=callbacks,
        observers=observers,
        checkpoint=path,
        key=key,
    )
    return watch.history


class Counting(EntropyLogger):
    """A logger of the user's, with a state of its own that the log shows."""

    def __init__(self):
        super().__init__()
        self.epochs = 0

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        self.epochs += 1
        logs["counted"] = float(self.epochs)


@pytest.mark.parametrize(
    ("own", "first"),
    [(lambda: [FactorSchedule(lambda epoch: 0.5**epoch)], 2), (lambda: [Counting()], 0)],
    ids=["schedule", "subclass of the logger"],
)
def test_callbacks_of_the_package_go_on_or_the_run_starts_again(own, first, tmp_path):
    def stop(epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt

    whole = run(tmp_path / "whole.npz", own=own())
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "a.npz", stop=stop, own=own())
    begun = []
    assert run(tmp_path / "a.npz", stop=lambda epoch, logs=None: begun.append(epoch), own=own()) == whole
    assert begun[-1] == 2
    assert begun[0] == first


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A checkpoint after two epochs, and the history of the whole run."""
    path = tmp_path_factory.mktemp("stopped") / "a.npz"

    def stop(epoch, logs=None):
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(path, stop=stop)
    whole = run(path.with_name("b.npz"))
    assert run(path) == whole
    with pytest.raises(KeyboardInterrupt):
        run(path.with_name("c.npz"), stop=stop)
    return path.with_name("c.npz").read_bytes(), whole


@pytest.mark.parametrize(
    "change",
    [
        lambda text, arrays: text.update(schema="keras-entropy/checkpoint/1"),
        lambda text, arrays: text.update(key="b"),
        lambda text, arrays: text.update(epochs=1),
        lambda text, arrays: text.update(epochs=-1),
        lambda text, arrays: text.update(epochs="2"),
        lambda text, arrays: text.update(seconds=-1.0),
        lambda text, arrays: text.update(history={"loss": 3}),
        lambda text, arrays: text.pop("history"),
        lambda text, arrays: text.update(more=1),
        lambda text, arrays: text["callbacks"].append({}),
        lambda text, arrays: text["callbacks"][0].update(on_epoch_end=3),
        lambda text, arrays: text["callbacks"][0].update(wait={"__array__": 99}),
        lambda text, arrays: arrays.update(arr_0=np.zeros((4, 2), "float32")),
        lambda text, arrays: arrays.update(arr_0=arrays["arr_0"].astype("float64")),
        lambda text, arrays: arrays.pop("arr_0"),
    ],
)
def test_a_checkpoint_with_other_content_is_not_used(change, stopped, tmp_path):
    content, whole = stopped
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with np.load(path) as file:
        arrays = dict(file)
    text = json.loads(str(arrays.pop("text")))
    change(text, arrays)
    np.savez(path, **arrays, text=np.array(json.dumps(text)))
    with pytest.warns(EntropyWarning, match=r"Cannot resume from .*a.npz: .*\. Restarting this run\."):
        assert run(path) == whole


def test_a_flipped_bit_changes_nothing(stopped, tmp_path):
    content, whole = stopped
    path = tmp_path / "a.npz"
    for place in np.random.default_rng(0).integers(len(content) * 8, size=12):
        damaged = bytearray(content)
        damaged[place // 8] ^= 1 << place % 8
        path.write_bytes(damaged)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert run(path) == whole
        warned = [str(warning.message) for warning in caught if warning.category is EntropyWarning]
        assert all(message.startswith("Cannot resume from") and "\n" not in message for message in warned)
