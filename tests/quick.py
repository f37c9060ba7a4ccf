"""Training in moments, for tests of what is around it: commands, files, reports."""

import contextlib
import dataclasses
from concurrent.futures import ThreadPoolExecutor

import keras
import pytest


@contextlib.contextmanager
def quick_training():
    """Use 64 samples of each data set, do not compile the steps, and do not draw the figures of runs."""
    from keras_entropy import datasets, plots
    from keras_entropy_cli import presets

    load, image = datasets.load, plots.png(plots.new_figure(1, 1))

    def load_few(*args, **kwargs):
        data = load(*args, **kwargs)
        few = {name: getattr(data, name)[:64] for name in ("x_train", "y_train", "x_test", "y_test")}
        return dataclasses.replace(data, **few)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "load", load_few)
        patch.setattr(keras.Model, "run_eagerly", property(lambda self: True, lambda self, value: None))
        patch.setattr(plots, "png", lambda figure: image)
        presets._loaded.cache_clear()
        yield
    presets._loaded.cache_clear()


@contextlib.contextmanager
def inline_pool():
    """Train the runs of studies one after the other in this process: the processes of a pool start in many seconds."""
    from keras_entropy.study import study

    class Inline(ThreadPoolExecutor):
        def __init__(self, workers, log=None):
            super().__init__(1)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(study, "ProcessPool", Inline)
        yield
