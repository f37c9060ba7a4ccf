"""Event files of a search for TensorBoard: the curves of each run and the HParams page, on every backend."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_entropy import _optional
from keras_entropy.events import EventWriter

ARM = "contender"
"""Column of the HParams page: what is searched, such as "entropy" or "baseline"."""


class HParamsLogger(keras.callbacks.Callback):
    """Write the metrics and the hyperparameters of a run to an event file, without TensorFlow.

    Args:
        folder: Path. Folder of the run.
        values: Hyperparameters by name.
        group: String. Name of a group of runs, such as the seeds of a trial: the HParams page shows their means.
    """

    def __init__(self, folder: Path, values: Mapping[str, Any], group: str) -> None:
        super().__init__()
        self._folder, self._values, self._group = folder, dict(values), group
        self._writer: EventWriter | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Open the event file and write the hyperparameters."""
        self._writer = EventWriter(self._folder)
        session_start(self._writer, self._values, self._group)
        self._writer.flush()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the metrics of the epoch."""
        assert self._writer is not None
        for name, value in (logs or {}).items():
            if np.ndim(value) == 0:
                self._writer.scalar(name, float(value), epoch)
        self._writer.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Mark the run as finished and close the event file."""
        assert self._writer is not None
        session_end(self._writer)
        self._writer.close()


def write_experiment(folder: Path, values: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> None:
    """Write the columns of the HParams page.

    Args:
        folder: Path. Folder of all logs.
        values: Hyperparameters of each trial.
        metrics: Names of the metrics to compare.
    """
    _optional.require("tensorboard", extra="tensorboard")
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    names = dict.fromkeys(name for one in values for name in one)
    infos = [api_pb2.HParamInfo(name=name, type=_type([one[name] for one in values if name in one])) for name in names]
    experiment = api_pb2.Experiment(
        time_created_secs=time.time(),
        hparam_infos=infos,
        metric_infos=[api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag), display_name=tag) for tag in metrics],
    )
    writer = EventWriter(folder)
    writer.plugin(metadata.EXPERIMENT_TAG, _metadata(plugin_data_pb2.HParamsPluginData(experiment=experiment)))
    writer.close()


def session_start(writer: EventWriter, values: Mapping[str, Any], group: str) -> None:
    """Write the hyperparameters of a run."""
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    start = plugin_data_pb2.SessionStartInfo(group_name=group, start_time_secs=time.time())
    for name, value in values.items():
        if isinstance(value, bool):
            start.hparams[name].bool_value = value
        elif isinstance(value, int | float):
            start.hparams[name].number_value = value
        else:
            start.hparams[name].string_value = str(value)
    data = plugin_data_pb2.HParamsPluginData(session_start_info=start)
    writer.plugin(metadata.SESSION_START_INFO_TAG, _metadata(data))


def session_end(writer: EventWriter) -> None:
    """Mark a run as finished."""
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    end = plugin_data_pb2.SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
    writer.plugin(metadata.SESSION_END_INFO_TAG, _metadata(plugin_data_pb2.HParamsPluginData(session_end_info=end)))


def _metadata(data: Any) -> Any:
    from tensorboard.plugins.hparams import metadata

    return metadata.create_summary_metadata(data)


def _type(values: Sequence[Any]) -> Any:
    from tensorboard.plugins.hparams import api_pb2

    if all(isinstance(value, bool) for value in values):
        return api_pb2.DATA_TYPE_BOOL
    if all(isinstance(value, int | float) for value in values):
        return api_pb2.DATA_TYPE_FLOAT64
    return api_pb2.DATA_TYPE_STRING
