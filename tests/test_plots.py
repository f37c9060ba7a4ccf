import sys

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="figures need matplotlib")

from keras_entropy import plots
from keras_entropy.profile import WeightEntropy

VALUES = tuple(np.random.default_rng(0).normal(-2, 1, 41).tolist())
HISTORY = {
    "loss": [3.0, 2.0, 1.0],
    "entropy/conv1": [-2.0, -1.5, -1.0],
    "entropy_penalty": [0.1, 0.2, 0.3],
    "entropy/block/conv2": [-3.0, -np.inf, np.nan],
    "val_task_loss": [1.0, 1.0, 1.0],
}


def layer(path="conv", values=VALUES, unit="nats per filter"):
    return WeightEntropy(path, "Conv2D", (3, 3, 1, len(values)), float(np.mean(values)), unit, "corner", False, values)


def labels(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def boxes_of(axes):
    """What is drawn for each layer: the quartiles, the ends of the whiskers, the mean and the outliers."""
    lines = [line.get_ydata() for line in axes.get_lines()]
    assert len(lines) % 8 == 0
    return [
        {
            "quartiles": [min(box), median[0], max(box)],
            "whiskers": [low[1], high[1]],
            "mean": mean[0],
            "outliers": sorted(outliers),
        }
        for box, low, high, _, _, median, mean, outliers in (lines[i : i + 8] for i in range(0, len(lines), 8))
    ]


def size_of(png):
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert png.endswith(b"IEND\xaeB`\x82")
    return tuple(int.from_bytes(png[start : start + 4]) for start in (16, 20))


class TestEntropyBoxes:
    def test_boxes_are_quartiles_with_the_mean_and_outliers(self):
        values = (*VALUES, 9.0, -12.0)
        quartiles = np.percentile(values, [25, 50, 75])
        low, high = quartiles[[0, 2]] + 1.5 * (quartiles[2] - quartiles[0]) * np.array([-1, 1])

        [box] = boxes_of(plots.entropy_boxes([layer(values=values)]).axes[0])

        np.testing.assert_allclose(box["quartiles"], quartiles)
        np.testing.assert_allclose(box["mean"], np.mean(values))
        assert box["outliers"] == sorted(value for value in values if not low <= value <= high)
        inside = [value for value in values if low <= value <= high]
        assert box["whiskers"] == [min(inside), max(inside)]

    def test_values_that_are_not_finite_are_left_out_and_counted(self):
        layers = [
            layer("good"),
            layer("bad", (*VALUES, -np.inf, np.nan, -np.inf)),
            layer("all", (-np.inf, -np.inf)),
        ]

        axes = plots.entropy_boxes(layers).axes[0]

        assert labels(axes) == ["good", "bad (3 not finite)", "all (2 not finite)"]
        good, bad, empty = boxes_of(axes)
        assert good == bad
        assert np.isnan(empty["quartiles"]).all()
        assert np.isfinite(axes.get_ylim()).all()

    @pytest.mark.parametrize(("count", "width"), [(1, 400), (3, 400), (25, 1620), (100, 2320)])
    def test_grow_with_the_number_of_layers(self, count, width):
        layers = [layer(f"block{i}/conv", tuple(i + value for value in VALUES)) for i in range(count)]

        figure = plots.entropy_boxes(layers)

        axes = figure.axes[0]
        assert labels(axes) == [layer.path for layer in layers]
        assert axes.get_xticks().tolist() == list(range(1, count + 1))
        medians = [box["quartiles"][1] for box in boxes_of(axes)]
        np.testing.assert_allclose(medians, np.arange(count) + np.median(VALUES))
        assert size_of(plots.png(figure)) == (width, 450)

    def test_the_axis_has_the_unit(self):
        filters, dimensions = layer(), layer(unit="nats per dimension")

        assert plots.entropy_boxes([filters, filters]).axes[0].get_ylabel() == "nats per filter"
        assert plots.entropy_boxes([dimensions]).axes[0].get_ylabel() == "nats per dimension"
        both = plots.entropy_boxes([filters, dimensions]).axes[0].get_ylabel()
        assert both == "nats per dimension or nats per filter"

    def test_all_words_fit_into_the_picture(self):
        figure = plots.entropy_boxes([layer("encoder/block/conv", (*VALUES, -np.inf)), layer("head")])
        plots.png(figure)

        canvas = figure.bbox
        for text in [*figure.axes[0].get_xticklabels(), figure.axes[0].yaxis.label, figure.axes[0].title]:
            box = text.get_window_extent()
            assert canvas.x0 <= box.x0
            assert canvas.y0 <= box.y0
            assert box.x1 <= canvas.x1
            assert box.y1 <= canvas.y1


class TestEntropyHistory:
    def test_draws_a_line_per_layer_from_epoch_1_and_nothing_else(self):
        axes = plots.entropy_history(HISTORY).axes[0]

        assert [line.get_label() for line in axes.get_lines()] == ["conv1", "block/conv2"]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["conv1", "block/conv2"]
        for line, name in zip(axes.get_lines(), ["entropy/conv1", "entropy/block/conv2"], strict=True):
            assert list(line.get_xdata()) == [1, 2, 3]
            np.testing.assert_array_equal(line.get_ydata(), HISTORY[name])

    def test_the_axes_have_names(self):
        axes = plots.entropy_history(HISTORY).axes[0]

        assert axes.get_xlabel() == "epoch"
        assert axes.get_ylabel() == "nats per filter or dimension"
        assert plots.entropy_history(HISTORY, unit="nats").axes[0].get_ylabel() == "nats"

    @pytest.mark.parametrize("epochs", [2, 3, 50])
    def test_ticks_are_whole_epochs(self, epochs):
        figure = plots.entropy_history({"entropy/conv": [-1.0] * epochs})
        plots.png(figure)

        ticks = figure.axes[0].get_xticks()
        np.testing.assert_array_equal(ticks, np.round(ticks))

    @pytest.mark.parametrize("history", [HISTORY, {"loss": [1.0]}, {}])
    def test_can_be_saved_with_layers_and_without(self, history):
        assert size_of(plots.png(plots.entropy_history(history))) == (700, 450)


ODD_NAMES = ["_hidden", "a_$x_{$", "block[0]", "two words", "größe", "none"]


class TestNames:
    def test_a_history_shows_names_as_they_are(self):
        figure = plots.entropy_history({f"entropy/{name}": [1.0, 2.0] for name in ODD_NAMES})
        plots.png(figure)

        assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ODD_NAMES

    def test_boxes_show_names_as_they_are(self):
        figure = plots.entropy_panels([("cost in $, of {", [layer(name) for name in ODD_NAMES])])
        plots.png(figure)

        assert labels(figure.axes[0]) == ODD_NAMES
        assert figure.axes[0].get_title() == "cost in $, of {"

    def test_a_legend_of_a_figure_shows_names_as_they_are(self):
        figure, axes = plots.blank(4.0, 3.0)
        handles = [axes.plot([0, 1], [0, 1])[0] for _ in ODD_NAMES]

        found = plots.legend(figure, handles, ODD_NAMES, title="in $_")
        plots.png(figure)

        assert [text.get_text() for text in found.get_texts()] == ODD_NAMES


def test_figures_are_made_without_pyplot(monkeypatch):
    # Keras imports it for its own figures, so that a fresh process has it too.
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.delattr("matplotlib.pyplot", raising=False)

    assert plots.png(plots.entropy_boxes([layer()]))
    assert plots.png(plots.entropy_history(HISTORY))


def test_without_matplotlib_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    for draw in (lambda: plots.entropy_boxes([layer()]), lambda: plots.format_of("a.png"), lambda: plots.blank(1, 1)):
        with pytest.raises(ModuleNotFoundError, match=r'pip install "keras-entropy\[plot\]"'):
            draw()
