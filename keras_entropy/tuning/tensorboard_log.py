"""What TensorBoard shows of a search: the curves of each run, and the HParams page, on every backend."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from keras_entropy.events import EventWriter


class RunBoard(keras.callbacks.Callback):
    """Writes all scalars of a run, and which setting it is, to event files, without TensorFlow.

    Args:
        folder: of the run.
        values: of its hyperparameters.
        group: name of the runs whose means the HParams page shows, such as those of the seeds of a trial.
    """

    def __init__(self, folder: Path, values: Mapping[str, Any], group: str) -> None:
        super().__init__()
        self._folder, self._values, self._group = folder, dict(values), group
        self._writer: EventWriter | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Start a session."""
        self._writer = EventWriter(self._folder)
        session_start(self._writer, self._values, self._group)
        self._writer.flush()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write."""
        assert self._writer is not None
        for name, value in (logs or {}).items():
            self._writer.scalar(name, float(value), epoch)
        self._writer.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """End the session."""
        assert self._writer is not None
        session_end(self._writer)
        self._writer.close()


def write_experiment(folder: Path, values: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> None:
    """Say which columns the HParams page has.

    Args:
        folder: above those of the runs.
        values: of the hyperparameters of all trials.
        metrics: tags of the scalars that are compared.
    """
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
    """Say which setting the scalars of a folder belong to."""
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
    """Say that a run has come to its end."""
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
