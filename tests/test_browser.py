"""What a user sees in TensorBoard after training with `EntropyLogger(log_dir=...)`."""

import re
import time

import keras
import numpy as np
import pytest
from tensorboard_server import VISIBLE_TEXT, tensorboard

pytest.importorskip("tensorboard", reason="the page is TensorBoard's")
pytest.importorskip("matplotlib", reason="EntropyLogger draws the box plot with matplotlib")

from keras_entropy import EntropyLogger

pytestmark = pytest.mark.browser

# The Scalars tab does not scale its axes to fewer than four points, whoever wrote them.
EPOCHS = 5
FILTERS = 5
SCALARS = ["entropy/conv", "entropy/dead", "entropy/head", "entropy_penalty", "loss", "task_loss"]
SCALARS += ["val_loss", "val_task_loss"]
HISTOGRAMS = ["nats per filter in/conv", "nats per filter in/dead", "nats per dimension in/head"]

IMAGE_SIZES = """
function images(node) {
    const own = node.tagName === 'IMG' ? [[node.naturalWidth, node.naturalHeight]] : [];
    const inner = [...(node.shadowRoot ? node.shadowRoot.children : []), ...node.children];
    return own.concat(...inner.map(images));
}
return images(document.body);
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of the logs and the history of the training; the filters of one layer are zero."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((6, 6, 1))
    x = keras.layers.Conv2D(FILTERS, 3, name="conv")(inputs)
    dead = keras.layers.Conv2D(FILTERS, 3, kernel_initializer="zeros", trainable=False, name="dead")(inputs)
    x = keras.layers.Flatten()(keras.layers.Add()([x, dead]))
    model = keras.Model(inputs, keras.layers.Dense(3, name="head")(x))
    model.compile("sgd", "mse")
    generator = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("runs")
    x, y = generator.normal(size=(16, 6, 6, 1)), generator.normal(size=(16, 3))
    history = model.fit(
        x,
        y,
        validation_data=(x, y),
        epochs=EPOCHS,
        verbose=0,
        callbacks=[EntropyLogger(measure="term", log_dir=folder / "tiny")],
    )
    return folder, history.history


@pytest.fixture(scope="module")
def address(trained, child_environment, tmp_path_factory):
    """Of a TensorBoard that has read the logs."""
    folder, _ = trained
    output = tmp_path_factory.mktemp("tensorboard") / "output.txt"
    with tensorboard(folder, output, child_environment, "images", "tiny") as address:
        yield address


@pytest.fixture
def text(browser):
    """The words on the page without the spaces: TensorBoard breaks a tag into several elements."""
    return lambda: re.sub(r"\s", "", browser.execute_script(VISIBLE_TEXT))


@pytest.fixture
def show(browser, address, text, tmp_path):
    """Open a tab of TensorBoard, wait until `ready`, and take its picture."""

    def show(tab, ready):
        browser.get("about:blank")
        browser.get(f"{address}/#{tab}")
        deadline = time.monotonic() + 60
        while not ready():
            assert time.monotonic() < deadline, f"{tab} shows: {text()}"
            time.sleep(0.2)
        picture = tmp_path / f"{tab}.png"
        browser.save_screenshot(str(picture))
        assert picture.stat().st_size > 10_000

    return show


@pytest.fixture
def shown(text):
    """Whether all of some words are on the page."""
    return lambda *words: all(word.replace(" ", "") in text() for word in words)


@pytest.fixture
def data(browser, address):
    """What TensorBoard sends to its own pages."""
    return lambda path: browser.execute_script("return fetch(arguments[0]).then(answer => answer.json())", path)


def drawn(text, group, layer):
    """Whether the chart of a layer is there: its axis, below its title, has negative numbers then."""
    return re.search(rf"{group}{layer}(?:(?!{group}).)*-\d", text)


@pytest.mark.parametrize("tab", ["timeseries", "scalars"])
def test_scalars_are_on_the_page(tab, show, text, shown):
    show(tab, lambda: shown("tiny", *SCALARS) and drawn(text(), "entropy/", "conv"))


def test_scalars_are_those_of_the_history(show, shown, data, trained):
    _, history = trained
    show("scalars", lambda: shown("tiny"))

    assert sorted(data("/data/plugin/scalars/tags")["tiny"]) == SCALARS
    for tag in ("entropy/conv", "entropy/head", "loss", "task_loss"):
        points = data(f"/data/plugin/scalars/scalars?run=tiny&tag={tag}")
        assert [step for _, step, _ in points] == list(range(EPOCHS))
        np.testing.assert_allclose([value for _, _, value in points], history[tag], rtol=1e-6)
    points = data("/data/plugin/scalars/scalars?run=tiny&tag=entropy/dead")
    assert [value for _, _, value in points] == EPOCHS * ["-Infinity"]


def test_the_box_plot_is_on_the_page(show, shown, data, browser):
    show("images", lambda: shown("tiny", "entropy by layer") and [400, 450] in browser.execute_script(IMAGE_SIZES))

    assert list(data("/data/plugin/images/tags")["tiny"]) == ["entropy by layer"]


@pytest.mark.parametrize("tab", ["histograms", "distributions"])
def test_histograms_are_on_the_page(tab, show, text, shown):
    show(tab, lambda: shown("tiny", *HISTOGRAMS) and drawn(text(), "natsperfilterin/", "conv"))


def test_histograms_count_the_filters_and_dimensions(show, shown, data):
    show("histograms", lambda: shown("tiny"))

    assert sorted(data("/data/plugin/histograms/tags")["tiny"]) == sorted(HISTOGRAMS)
    for tag, count in zip(HISTOGRAMS, (FILTERS, 0, 3), strict=True):
        steps = data(f"/data/plugin/histograms/histograms?run=tiny&tag={tag}")
        assert [step for _, step, _ in steps] == list(range(EPOCHS))
        assert [sum(bucket[2] for bucket in buckets) for _, _, buckets in steps] == EPOCHS * [count]
