"""The report of a study: its page, its figures and its files, also of a study that is not complete."""

import base64
import dataclasses
import io
import itertools
import json
import math
import re
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from study_cases import write_study

pytest.importorskip("matplotlib", reason="reports have figures")

from keras_entropy import _sealed, plots
from keras_entropy.runs.records import RUNS, RunRecords
from keras_entropy.study import RunRecord, compare, figures, read_records, read_study, report
from keras_entropy.study.document import Heading, Items, Paragraph, Picture, Table, escaped, to_html, to_markdown
from keras_entropy.study.folder import DESCRIPTION, SCHEMA

pytestmark = pytest.mark.once

EVIL = "<script>alert(1)</script>"
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """A page whose elements are closed in order, and what stands in it."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def failing(record, status="diverged", reason="the loss is NaN"):
    return dataclasses.replace(record, status=status, reason=reason, history={"loss": [math.nan]})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A complete study with an arm of a wicked name and two failed runs, and its report."""
    folder = write_study(tmp_path_factory.mktemp("studies") / "whole", arms=("none", "tc", EVIL))
    records = read_records(folder)
    bad = [r for r in records if r.role == "report" and r.seed == 3 and r.arm != "none" and r.point["width"] == 8]
    RunRecords(folder / RUNS).add(failing(bad[0]), failing(bad[1], "failed", f"ValueError: <b>no</b>\n{EVIL} | &amp;"))
    report(folder)
    return folder / "report"


def test_the_page_is_whole_and_refers_to_nothing_outside(whole):
    text = (whole / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert text.startswith('<!DOCTYPE html>\n<html lang="en">')
    assert not page.all("script")
    assert not page.all("link")
    assert not re.search(r"https?:|url\(|@import|\bsrc=\"(?!data:image/png;base64,)|\bhref=", text)
    assert [tag for tag, attributes in page.tags if any(name.startswith("on") for name in attributes)] == []
    assert {tag for tag, _ in page.tags} >= {"main", "h1", "h2", "table", "caption", "figure", "figcaption", "th"}
    assert all(attributes["scope"] == "col" for attributes in page.all("th"))
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_names_and_reasons_of_users_are_shown_as_they_are(whole):
    page = Page((whole / "report.html").read_text(encoding="utf-8"))
    assert f"{EVIL} is better than none by" in page.text
    assert f"ValueError: <b>no</b> {EVIL} | &amp;" in page.text
    markdown = (whole / "report.md").read_text(encoding="utf-8")
    assert "<script" not in markdown
    assert "<b>" not in markdown
    row = next(line for line in markdown.splitlines() if "ValueError" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 8


def test_images_in_the_page_are_the_files(whole):
    page = Page((whole / "report.html").read_text(encoding="utf-8"))
    images = page.all("img")
    names = ["means1", "differences", "curves", "reach", "stopping"]
    assert len(images) == len(names)
    for image, name in zip(images, names, strict=True):
        data = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
        assert data == (whole / f"{name}.png").read_bytes()
        assert data.startswith(b"\x89PNG")
        assert image["alt"].startswith("Figure: ")
        assert f"({name}.png)" in (whole / "report.md").read_text(encoding="utf-8")
    assert not list(whole.glob(".partial-*"))


def test_every_display_counts_the_failed_runs(whole):
    text = (whole / "report.html").read_text(encoding="utf-8")
    said = "2 of 24 runs did not finish (1 diverged, 1 failed) and are left out"
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text, re.DOTALL)
    assert len(captions) == 5
    assert all(said in caption for caption in captions)
    note = r'^[^>]*aria-label="([^"]*)">.*?</div>\n<p class="note">([^<]*)</p>'
    tables = (re.match(note, part, re.DOTALL) for part in text.split('<div class="table"'))
    notes = dict(table.groups() for table in tables if table)
    assert [name for name, note in notes.items() if note == f"{said}."] == [
        "val_task_loss at the last epoch by arm (lower is better)",
        "Epochs and time by arm",
        "Chosen values",
    ]
    (pairs,) = (note for name, note in notes.items() if name.startswith("Each two arms at width=8"))
    assert pairs.startswith("2 of 8")


def test_the_page_has_one_answer_for_each_arm_and_the_baseline(whole):
    text = Page((whole / "report.html").read_text(encoding="utf-8")).text
    assert "one-sided" not in text
    pairs = text[text.index("Each two arms at width=4") :]
    assert pairs.startswith("Each two arms at width=4: val_task_loss, paired t tests at 0.05, adjusted by Holm")
    assert "none" not in pairs[: pairs.index("+: the arm of the row")]


def test_two_arms_need_no_table_of_pairs(tmp_path):
    folder = write_study(tmp_path / "two", widths=())
    report(folder)
    assert "against each other" not in (folder / "report" / "report.md").read_text(encoding="utf-8")


def test_the_page_says_that_only_another_arm_tuned_an_axis(tmp_path):
    plan = {
        "arms": [
            {"name": "none", "placement": "first", "regularizer": None, "gradient": True, "grid": {}, "tune": {}},
            {"name": "tc", "placement": "first", "regularizer": "R", "gradient": True, "grid": {},
             "tune": {"factor": [1, 2], "rate": [0.1, 0.2]}},
        ],
        "tune": {},
    }  # fmt: skip
    folder = write_study(tmp_path / "own", widths=())
    _sealed.write(folder / DESCRIPTION, SCHEMA, _sealed.read(folder / DESCRIPTION, SCHEMA) | plan)
    report(folder)
    said = (folder / "report" / "report.md").read_text(encoding="utf-8")
    assert "The baseline was tuned less: none tried 1 value of rate; tc tried 2." in said
    assert "value of factor" not in said


def test_the_page_says_what_was_run_and_how_values_were_chosen(whole):
    text = Page((whole / "report.html").read_text(encoding="utf-8")).text
    for sentence in (
        "24 of 24 planned runs are there",
        "4 seeds: 0 to 3.",
        "At most 9 epochs, batches of 32.",
        "Early stopping on val_task_loss with a patience of 3 epochs.",
        "22 finished runs with keras 3.12, cpu.",
        "16 of 16 planned tuning runs are there",
        "At each grid point, each arm gets the values with the best mean val_task_loss at the last epoch",
        f"The baseline was tuned less: none tried 2 values of rate; tc, {EVIL} tried 3.",
        "2 choices at the edge of the tried values",
        "rate: largest of 2 values",
    ):
        assert sentence in text, sentence
    assert "not complete" not in text


def test_the_page_begins_with_its_conclusion(whole):
    text = (whole / "report.md").read_text(encoding="utf-8")
    _, heading, words, sentences, *_ = text.split("\n\n")
    assert heading == "## Conclusion"
    evil = escaped(EVIL)
    assert words == (
        "Shown to be better than none in val_task_loss at the last epoch: tc (width=4); "
        f"{evil} (width=4); tc (width=8); {evil} (width=8)."
    )
    assert sentences.startswith("- At width=4: tc is better than none by")
    assert len(sentences.splitlines()) == 4
    assert text.count("is better than none by") == 4


def test_with_a_margin_the_conclusion_names_what_is_equivalent(tmp_path):
    study = write_study(tmp_path / "study", arms=("none", "tc"), widths=())
    for margin, said in ((1e3, " Shown to be equivalent to none within 1000.0: tc."), (1e-9, "")):
        text = (report(study, tmp_path / str(margin), margin=margin) / "report.md").read_text()
        words = text.split("\n\n")[2]
        assert words == f"Shown to be better than none in val_task_loss at the last epoch: tc.{said}"


def test_a_conclusion_on_part_of_the_runs_says_so(tmp_path):
    folder = report(write_study(tmp_path / "study", keep=lambda r: r.seed < 2), tmp_path / "out")
    assert "## Conclusion\n\nPreliminary, because the study is not complete. " in (folder / "report.md").read_text()


def test_many_comparisons_are_summed_up_first(tmp_path):
    arms = ("none", *(f"arm {i}" for i in range(12)))
    folder = report(write_study(tmp_path / "study", arms=arms, widths=(), seeds=2))
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert text.startswith(
        "# Study study\n\n## Conclusion\n\nShown to be better than none in val_task_loss at the last"
    )
    assert "arm 4; arm 5 and 4 more.\n\nAll 12 comparisons stand in words below the figures." in text
    assert text.index("## In words") > text.index("## Figures")


def test_figures_that_say_nothing_are_not_drawn(tmp_path):
    """Arms with the same runs, each of three epochs, at one width; other ones at the other."""
    records = [
        RunRecord(arm=arm, seed=seed, point={"w": w}, history={"val_task_loss": [2.0, 1.0, 0.5 + 0.1 * seed + w * i]})
        for i, arm in enumerate(("none", "tc")) for seed in range(3) for w in (0, 1)
    ]  # fmt: skip
    (tmp_path / "study").mkdir()
    RunRecords(tmp_path / "study" / RUNS).add(*records)
    folder = report(tmp_path / "study", metric="val_task_loss", baseline="none")
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "Not drawn, because they would show one value only: Epochs until the end of training, by arm." in text
    assert not (folder / "stopping.png").exists()
    figure = figures.learning_curves(records, compare(records))
    assert [axes.get_title() for axes in figure.axes] == ["w=1"]
    assert "1 grid point with equal curves not drawn" in " ".join(
        " ".join(t.get_text() for t in figure.findobj() if hasattr(t, "get_text")).split()
    )


def test_equal_arms_have_no_figures(tmp_path):
    records = [RunRecord(arm=arm, seed=seed, history={"val_task_loss": [0.5]}) for arm in "ab" for seed in range(3)]
    comparison = compare(records)
    for name in ("means1", "differences", "curves", "reach", "stopping"):
        assert not figures.says_something(name, records, comparison)
    assert figures.learning_curves(records, comparison).axes


def test_csv_files_hold_all_runs(whole):
    comparison, runs, curves = (pd.read_csv(whole / f"{name}.csv") for name in ("comparison", "runs", "curves"))
    assert len(comparison) == 6
    assert comparison["conclusion"].tolist()[1:3] == ["better", "better"]
    assert len(runs) == 24 + 16
    assert runs["status"].value_counts().to_dict() == {"finished": 38, "diverged": 1, "failed": 1}
    assert runs.loc[runs["status"] == "failed", "reason"].item() == f"ValueError: <b>no</b> {EVIL} | &amp;"
    assert len(curves) == runs["epochs"].sum()
    assert {"arm", "seed", "role", "status", "point.width", "tuned.rate", "epoch", "val_task_loss"} <= {*curves.columns}


PARTIAL = {
    "nothing": {"keep": lambda r: False},
    "tuning": {"keep": lambda r: r.role == "tune"},
    "first run": {"keep": lambda r: r.role == "report" and r.seed == 0 and r.arm == "none" and r.point == {"width": 4}},
    "no baseline": {"keep": lambda r: r.arm != "none"},
    "baseline only": {"keep": lambda r: r.arm == "none"},
    "one pair": {"keep": lambda r: r.seed == 0},
}


@pytest.mark.parametrize("case", PARTIAL)
def test_a_study_that_still_runs_has_a_report(case, tmp_path):
    folder = report(write_study(tmp_path / "study", **PARTIAL[case]), tmp_path / "out")
    assert folder == tmp_path / "out"
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    there = {"first run": 1, "baseline only": 8, "no baseline": 8, "one pair": 4}.get(case, 0)
    assert f"{there} of 16 planned runs {'is' if there == 1 else 'are'} there" in page.text
    assert "The study is not complete" in page.text
    compared = (folder / "comparison.csv").exists()
    assert compared == (case in ("first run", "baseline only", "one pair"))
    if not compared:
        assert "Nothing can be compared yet" in page.text
    pd.read_csv(folder / "runs.csv")


@pytest.mark.parametrize(
    ("options", "drawn"),
    [
        ({"arms": ("alone",)}, 4),
        ({"seeds": 1}, 4),
        ({"widths": ()}, 5),
        ({"arms": ("none",), "seeds": 1, "widths": ()}, 1),
        ({"arms": ("none", *(f"arm {i}" for i in range(29))), "widths": (), "seeds": 2}, 5),
        ({"widths": tuple(range(1, 15)), "seeds": 2}, 5),
    ],
    ids=str,
)
def test_small_and_large_studies_have_a_report(options, drawn, tmp_path):
    folder = report(write_study(tmp_path / "study", **options), margin=0.1)
    page = Page((folder / "report.html").read_text(encoding="utf-8"))
    assert len(page.all("img")) == drawn
    assert to_lines((folder / "report.md").read_text(encoding="utf-8"))


def to_lines(markdown):
    """The lines of a page whose tables have as many cells in each row as in their head."""
    lines = markdown.splitlines()
    for before, line in itertools.pairwise(lines):
        if before.startswith("|") and line.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", before)) == len(re.findall(r"(?<!\\)\|", line))
    return lines


def test_a_study_of_failures_has_a_report(tmp_path):
    folder = write_study(tmp_path / "study", keep=lambda record: False)
    runs = [RunRecord(arm=a, seed=s, status="died", reason="killed") for a in ("none", "tc") for s in range(40)]
    RunRecords(folder / RUNS).add(*runs)
    page = Page((report(folder) / "report.html").read_text(encoding="utf-8"))
    assert "80 of 80 runs did not finish (80 died) and are left out" in page.text
    assert "30 more in runs.csv." in page.text
    assert "tc is not compared with none" in page.text
    assert not page.all("img")


def test_records_alone_have_a_report(tmp_path):
    folder = write_study(tmp_path / "study")
    (folder / "study.json").unlink()
    page = Page((report(folder) / "report.html").read_text(encoding="utf-8"))
    assert "The folder has no study.json" in page.text
    assert "tc is better than none" in page.text


def test_direction_and_metric_come_from_the_study(tmp_path):
    folder = write_study(tmp_path / "study", lower_is_better=False)
    assert "tc is worse than none" in (report(folder) / "report.md").read_text(encoding="utf-8")
    result = read_study(folder)
    assert " tc is worse than none" in result.compare().sentences()[0]
    assert " tc is better than none" in result.compare(lower_is_better=True).sentences()[0]
    other = result.compare("loss", "tc")
    assert " none is worse than tc" in other.sentences()[0]
    assert other == result.compare("loss", "tc", lower_is_better=True)
    for write in (report, lambda folder, **options: read_study(folder).report(**options)):
        with pytest.raises(ValueError, match="`metric` should be one of 'loss', 'val_task_loss'"):
            write(folder, metric="acc", lower_is_better=False)
        with pytest.raises(ValueError, match="`baseline` should be one of 'none', 'tc'"):
            write(folder, baseline="x")


def test_folders_without_a_study_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="is not the folder of a study"):
        report(tmp_path)
    other = json.dumps(_sealed.sealed("other/1", {}))
    wrong = ({}, {"arms": [{}]}, {"arms": [], "seeds": "12"}, {"arms": [], "epochs": "x"}, {"arms": 3})
    for text in ("{", "[]", other, *(json.dumps(_sealed.sealed(SCHEMA, one)) for one in wrong)):
        (tmp_path / "study.json").write_text(text)
        with pytest.raises(ValueError, match=r"study\.json does not describe a study"):
            report(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["study.json"]


def ink(figure):
    """How many pixels of a figure are not white."""
    from matplotlib.image import imread

    return int((imread(io.BytesIO(plots.png(figure)))[..., :3].min(axis=-1) < 0.9).sum())


def test_figures_draw_the_numbers(whole):
    records = read_records(whole.parent)
    comparison = compare(records)
    drawn = figures.means(comparison, "width").axes[0].containers
    assert len(drawn) == 3
    for container, arm in zip(drawn, ("none", "tc", EVIL), strict=True):
        means = [row.mean.estimate for row in comparison.rows if row.arm == arm]
        np.testing.assert_allclose(container.lines[0].get_ydata(), means)
    axes = figures.differences(comparison).axes[0]
    squares = [line.get_xdata()[0] for line in axes.lines if line.get_marker() == "s"]
    np.testing.assert_allclose(squares, [row.difference.difference for row in comparison.rivals])
    assert axes.get_xlabel() == "val_task_loss at the last epoch, arm minus none (lower is better)"
    assert [label.get_text() for label in axes.get_yticklabels()] == ["width=4", "tc", EVIL, "width=8", "tc", EVIL]
    for figure in (
        figures.means(comparison), figures.means(comparison, "width"), figures.differences(comparison),
        figures.learning_curves(records, comparison), figures.epochs_to_reach(comparison),
        figures.stopping_epochs(comparison),
    ):  # fmt: skip
        assert ink(figure) > 2000
        text = " ".join(item.get_text() for item in figure.findobj() if hasattr(item, "get_text"))
        assert "2 of 24 runs did not finish" in " ".join(text.split())
        assert all(axes.get_xlabel() for axes in figure.axes)
    with pytest.raises(ValueError, match="`axis` should be an axis of the grid with two or more numbers: width"):
        figures.means(comparison, "depth")


def test_curves_stop_where_fewer_than_two_seeds_are_left():
    records = [RunRecord(arm="none", seed=i, history={"val_task_loss": [1.0 + i] * n}) for i, n in enumerate((3, 5, 8))]
    figure = figures.learning_curves(records, compare(records))
    pale, full = figure.axes[0].lines
    assert list(pale.get_xdata()) == [1, 2, 3, 4, 5]
    np.testing.assert_allclose(pale.get_ydata(), [2, 2, 2, 2.5, 2.5])
    assert list(full.get_xdata()) == [1, 2, 3]


def test_figures_say_what_they_leave_out():
    records = [
        RunRecord(arm=f"_arm {i}", seed=s, point={"w": w}, history={"val_task_loss": [0.1 * s + i]})
        for i in range(27) for s in range(2) for w in range(14)
    ]  # fmt: skip
    comparison = compare(records)
    said = [
        " ".join(" ".join(t.get_text() for t in figure.findobj() if hasattr(t, "get_text")).split())
        for figure in (figures.learning_curves(records, comparison), figures.differences(comparison))
    ]
    assert "2 further grid points not drawn." in said[0]
    assert "2 further curves not drawn." in said[0]
    assert "_arm 24" in said[0]
    assert "284 further rows not drawn." in said[1]


def test_markdown_shows_words_as_they_are():
    assert escaped("a_b_c *x* [l](http://x) `c` <b> | &lt; \\") == (
        r"a_b_c \*x\* \[l\](http://x) \`c\` &lt;b&gt; \| \&lt; \\"
    )
    blocks = [Heading("H"), Paragraph("# no"), Items(("- a", "1. b", "-0.5 c")), Table("T", ("", "n"), (("+", "-1"),))]
    picture = Picture("p.png", b"x", "caption", 'say "so"')
    text = to_markdown("t", [*blocks, picture])
    assert "\n\\# no\n" in text
    assert "- \\- a\n- 1\\. b\n- -0.5 c\n" in text
    assert "| + | -1 |" in text
    assert 'alt="say &quot;so&quot;"' in to_html("t", [picture])


def test_figures_without_any_interval_are_drawn():
    """Few seeds reach the baseline, and at an epoch that says nothing of the others."""
    records = [
        RunRecord(arm=arm, seed=seed, history={"val_task_loss": [1.0, last]})
        for arm, values in {"none": (0.1, 0.5, 0.6), "b": (0.2, 0.9, 0.9)}.items()
        for seed, last in enumerate(values)
    ]
    comparison = compare(records)

    assert [row.half_epoch for row in comparison.rows] == [None, None]
    for draw in (figures.epochs_to_reach, figures.stopping_epochs, figures.differences, figures.means):
        assert plots.png(draw(comparison)).startswith(b"\x89PNG")
