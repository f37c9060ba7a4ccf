import importlib.util
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("tensorboard", reason="event files need tensorboard")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.util import tensor_util

from keras_entropy import events, plots
from keras_entropy.events import EventWriter

VALUES = [-2.0, -1.0, 0.5, -1.0, 3.0]


@pytest.fixture
def writer(tmp_path):
    writer = EventWriter(tmp_path / "logs")
    yield writer
    writer.close()


def read(folder, tag):
    """What TensorBoard finds in a folder under a tag: the plugin, and (step, array) in the order of writing."""
    accumulator = EventAccumulator(str(folder)).Reload()
    plugin = accumulator.SummaryMetadata(tag).plugin_data.plugin_name
    return plugin, [(event.step, tensor_util.make_ndarray(event.tensor_proto)) for event in accumulator.Tensors(tag)]


def scalars(path):
    """Steps and values in a file, in the order of writing."""
    summaries = [event for event in EventFileLoader(str(path)).Load() if event.HasField("summary")]
    return [(event.step, float(tensor_util.make_ndarray(event.summary.value[0].tensor))) for event in summaries]


def picture(width=3.0, height=2.0):
    from matplotlib.figure import Figure

    return plots.png(Figure(figsize=(width, height)))


class TestScalars:
    def test_come_back_with_their_steps(self, writer):
        for step, value in [(0, -2.5), (1, 0.1), (7, 3e20)]:
            writer.scalar("entropy/conv", value, step)
        writer.scalar("loss", 1.0, 0)
        writer.close()

        plugin, found = read(writer.path.parent, "entropy/conv")

        assert plugin == "scalars"
        assert [step for step, _ in found] == [0, 1, 7]
        assert [value.item() for _, value in found] == [np.float32(value) for value in (-2.5, 0.1, 3e20)]
        assert all(value.shape == () and value.dtype == np.float32 for _, value in found)
        assert read(writer.path.parent, "loss") == ("scalars", [(0, 1.0)])

    @pytest.mark.parametrize("value", [-np.inf, np.inf, np.nan])
    def test_may_not_be_finite(self, writer, value):
        writer.scalar("entropy/conv", value, 0)
        writer.close()

        _, [(_, found)] = read(writer.path.parent, "entropy/conv")

        np.testing.assert_array_equal(found, value)


class TestHistograms:
    def of(self, writer, values, **options):
        writer.histogram("nats per filter in/conv", values, 4, **options)
        writer.close()
        plugin, [(step, buckets)] = read(writer.path.parent, "nats per filter in/conv")
        assert plugin == "histograms"
        assert step == 4
        return buckets

    @pytest.mark.parametrize(
        "values", [VALUES, [*VALUES, -np.inf, np.nan, np.inf], tuple(VALUES), np.array(VALUES, "float32")]
    )
    def test_count_the_finite_values_in_buckets_of_equal_width(self, writer, values):
        buckets = self.of(writer, values)
        left, right, count = buckets.T

        assert buckets.shape == (30, 3)
        np.testing.assert_allclose(np.append(left, right[-1]), np.linspace(-2, 3, 31), atol=1e-12)
        np.testing.assert_allclose(right[:-1], left[1:])
        assert {(i, n) for i, n in enumerate(count) if n} == {(0, 1), (6, 2), (15, 1), (29, 1)}

    def test_may_have_other_numbers_of_buckets(self, writer):
        np.testing.assert_allclose(
            self.of(writer, [0, 1, 2, 4], bins=2),
            [[0, 2, 2], [2, 4, 2]],
        )

    @pytest.mark.parametrize("values", [[], [-np.inf, np.nan]])
    def test_without_finite_values_are_empty(self, writer, values):
        assert self.of(writer, values).shape == (0, 3)

    @pytest.mark.parametrize("values", [[1.5], [1.5, 1.5, 1.5]])
    def test_of_a_single_value_have_it_in_one_bucket(self, writer, values):
        left, right, count = self.of(writer, values).T

        assert count.sum() == count.max() == len(values)
        assert left[count.argmax()] <= 1.5 <= right[count.argmax()]
        assert (right > left).all()


class TestImages:
    def test_come_back_byte_for_byte_with_their_size(self, writer):
        png = picture()
        writer.image("entropy by layer", png, 3)
        writer.close()

        plugin, [(step, (width, height, data))] = read(writer.path.parent, "entropy by layer")

        assert plugin == "images"
        assert step == 3
        assert (width, height) == (b"300", b"200")
        assert data == png

    def test_may_be_longer_than_a_buffer(self, writer):
        png = picture() + bytes(10**6)
        writer.image("large", png, 0)
        writer.scalar("after", 1.0, 0)
        writer.close()

        assert read(writer.path.parent, "large")[1][0][1][2] == png
        assert read(writer.path.parent, "after") == ("scalars", [(0, 1.0)])


class TestFiles:
    def test_begin_with_the_version_of_the_format(self, writer):
        writer.close()

        [first] = EventFileLoader(str(writer.path)).Load()

        assert first.file_version == "brain.Event:2"
        assert "tfevents" in writer.path.name

    def test_two_writers_of_the_same_moment_make_two_files(self, tmp_path, monkeypatch):
        monkeypatch.setattr(events.time, "time", lambda: 1.7e9)
        first, second = EventWriter(tmp_path), EventWriter(tmp_path)
        for i, writer in enumerate([first, second, first, second]):
            writer.scalar("loss", i, step=i)
        first.close()
        second.close()

        assert set(tmp_path.iterdir()) == {first.path, second.path}
        assert len({first.path, second.path}) == 2
        assert scalars(first.path) == [(0, 0), (2, 2)]
        assert scalars(second.path) == [(1, 1), (3, 3)]

    def test_that_are_there_stay_as_they_are(self, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        with_events = EventWriter(tmp_path)
        with_events.scalar("loss", 1.0, 0)
        with_events.close()
        before = {path: path.read_bytes() for path in tmp_path.iterdir()}

        EventWriter(tmp_path).close()

        assert len(list(tmp_path.iterdir())) == 3
        assert all(path.read_bytes() == content for path, content in before.items())

    def test_are_readable_to_their_end_when_flushed(self, writer):
        for step in range(3):
            writer.scalar("loss", 10 * step, step)
            writer.flush()

            assert scalars(writer.path) == [(s, 10 * s) for s in range(step + 1)]

    def test_are_followed_by_a_reader_that_has_them_open(self, writer):
        writer.flush()
        reader = EventFileLoader(str(writer.path))
        assert [event.file_version for event in reader.Load()] == ["brain.Event:2"]

        writer.scalar("loss", 1.0, 5)
        writer.flush()

        assert [event.step for event in reader.Load()] == [5]

    def test_close_twice(self, writer):
        writer.scalar("loss", 1.0, 0)
        writer.close()
        writer.close()

        assert scalars(writer.path) == [(0, 1.0)]

    def test_make_their_folder(self, tmp_path):
        EventWriter(str(tmp_path / "a" / "b")).close()

        assert len(list((tmp_path / "a" / "b").iterdir())) == 1


@pytest.mark.processes
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="Keras without TensorFlow needs jax here")
def test_writing_does_not_load_tensorflow(child_environment, tmp_path):
    code = (
        "import sys\n"
        "from keras_entropy.events import EventWriter\n"
        "writer = EventWriter(sys.argv[1])\n"
        "writer.scalar('a', 1.0, 0)\n"
        "writer.histogram('b', [1.0, 2.0], 0)\n"
        "writer.image('c', bytes(30), 0)\n"
        "writer.close()\n"
        "print('tensorflow' in sys.modules)"
    )
    environment = {**child_environment, "KERAS_BACKEND": "jax"}

    command = [sys.executable, "-c", code, str(tmp_path)]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout

    assert output.splitlines()[-1] == "False"


def test_without_tensorboard_say_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorboard", None)

    with pytest.raises(ModuleNotFoundError, match=r'pip install "keras-entropy\[tensorboard\]"'):
        EventWriter(tmp_path / "logs")
    assert not (tmp_path / "logs").exists()


def test_a_histogram_of_values_a_rounding_step_apart(tmp_path):
    writer = EventWriter(tmp_path)
    values = [np.log(2), np.nextafter(np.log(2), 1)]
    writer.histogram("close", values, step=0)
    writer.close()

    _, [(_, buckets)] = read(tmp_path, "close")
    assert buckets[:, 2].sum() == 2
