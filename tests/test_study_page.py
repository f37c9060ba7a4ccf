"""The report of a study as a reader sees it, in a browser."""

import pytest

pytest.importorskip("matplotlib", reason="reports have figures")

from keras_entropy import _sealed
from keras_entropy.runs.records import RUNS, RunRecords
from keras_entropy.study import RunRecord, folder, report

pytestmark = [pytest.mark.browser, pytest.mark.once]

LONG = "an arm with a name that is much longer than any column should be " * 2


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """The address of a report of three arms at two widths, with runs that failed."""
    output = tmp_path_factory.mktemp("study")
    names = ["none", "<b>bold</b>", LONG]
    runs = [
        RunRecord(
            arm=name,
            seed=seed,
            point={"width": width},
            status="failed" if (i, seed) == (1, 3) else "finished",
            reason="ValueError: <script>document.title = 'taken over'</script>" if (i, seed) == (1, 3) else "",
            history={"val_task_loss": [1.0 - 0.1 * i, 0.5 - 0.05 * i + 0.01 * ((seed * 7 + i) % 5) + 1 / width]},
        )
        for seed in range(5)
        for i, name in enumerate(names)
        for width in (20, 60)
    ]
    RunRecords(output / RUNS).add(*runs)
    description = {
        "arms": [{"name": name, "placement": "first", "regularizer": None} for name in names],
        "grid": {"width": [20, 60]},
        "baseline": "none",
        "seeds": list(range(5)),
    }
    _sealed.write(output / folder.DESCRIPTION, folder.SCHEMA, description)
    return (report(output) / "report.html").as_uri()


@pytest.mark.parametrize("width", [1300, 420])
def test_the_page_is_shown_whole(page, browser, width):
    browser.set_window_size(width, 1000)
    browser.get(page)

    assert browser.title.startswith("Study ")
    assert browser.get_log("browser") == []
    images = browser.execute_script(
        "return [...document.images].map(i => [i.naturalWidth, i.getBoundingClientRect().right])"
    )
    assert len(images) >= 4
    inner = browser.execute_script("return document.documentElement.clientWidth")
    assert all(natural > 300 for natural, _ in images)
    # Tables scroll by themselves; the page does not.
    assert browser.execute_script("return document.documentElement.scrollWidth") <= inner + 1
    words = browser.execute_script("return document.body.innerText")
    for expected in ("<b>bold</b>", LONG.strip(), "is better than none by", "2 failed", "<script>document.title"):
        assert expected in words
    assert browser.execute_script("return performance.getEntriesByType('resource').map(r => r.name)") == []
