"""The page of a profile in a browser: sorting, search, keyboard, phone, dark colours, and 300 layers."""

import time

import keras
import pytest
from networks import built

from keras_entropy import entropy_profile

pytestmark = [pytest.mark.browser, pytest.mark.once]

keys = pytest.importorskip("selenium.webdriver.common.keys", reason="the browser is steered by selenium")
by = pytest.importorskip("selenium.webdriver.common.by", reason="the browser is steered by selenium")
Keys, CSS = keys.Keys, by.By.CSS_SELECTOR

L = keras.layers
EVIL = "<img src=x onerror=alert(1)><script>alert(2)<"  # torch allows no dot and Keras no slash in names
SECONDS = 0.5
"""Longest time to sort or search 300 layers, on a busy machine; an idle one takes a tenth of it."""


def write(model, folder, **arguments):
    entropy_profile(model).to_html(folder / "profile.html", **arguments)
    return (folder / "profile.html").as_uri()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A network with two faults, a hostile name, a weight that is not measured, and a log."""
    keras.utils.set_random_seed(0)
    layers = [
        L.Conv2D(8, 3, kernel_initializer="ones", name="same"), L.Conv2D(70, 3, name=EVIL), L.PReLU(name="act"),
        L.Flatten(), L.Dense(5, kernel_initializer="zeros", name="zero"), L.Dense(12, name="dense_10"),
        L.Dense(3, name="dense_9"),
    ]  # fmt: skip
    history = {"entropy/dense_9": [0.1, 0.2], "entropy/dense_10": [0.3, 0.1], "loss": [2.0, 1.0]}
    return write(built(*layers, shape=(8, 8, 3)), tmp_path_factory.mktemp("page"), history=history)


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    layers = [L.Dense(40, name=f"block_{i // 10}_dense_{i}") for i in range(300)]
    return write(built(*layers, shape=(40,)), tmp_path_factory.mktemp("deep"))


@pytest.fixture
def open_page(browser):
    def open_page(address, width=1200, scheme="light"):
        screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        colours = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", colours)
        browser.get("about:blank")
        browser.get(address)
        return browser

    yield open_page
    assert browser.get_log("browser") == []  # also of scripts that the policy of the page has stopped
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def shown(browser):
    script = (
        "return [...document.querySelectorAll('#table tbody tr')].filter(r => !r.hidden).map(r => r.cells[1].innerText)"
    )
    return browser.execute_script(script)


def focused(browser):
    return browser.execute_script("return document.activeElement.innerText")


def header(browser, name):
    return next(h for h in browser.find_elements(CSS, "#table thead button") if h.text == name)


def test_names_are_shown_as_they_are_and_nothing_is_loaded(open_page, page):
    browser = open_page(page)
    assert browser.title == "Entropy profile of net"
    assert EVIL in shown(browser)
    next(b for b in browser.find_elements(CSS, "#table tbody button") if b.text == EVIL).click()
    assert browser.find_element(CSS, "#name").text == EVIL
    assert browser.title == "Entropy profile of net"
    assert (
        browser.execute_script("return document.images.length + performance.getEntriesByType('resource').length") == 0
    )


def test_sorting(open_page, page):
    browser = open_page(page)
    before = shown(browser)
    assert before[-2:] == ["dense_10", "dense_9"]
    header(browser, "weight").click()
    names = shown(browser)
    assert names.index("dense_9") < names.index("dense_10")
    header(browser, "mean").click()
    assert [*shown(browser)[:2], shown(browser)[-1]] == ["same", "zero", "act"]  # minus infinity first, no number last
    header(browser, "mean").click()
    assert shown(browser)[-3:] == ["same", "zero", "act"]
    assert "Sorted by mean, descending" in browser.find_element(CSS, "#said").get_attribute("textContent")
    header(browser, "stands out").click()
    assert (set(shown(browser)[:2]), shown(browser)[2]) == ({"same", "zero"}, "act")
    header(browser, "#").click()
    assert shown(browser) == before
    sorts = browser.execute_script(
        "return [...document.querySelectorAll('#table thead th')].map(h => h.getAttribute('aria-sort'))"
    )
    assert sorts == ["ascending", *[None] * 7]


def test_search(open_page, page):
    browser = open_page(page)
    field = browser.find_element(CSS, "#search")
    field.send_keys("DENSE 1")
    assert shown(browser) == ["dense_10"]
    assert browser.find_element(CSS, "#count").text == "1 of 6 weights"
    field.clear()
    field.send_keys("conv2d")
    assert shown(browser) == ["same", EVIL]
    field.send_keys("xyz")
    assert shown(browser) == []
    for finding, names in (("Dead", ["zero"]), ("duplicate outputs", ["same"]), ("not measured", ["act"])):
        field.clear()
        field.send_keys(finding)
        assert shown(browser) == names


def test_the_keyboard_reaches_everything(open_page, page):
    browser = open_page(page)

    def press(key):
        browser.switch_to.active_element.send_keys(key)

    reached = []
    for _ in range(40):
        press(Keys.TAB)
        reached.append(browser.execute_script("return document.activeElement.id || document.activeElement.innerText"))
        outline = browser.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none" or reached[-1] == browser.execute_script("return document.body.innerText")
        if reached[-1] == "same" and "search" in reached:
            break
    assert [name for name in reached if name in ("overview", "search")] == ["overview", "search"]
    assert "mean" in reached
    press(Keys.ARROW_DOWN)
    assert focused(browser) == EVIL
    press(Keys.ARROW_DOWN)
    press(Keys.ARROW_DOWN)
    assert focused(browser) == "zero"
    press(Keys.ENTER)
    assert browser.find_element(CSS, "#name").text == "zero"
    assert focused(browser) == "zero"
    assert browser.switch_to.active_element.get_attribute("aria-pressed") == "true"
    assert browser.find_element(CSS, "#said").get_attribute("textContent") == "Details of zero are shown."


def test_details_show_three_figures_with_words_for_each(open_page, page):
    browser = open_page(page)
    next(b for b in browser.find_elements(CSS, "#table tbody button") if b.text == "dense_10").click()
    titles = [heading.text for heading in browser.find_elements(CSS, "#panels h3")]
    assert titles == ["Singular spectrum", "Strength of each output", "Redundancy of the outputs"]
    figures = browser.find_elements(
        CSS, "#panels [role=img], #epochs > [role=img], #losses > [role=img], #overview [role=img]"
    )
    labels = [figure.get_attribute("aria-label") for figure in figures]
    assert len(labels) == 8
    assert all(labels)
    assert any("dense_10 from 0.3 to 0.1" in label for label in labels)
    assert all(caption.text for caption in browser.find_elements(CSS, "#panels figcaption"))
    assert len(browser.find_elements(CSS, "#numbers tbody tr")) == 4
    next(b for b in browser.find_elements(CSS, "#table tbody button") if b.text == "act").click()
    assert "not measured: an activation" in browser.find_element(CSS, "#about").text
    assert browser.find_elements(CSS, "#panels section") == []
    browser.find_element(CSS, "section p ~ ul button.link").click()
    assert browser.find_element(CSS, "#name").text in ("same", "zero")


def test_nested_names_have_labels_that_differ(open_page, tmp_path):
    first = L.Bidirectional(L.LSTM(3, return_sequences=True), name="twice")
    layers = [first, L.Bidirectional(L.GRU(3), name="twice_1"), L.Dense(2, name="out")]
    browser = open_page(write(built(*layers, shape=(4, 5)), tmp_path))
    script = """
    const labels = [...document.querySelectorAll("#overview text[transform]")];
    return labels.map((label) => [label.firstChild.data, label.lastChild.textContent]);
    """
    labels, titles = zip(*browser.execute_script(script), strict=True)
    assert len(set(labels)) == len(labels) == 9
    assert max(map(len, labels)) <= 25
    assert titles[1] == "twice/forward_lstm/lstm_cell/recurrent_kernel"
    assert "backward" in labels[2]


def test_a_wide_table_of_numbers_shows_that_it_scrolls(open_page, page):
    for width, said in ((360, "The curves in numbers: scroll sideways \u2192"), (1300, "The curves in numbers")):
        browser = open_page(page, width)
        box = browser.find_element(CSS, ".numbers")
        hidden = browser.execute_script("return arguments[0].scrollWidth - arguments[0].clientWidth", box)
        assert (hidden > 0) == (width == 360)
        assert box.find_element(CSS, "caption").text == said
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1300])
def test_the_page_fits_every_screen(width, scheme, open_page, page, deep):
    for address in (page, deep):
        browser = open_page(address, width, scheme)
        for button in browser.find_elements(CSS, "#table tbody button")[:3]:
            button.click()
            assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        small = """
        const words = [...document.querySelectorAll("p, li, figcaption, td, th")].filter(e => e.offsetParent);
        return words.filter(e => parseFloat(getComputedStyle(e).fontSize) < 12).length;
        """
        assert browser.execute_script(small) == 0
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(13, 17, 23)"}[scheme]


CONTRAST = """
const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
const probe = document.createElement("span");
document.body.append(probe);
const luminance = (name) => {
  probe.style.setProperty("color", `var(${name})`);
  const [r, g, b] = getComputedStyle(probe).color.match(/\\d+/g).map((v) => linear(v / 255));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
return arguments[0].map((pair) => {
  const found = pair.map(luminance);
  return (Math.max(...found) + 0.05) / (Math.min(...found) + 0.05);
});
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_curves_stand_out_from_the_page(scheme, open_page, page):
    """WCAG 2.1: 4.5 for text, 3 for parts of figures."""
    browser = open_page(page, scheme=scheme)
    text = [
        [name, ground]
        for name in ("--text", "--faint", "--own", "--random")
        for ground in ("--page", "--row", "--chosen")
    ]
    ratios = dict(zip(map(tuple, text), browser.execute_script(CONTRAST, text), strict=True))
    assert min(ratios.values()) >= 4.5, ratios
    parts = [["--own", "--random-pale"], ["--own", "--own-pale"], ["--random", "--random-pale"]]
    assert min(browser.execute_script(CONTRAST, parts)) >= 3
    edge = browser.execute_script("return getComputedStyle(document.querySelector('rect.box-random')).stroke")
    assert edge == {"light": "rgb(179, 79, 0)", "dark": "rgb(232, 163, 61)"}[scheme]  # --random


def test_300_layers_without_lag(open_page, deep):
    browser = open_page(deep)
    loaded = browser.execute_script("return performance.timing.loadEventEnd - performance.timing.navigationStart")
    assert loaded < 5000
    timed = """
    const all = (words) => document.querySelectorAll(words);
    const field = document.getElementById("search");
    const type = (words) => { field.value = words; field.dispatchEvent(new Event("input")); };
    const time = (steps) => {
      const start = performance.now();
      for (const step of steps) { step(); document.body.offsetHeight; }
      return (performance.now() - start) / 1000 / steps.length;
    };
    const steps = [0, 1, 2, 3];
    return [
      time(steps.map(() => () => all("#table thead button")[4].click())),
      time(["block_2", "dense_29", "x", ""].map((words) => () => type(words))),
      time(steps.map((i) => () => all("#table tbody button")[50 * i].click())),
    ];
    """
    times = browser.execute_script(timed)
    assert max(times) < SECONDS


def test_the_whole_table_is_printed(open_page, deep):
    browser = open_page(deep)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        hidden = browser.execute_script(
            "const t = document.querySelector('.table'); return t.scrollHeight - t.clientHeight"
        )
        assert hidden <= 1
        assert not browser.find_element(CSS, "#search").is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


def test_findings_lead_to_their_layers(open_page, deep, page):
    browser = open_page(page, 360)
    browser.find_elements(CSS, "section button.link")[-1].click()
    time.sleep(1.0)  # the page glides there
    top = browser.execute_script("return document.getElementById('name').getBoundingClientRect().top")
    assert 0 <= top < 900
