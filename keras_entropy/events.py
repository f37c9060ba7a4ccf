"""TensorBoard event files on every backend: TensorFlow is not needed to write them."""

from __future__ import annotations

import itertools
import os
import socket
import time
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_entropy import _files, _optional

_count = itertools.count()


class EventWriter:
    """Write scalars, histograms and images to a new event file.

    After each call to `flush`, TensorBoard can read all that was written.

    Args:
        log_dir: Path of the folder. It is created if it does not exist; files in it are not changed.

    Attributes:
        path: Path of the event file.

    Raises:
        ValueError: If `log_dir` is a URL.
        ModuleNotFoundError: If the extra `tensorboard` is not installed.

    Examples:
        >>> import tempfile
        >>> from keras_entropy.events import EventWriter
        >>> writer = EventWriter(tempfile.mkdtemp())
        >>> writer.scalar("entropy/conv", -2.5, step=0)
        >>> writer.close()
    """

    def __init__(self, log_dir: str | os.PathLike[str]) -> None:
        _optional.require("tensorboard", extra="tensorboard")
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}.{next(_count)}"
        self.path = _files.local(log_dir, "log_dir") / name
        with _files.writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._records = RecordWriter(self.path.open("xb"))
        weakref.finalize(self, self._records.close)
        self._records.write(Event(wall_time=time.time(), file_version="brain.Event:2").SerializeToString())

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Write a number as float32."""
        from tensorboard.plugins.scalar import metadata

        self._write(tag, np.float32(value), metadata.create_summary_metadata("", ""), step)

    def histogram(self, tag: str, values: Sequence[float], step: int, bins: int = 30) -> None:
        """Write a histogram of the finite values, with `bins` buckets of equal width. Defaults to 30 buckets."""
        from tensorboard.plugins.histogram import metadata

        finite = np.asarray(values, dtype=np.float64)
        finite = finite[np.isfinite(finite)]
        if finite.size and np.ptp(finite) <= bins * np.spacing(np.abs(finite).max()):
            finite = np.full_like(finite, finite[0])  # float64 has no room for bins between them
        counts, edges = np.histogram(finite, bins) if finite.size else (np.zeros(0), np.zeros(1))
        buckets = np.stack([edges[:-1], edges[1:], counts], axis=1)
        self._write(tag, buckets, metadata.create_summary_metadata("", ""), step)

    def image(self, tag: str, png: bytes, step: int) -> None:
        """Write an image: `png` holds the bytes of a PNG file."""
        from tensorboard.plugins.image import metadata

        width, height = (int.from_bytes(png[start : start + 4]) for start in (16, 20))
        data = np.array([str(width).encode(), str(height).encode(), png], dtype=object)
        self._write(tag, data, metadata.create_summary_metadata("", ""), step)

    def plugin(self, tag: str, metadata: Any) -> None:
        """Write a summary for a TensorBoard plugin that keeps its data in the metadata."""
        self._write(tag, np.float32(0), metadata, step=0)  # TensorBoard reads no summary without a value

    def flush(self) -> None:
        """Pass everything written so far to the operating system."""
        with _files.writing(self.path):
            self._records.flush()

    def close(self) -> None:
        """Flush and close the file. Further calls do nothing."""
        if not self._records.closed:
            with _files.writing(self.path):
                self._records.close()

    def _write(self, tag: str, data: Any, metadata: Any, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.util import tensor_util

        value = Summary.Value(tag=tag, tensor=tensor_util.make_tensor_proto(data), metadata=metadata)
        event = Event(wall_time=time.time(), step=step, summary=Summary(value=[value]))
        with _files.writing(self.path):
            self._records.write(event.SerializeToString())
